"""What guests in groups need of a host is asked before a run, and again before it is taken up: what lacks is exit 2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands_lab import Here, quicken
from fake_lab import FakeLab, dropped

from bench.controller import run as run_module
from bench.errors import InputError, LabError

PLAN = """\
name: groups
question: q?
reference: none
arms: [none, reporting]
workloads: [{workload: crowd, guests: 2, limit: 1G, window_s: 5}]
guest: {memory: 640M, vcpus: 1}
swap: {file: 2G}
blocks: 1
min_blocks: 1
retries: 0
seed: 1
metrics: {group_peak_bytes: {margin: 5%}}
"""
PROBLEMS = [
    {"about": "right", "cell": "crowd", "text": "no memory cgroup; run: sudo visudo -f /etc/sudoers.d/bench"},
    {"about": "memory", "cell": "crowd", "text": "1 GiB limit of the group + 1 GiB that the host keeps; 512M would do"},
    {"about": "swap", "cell": "crowd", "text": "no swap file: root only; run: sudo fallocate -l 2048M /swapfile"},
]
LINES = ["hosts.0.become: host lab1: no memory", "workloads.0: host lab1: 1 GiB", "swap.file: host lab1: no swap"]


def refusing(_args: Mapping[str, Any]) -> dict[str, Any]:
    return {"problems": PROBLEMS}


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    quicken(monkeypatch, built)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "RECONNECT_AFTER_S", ())
    found = Here(FakeLab("lab1"), tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    found.lab["lab1"].asks["means"] = {"problems": []}
    return found


@pytest.fixture
def broken(here: Here) -> Here:
    """A run that lost its host in the first boot."""
    here.lab["lab1"].boots = {"lab1.crowd.b001.none": dropped, "lab1.crowd.b001.reporting": dropped}
    with pytest.raises(LabError):
        here.run()
    here.lab["lab1"].boots = {}
    here.lab["lab1"].requests.clear()
    return here


def test_what_a_host_lacks_ends_the_run_before_there_is_a_folder(here: Here) -> None:
    here.lab["lab1"].asks["means"] = refusing
    with pytest.raises(InputError) as caught:
        here.run()
    assert caught.value.exit_code == 2
    for line, text in zip(str(caught.value).splitlines(), LINES, strict=True):
        assert text in line
    assert not here.out.exists()
    assert here.lab["lab1"].count("boot") == 0


def test_a_run_that_is_resumed_asks_again_while_it_holds_the_host_and_goes_on(broken: Here) -> None:
    broken.resume()
    assert broken.lab["lab1"].requests[:6] == ["push", "hold survey", "ask means", "released", "push", "hold out"]
    assert len(broken.boots()) == 2


def test_a_right_that_is_gone_by_then_ends_the_resumed_run_before_a_boot_and_says_what_gives_it(
    broken: Here,
) -> None:
    broken.lab["lab1"].asks["means"] = refusing
    before = (broken.out / "events.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"/out/hosts.yaml:\d+: .*sudo visudo -f /etc/sudoers\.d/bench") as caught:
        broken.resume()
    assert caught.value.exit_code == 2
    assert broken.lab["lab1"].count("boot") == 0
    assert (broken.out / "events.jsonl").read_bytes() == before
    assert broken.lab.at_peace()


def test_a_host_that_cannot_be_asked_again_is_lost(broken: Here) -> None:
    broken.lab["lab1"].open = [LabError("lab1", "no route to host")]
    with pytest.raises(LabError, match="no route to host"):
        broken.resume()
    assert [event["reason"] for event in broken.events("lost")][-1] == "no route to host"
