"""A run: boots one after another, each on disk before the next; retries, resumption, and what the outcome is."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from boot_records import failed_boot, good_boot
from host_side import fake_job
from jobs import NONE, REPORTING, cycle, job

from bench.controller.bundle import build_bundle
from bench.controller.collect import Collected
from bench.controller.run import Runner, conclude, verify_outcome
from bench.controller.session import LocalSession
from bench.controller.store import RunFolder
from bench.errors import InvalidError, LabError
from bench.wire.job import Job
from bench.wire.record import End, Record
from bench.wire.units import MIB

JOBS = [job(arm, block=block) for block in (1, 2, 3) for arm in (NONE, REPORTING)]
FACTS: dict[str, Any] = {
    "schema": 1,
    "plan": "quick",
    "variant": "",
    "seed": 1,
    "accel": "tcg",
    "reference": "none",
    "arms": ["none", "reporting"],
    "blocks": 3,
    "min_blocks": 3,
    "metrics": {"residual_bytes": {"margin": 0.05}},
    "schedule": [request.boot for request in JOBS],
}


class Lab:
    """A session whose boots are scripted by name; a LabError in a script is raised after its records."""

    def __init__(self, scripts: Mapping[str, list[Record] | LabError] | None = None) -> None:
        self.name, self.log = "local", ""
        self.booted: list[str] = []
        self._scripts = scripts or {}

    def boot(self, request: Job, on_record: Callable[[Record], None]) -> End:
        self.booted.append(request.boot)
        script = self._scripts.get(request.boot, good_boot(request))
        if isinstance(script, LabError):
            self.log = "Traceback\nMemoryError\n"
            for item in good_boot(request)[:5]:
                on_record(item)
            raise script
        self.log = ""
        for item in script:
            on_record(item)
        assert isinstance(script[-1], End)
        return script[-1]


class Told:
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def boot_starts(self, request: Job) -> None:
        self.events.append(f"start {request.boot}")

    def boot_goes_on(self, request: Job, seen: Collected, record: Record) -> None:
        pass

    def boot_ended(self, request: Job, line: Mapping[str, Any]) -> None:
        self.events.append(f"end {request.boot} {line['status']}")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", FACTS, "", "")


def runner(folder: RunFolder, lab: Lab, retries: int = 1, told: Told | None = None) -> Runner:
    return Runner(lab, folder, told or Told(), retries, {"cycle": 5.0})


def statuses(folder: RunFolder) -> dict[str, str]:
    return {line["boot"]: line["status"] for line in folder.boots()}


def failing(*boots: str) -> dict[str, list[Record] | LabError]:
    known = {request.boot: request for request in JOBS}
    return {boot: failed_boot(known[boot.partition(".try")[0]]) for boot in boots}


def test_all_boots_run_in_the_order_of_the_schedule(folder: RunFolder) -> None:
    lab, told = Lab(), Told()
    runner(folder, lab, told=told).run(JOBS)
    assert lab.booted == FACTS["schedule"]
    assert list(statuses(folder)) == FACTS["schedule"]
    assert told.events[:3] == [
        f"start {JOBS[0].boot}",
        f"end {JOBS[0].boot} ok",
        f"start {JOBS[1].boot}",
    ]


def test_a_boot_is_on_disk_before_the_next_one_starts(folder: RunFolder) -> None:
    found: list[int] = []

    class Looking(Lab):
        def boot(self, request: Job, on_record: Callable[[Record], None]) -> End:
            found.append(len(folder.boots()))
            return super().boot(request, on_record)

    runner(folder, Looking()).run(JOBS[:3])
    assert found == [0, 1, 2]


def test_series_and_logs_of_a_boot_are_where_its_line_says(folder: RunFolder) -> None:
    runner(folder, Lab()).run(JOBS[:1])
    (line,) = folder.boots()
    with gzip.open(folder.path / line["series"], "rt") as file:
        assert sum(1 for _ in csv.reader(file)) > 250
    assert sorted(line["logs"]) == sorted(f"log/{path.name}" for path in (folder.path / "log").iterdir())


def test_a_failed_boot_is_tried_again_at_once_and_both_lines_are_kept(folder: RunFolder) -> None:
    lab = Lab(failing(JOBS[1].boot))
    runner(folder, lab).run(JOBS[:3])
    assert lab.booted == [JOBS[0].boot, JOBS[1].boot, JOBS[1].boot + ".try2", JOBS[2].boot]
    assert list(statuses(folder).values()) == ["ok", "failed", "ok", "ok"]
    assert [line["attempt"] for line in folder.boots()] == [1, 1, 2, 1]


def test_tries_end_when_they_are_used_up_and_the_run_goes_on(folder: RunFolder) -> None:
    boot = JOBS[0].boot
    lab = Lab(failing(boot, boot + ".try2", boot + ".try3"))
    runner(folder, lab, retries=2).run(JOBS[:2])
    assert lab.booted == [boot, boot + ".try2", boot + ".try3", JOBS[1].boot]


def test_without_retries_a_failed_boot_is_not_tried_again(folder: RunFolder) -> None:
    lab = Lab(failing(JOBS[0].boot))
    runner(folder, lab, retries=0).run(JOBS[:2])
    assert lab.booted == [JOBS[0].boot, JOBS[1].boot]


def test_a_boot_that_cannot_be_believed_is_not_tried_again(folder: RunFolder) -> None:
    odd = good_boot(JOBS[0])
    silent = [*odd[:-1], End("ok", sampler={"error": "FileNotFoundError"}, clock={"offset_s": 0, "error_s": 0})]
    lab = Lab({JOBS[0].boot: silent})
    runner(folder, lab).run(JOBS[:1])
    assert statuses(folder) == {JOBS[0].boot: "invalid"}
    assert lab.booted == [JOBS[0].boot]


def test_a_host_side_that_died_is_a_failed_boot_with_its_evidence_and_log(folder: RunFolder) -> None:
    error = LabError("local", "the host side ended without a result", ["python3", "x.pyz"], ["Killed"])
    runner(folder, Lab({JOBS[0].boot: error}), retries=0).run(JOBS[:1])
    (line,) = folder.boots()
    assert line["status"] == "failed"
    assert line["reason"] == "host local: the host side ended without a result"
    assert line["evidence"] == ["Killed"]
    assert [phase["name"] for phase in line["phases"]] == ["touch"]
    assert (folder.path / f"log/{JOBS[0].boot}.host.txt").read_text() == "Traceback\nMemoryError\n"


def test_a_resumed_run_boots_only_what_is_missing(folder: RunFolder) -> None:
    runner(folder, Lab()).run(JOBS[:2])
    lab = Lab()
    runner(RunFolder.existing(folder.path), lab).run(JOBS)
    assert lab.booted == FACTS["schedule"][2:]
    assert len(folder.boots()) == len(JOBS)


def test_a_resumed_run_takes_the_tries_that_are_left_of_a_failed_boot(folder: RunFolder) -> None:
    boot = JOBS[0].boot
    runner(folder, Lab(failing(boot)), retries=0).run(JOBS[:1])
    lab = Lab()
    runner(folder, lab, retries=1).run(JOBS[:1])
    assert lab.booted == [boot + ".try2"]
    lab = Lab()
    runner(folder, lab, retries=1).run(JOBS[:1])
    assert lab.booted == []


def test_a_resumed_run_does_not_try_more_often_than_an_uninterrupted_one(folder: RunFolder) -> None:
    boot = JOBS[0].boot
    runner(folder, Lab(failing(boot, boot + ".try2"))).run(JOBS[:1])
    lab = Lab()
    runner(folder, lab).run(JOBS[:1])
    assert lab.booted == []


def test_an_interrupted_boot_leaves_no_line_and_is_booted_again(folder: RunFolder) -> None:
    class Interrupting(Lab):
        def boot(self, request: Job, on_record: Callable[[Record], None]) -> End:
            if request == JOBS[1]:
                raise KeyboardInterrupt
            return super().boot(request, on_record)

    with pytest.raises(KeyboardInterrupt):
        runner(folder, Interrupting()).run(JOBS)
    assert list(statuses(folder)) == [JOBS[0].boot]
    lab = Lab()
    runner(folder, lab).run(JOBS)
    assert lab.booted == FACTS["schedule"][1:]


def test_a_complete_run_has_an_analysis_and_no_complaint(folder: RunFolder) -> None:
    runner(folder, Lab()).run(JOBS)
    analysis = conclude(folder)
    assert json.loads((folder.path / "analysis.json").read_text()) == analysis
    (cell,) = analysis["cells"]
    assert cell["complete_blocks"] == [1, 2, 3]
    assert analysis["verdict"]["verdict"] == "better"
    verify_outcome(analysis, "local")


def test_a_second_try_fills_its_block(folder: RunFolder) -> None:
    runner(folder, Lab(failing(JOBS[1].boot))).run(JOBS)
    analysis = conclude(folder)
    assert analysis["cells"][0]["complete_blocks"] == [1, 2, 3]
    verify_outcome(analysis, "local")


def test_a_run_with_missing_blocks_is_the_labs_failure_with_every_reason(folder: RunFolder) -> None:
    boot = JOBS[1].boot
    runner(folder, Lab(failing(boot, boot + ".try2"))).run(JOBS)
    with pytest.raises(LabError, match="blocks are missing in cycle/reporting") as caught:
        verify_outcome(conclude(folder), "local")
    assert caught.value.exit_code == 5
    assert caught.value.evidence == (
        f"{boot}: QEMU ended with status 1",
        f"{boot}.try2: QEMU ended with status 1",
    )


def test_a_run_with_a_boot_that_cannot_be_believed_is_invalid(folder: RunFolder) -> None:
    odd = good_boot(JOBS[0])
    silent = [*odd[:-1], End("ok", sampler={"error": "FileNotFoundError"}, clock={"offset_s": 0, "error_s": 0})]
    runner(folder, Lab({JOBS[0].boot: silent})).run(JOBS)
    with pytest.raises(InvalidError, match=f"{JOBS[0].boot}: sampler failed") as caught:
        verify_outcome(conclude(folder), "local")
    assert caught.value.exit_code == 4


def test_a_whole_run_over_a_fake_qemu_sees_the_memory_come_back(tmp_path: Path) -> None:
    """The real bundle as a real child process; only QEMU is not real."""
    jobs = [fake_job(tmp_path, cycle(16 * MIB), arm) for arm in (NONE, REPORTING)]
    folder = RunFolder.create(tmp_path / "run", {**FACTS, "blocks": 1, "schedule": [j.boot for j in jobs]}, "", "")
    lab = LocalSession("local", build_bundle(tmp_path))
    Runner(lab, folder, Told(), 0, {"cycle": 0.5}).run(jobs)
    none, reporting = folder.boots()
    assert (none["status"], none["reason"]) == ("ok", "")
    assert (reporting["status"], reporting["reason"]) == ("ok", "")
    assert none["values"]["residual_bytes"] == [24 * MIB]
    assert reporting["values"]["residual_bytes"] == [8 * MIB]
    assert reporting["values"]["discarded_bytes"] == [16 * MIB]
    assert lab.log == ""
    verify_outcome(conclude(folder), "local")
