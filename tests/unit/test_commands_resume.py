"""`bench run --resume` over machines that are scripted: only what is missing, only where it is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands_lab import Here, quicken
from fake_lab import FakeLab, Talk, dropped, well

from bench.cli import main
from bench.controller import run as run_module
from bench.errors import InputError, LabError
from bench.wire.job import Job


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    quicken(monkeypatch, built)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "RECONNECT_AFTER_S", ())
    return Here(FakeLab("lab1", "lab2"), tmp_path)


@pytest.fixture
def lost(here: Here) -> Here:
    """A run that lost lab2 in its second boot."""
    machine, first = here.lab["lab2"], "lab2.cycle.b001."
    order: list[str] = []

    def second(talk: Talk, job: Job) -> None:
        order.append(job.boot)
        (well if len(order) == 1 else dropped)(talk, job)

    machine.boots = {f"{first}none": second, f"{first}reporting": second}
    with pytest.raises(LabError):
        here.run()
    assert len(here.boots()) == 3
    machine.boots = {}
    for each in here.lab.machines.values():
        each.requests.clear()
    return here


def test_only_the_machine_with_boots_left_is_contacted_and_only_those_are_booted(lost: Here) -> None:
    lost.resume()
    assert len(lost.boots()) == 4
    assert lost.lab["lab1"].requests == []
    requests = lost.lab["lab2"].requests
    assert requests[:2] == ["push", "hold out"]
    assert lost.lab["lab2"].count("boot") == 1
    assert lost.events("resumed")[0]["boots"] == 1


def test_progress_counts_what_was_done_before(lost: Here, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    lost.resume(as_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (start,) = [event for event in events if event["event"] == "boot-start"]
    assert (start["done"], start["total"]) == (3, 4)


def test_a_machine_that_never_answered_is_asked_then(here: Here) -> None:
    here.lab["lab2"].open = [LabError("lab2", "no route to host")]
    with pytest.raises(LabError):
        here.run()
    assert here.folder.host("lab2") is None
    here.lab["lab1"].requests.clear()
    here.resume()
    assert len(here.boots()) == 4
    assert here.lab["lab1"].requests == []
    assert here.folder.host("lab2") is not None


def test_a_machine_that_does_not_answer_again_is_said_at_once_and_lost_again(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    here.lab["lab2"].open = [LabError("lab2", "no route to host"), LabError("lab2", "still no route")]
    for again in (here.run, here.resume):
        with pytest.raises(LabError, match="1 of 2 hosts were lost"):
            again()
    assert "bench: goes on without it: host lab2: still no route" in capsys.readouterr().err
    assert [event["reason"] for event in here.events("lost")] == ["no route to host", "still no route"]


def test_a_machine_that_has_another_accelerator_by_then_is_lost(here: Here) -> None:
    here.lab["lab2"].open = [LabError("lab2", "no route to host")]
    with pytest.raises(LabError):
        here.run()
    here.lab["lab2"].asks["resolve"] = {**here.folder.host("lab1"), "accel": "kvm"}  # type: ignore[dict-item]
    with pytest.raises(LabError, match="guests would run under kvm there, but this run is one of tcg"):
        here.resume()


def test_with_nothing_left_no_machine_is_contacted_and_the_page_is_made_again(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even the guest image has to be that of the run: nothing will be booted."""
    here.run()
    for machine in here.lab.machines.values():
        machine.requests.clear()
    for name in ("report.html", "analysis.json", "manifest.json"):
        (here.out / name).unlink()
    facts = here.folder.run
    here.folder.write_json("run.json", {**facts, "image": "guest-other.cpio"})
    capsys.readouterr()
    assert main(["run", "--resume", "out"]) == 0
    assert (here.out / "report.html").exists()
    assert (here.out / "manifest.json").exists()
    assert capsys.readouterr().out == "out\n"
    assert [machine.requests for machine in here.lab.machines.values()] == [[], []]


def test_lines_that_a_crash_tore_do_not_count_and_do_not_harm(lost: Here) -> None:
    for name in ("events.jsonl", "boots.jsonl"):
        path = lost.out / name
        path.write_bytes(path.read_bytes() + b'{"boot": "lab1.cyc')
    lost.resume()
    assert len(lost.boots()) == 4
    for name in ("events.jsonl", "boots.jsonl"):
        for line in (lost.out / name).read_text().splitlines():
            json.loads(line)


def test_hosts_yaml_of_today_does_not_matter(lost: Here) -> None:
    Path("hosts.yaml").write_text("hosts: [{name: mars}]\n")
    lost.resume()
    assert len(lost.boots()) == 4


def test_another_guest_image_is_refused_where_boots_are_left(lost: Here) -> None:
    lost.folder.write_json("run.json", {**lost.folder.run, "image": "guest-other.cpio"})
    with pytest.raises(InputError, match=r"ran the image guest-other\.cpio"):
        lost.resume()
    assert lost.lab["lab2"].requests == []


def test_a_pushed_kernel_that_has_changed_is_refused(here: Here, tmp_path: Path) -> None:
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(b"one")
    hosts = [{"name": name, "address": f"{name}.lab", "kernel": f"push:{kernel}"} for name in ("lab1", "lab2")]
    (tmp_path / "hosts.yaml").write_text(json.dumps({"hosts": hosts}))
    here.lab["lab2"].open = [lambda: None, LabError("lab2", "no route to host")]
    with pytest.raises(LabError):
        here.run()
    kernel.write_bytes(b"two")
    with pytest.raises(InputError, match=r"push:.*bzImage has changed since the run began"):
        here.resume()


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--dry-run"], "--dry-run"),
        (["--host", "lab1", "--seed", "3"], "--host, --seed"),
        (["return"], "PLAN"),
        (["--out", "elsewhere"], "--out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_run_has_fixed_cannot_be_said_again(
    argv: list[str], named: str, here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--resume", "out", *argv]) == 2
    assert f"{named}: not with --resume" in capsys.readouterr().err
