"""Plan quick over three hosts with real sshds and real guests; one of them goes away in the middle, and comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleetlab import SHORT, Fleet, fleet, left_on, qemus
from waiting import wait_for

pytestmark = [pytest.mark.guest, pytest.mark.fleet]

HOSTS = ("lab1", "lab2", "lab3")
BLOCKS = 2
ENOUGH = ("--set", f"min_blocks={BLOCKS}")
# EOF comes at once; a silent connection is noticed after three heartbeats.
NO_ORPHAN_S = 5.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(3, tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture(scope="module")
def story(lab: Fleet) -> dict[str, Any]:
    """A run in which lab2's sshd is stopped in its second boot; then sshd is back and the run is resumed."""
    told: dict[str, Any] = {"before": {host.name: left_on(host) for host in lab.hosts}}
    lab2 = lab.hosts[1]
    process = lab.start("run", "quick", "--blocks", str(BLOCKS), "--seed", "1", "--out", "out", *SHORT, *ENOUGH)
    wait_for(lambda: [boot for boot in lab.boots("out") if boot["host"] == "lab2"], 200, "lab2's first boot")
    wait_for(lambda: qemus(lab2), 60, "lab2's second guest")
    lab2.stop_sshd()
    wait_for(lambda: not qemus(lab2), NO_ORPHAN_S, "no QEMU on lab2 after its sshd was stopped")
    out, err = process.communicate(timeout=300)
    told["lost"] = {"code": process.returncode, "out": out, "err": err}
    told["lost"]["boots"] = (lab.cwd / "out/boots.jsonl").read_bytes()
    told["lost"]["analysis"] = json.loads((lab.cwd / "out/analysis.json").read_text())
    told["lost"]["page"] = (lab.cwd / "out/report.html").read_text()
    told["lost"]["qemus"] = [line for host in lab.hosts for line in qemus(host)]
    lab2.start_sshd()
    code, out, err = lab.bench("run", "--resume", "out")
    told["resumed"] = {"code": code, "out": out, "err": err}
    told["after"] = {host.name: left_on(host) for host in lab.hosts}
    return told


def complete(analysis: dict[str, Any]) -> dict[str, int]:
    """Complete blocks of each host."""
    return {cell["host"]: len(cell["complete_blocks"]) for cell in analysis["cells"] if cell["arm"] == "reporting"}


def test_a_run_that_lost_a_host_exits_with_5_and_names_host_boots_and_remedy(story: dict[str, Any]) -> None:
    lost = story["lost"]
    assert lost["code"] == 5, lost["err"]
    assert "host lab2: 1 of 3 hosts were lost; the results of the others are complete." in lost["err"]
    assert re.search(r"lab2: .*\(\d boots left\)", lost["err"])
    assert "bench run --resume out" in lost["err"]
    assert lost["out"].splitlines()[-1] == "out"


def test_the_other_hosts_are_complete_and_no_qemu_is_left_anywhere(story: dict[str, Any]) -> None:
    found = complete(story["lost"]["analysis"])
    assert (found["lab1"], found["lab3"]) == (BLOCKS, BLOCKS)
    assert found.get("lab2", 0) < BLOCKS
    assert story["lost"]["qemus"] == []


def test_the_lost_host_is_in_the_events_with_its_unfinished_boots(story: dict[str, Any], lab: Fleet) -> None:
    (lost,) = lab.events("out", "lost")
    assert lost["host"] == "lab2"
    assert len(lost["unfinished"]) == 2 * BLOCKS - 1
    assert [event["host"] for event in lab.events("out", "reconnecting")] == ["lab2", "lab2"]


def test_the_page_of_the_partial_run_says_which_host_was_lost(story: dict[str, Any]) -> None:
    page = story["lost"]["page"]
    assert "lab2" in page
    assert re.search(r"lost", page)


def test_the_resumed_run_boots_only_on_the_lost_host_and_is_whole(story: dict[str, Any], lab: Fleet) -> None:
    assert story["resumed"]["code"] == 0, story["resumed"]["err"]
    now = (lab.cwd / "out/boots.jsonl").read_bytes()
    assert now.startswith(story["lost"]["boots"])
    added = [json.loads(line) for line in now[len(story["lost"]["boots"]) :].splitlines()]
    assert {boot["host"] for boot in added} == {"lab2"}
    assert len(added) == 2 * BLOCKS - 1


def test_every_arm_was_measured_on_every_host_in_every_block(story: dict[str, Any], lab: Fleet) -> None:
    seen = {(boot["host"], boot["arm"], boot["block"]) for boot in lab.boots("out") if boot["status"] == "ok"}
    wanted = {(h, arm, block) for h in HOSTS for arm in ("none", "reporting") for block in range(1, BLOCKS + 1)}
    assert seen == wanted
    facts = {host: json.loads((lab.cwd / f"out/hosts/{host}.json").read_text()) for host in HOSTS}
    assert {name: fact["accel"] for name, fact in facts.items()} == dict.fromkeys(HOSTS, "tcg")


def test_the_report_is_by_host_and_combined(story: dict[str, Any], lab: Fleet) -> None:
    analysis = json.loads((lab.cwd / "out/analysis.json").read_text())
    assert complete(analysis) == dict.fromkeys(HOSTS, BLOCKS)
    (combined,) = analysis["combined"]
    assert sorted(combined["hosts"]) == list(HOSTS)
    returned = next(metric for metric in combined["metrics"] if metric["metric"] == "returned_share")
    assert returned["hosts"] == len(HOSTS)
    # With two blocks a host its own spread may be so small that hosts differ by it; then there is no combined effect.
    assert returned["effect"] is None or returned["effect"] > 0.5
    assert returned["effect"] is not None or returned["why"]
    assert sorted(returned["per_host"]) == list(HOSTS)
    assert all(effect > 0.5 for effect in returned["per_host"].values())
    page = (lab.cwd / "out/report.html").read_text()
    assert all(host in page for host in HOSTS)


def test_the_guests_of_a_host_gave_back_what_they_freed(story: dict[str, Any], lab: Fleet) -> None:
    for boot in lab.boots("out"):
        (discarded,) = boot["values"]["discarded_bytes"]
        assert (discarded > 0) == (boot["arm"] == "reporting"), boot["boot"]


def test_files_went_to_each_host_once(story: dict[str, Any], lab: Fleet) -> None:
    """The first run sends bundle and image to each; neither its later connections nor the resumed run do."""
    first = re.findall(r"(lab\d): sending (\S+),", story["lost"]["err"])
    assert sorted((host, name.partition("-")[0]) for host, name in first) == sorted(
        (host, kind) for host in HOSTS for kind in ("fpr", "guest")
    )
    assert "sending" not in story["resumed"]["err"]


def test_nothing_is_left_on_any_host_but_the_cache(story: dict[str, Any], lab: Fleet) -> None:
    for host in lab.hosts:
        now = story["after"][host.name]
        assert now["processes"] == now["locks"] == now["temporary"] == now["journal"] == now["state"] == [], host.name
        assert now == story["before"][host.name]
        kept = sorted(path.name.partition("-")[0] for path in (host.home / ".cache/fpr-bench").iterdir())
        assert kept == ["fpr", "guest", "initrd", "kernels"]


def test_every_host_was_held_while_it_was_measured(story: dict[str, Any], lab: Fleet) -> None:
    held = [event["host"] for event in lab.events("out", "held")]
    assert sorted(held) == ["lab1", "lab2", "lab2", "lab3"]


def test_the_files_are_sealed_as_a_whole(story: dict[str, Any], lab: Fleet) -> None:
    manifest = json.loads((lab.cwd / "out/manifest.json").read_text())
    assert {f"hosts/{host}.json" for host in HOSTS} | {"events.jsonl", "report.html"} <= set(manifest["files"])
    assert str(Path(lab.cwd)) not in (lab.cwd / "out/run.json").read_text()
