"""A run: boots one after another, each on disk before the next; retries, resumption, and what the outcome is."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boot_records import failed_boot, good_boot
from host_side import fake_job
from jobs import NONE, REPORTING, cycle, job

from bench.analysis.analyse import analyse
from bench.controller import run as run_module
from bench.controller.bundle import build_bundle
from bench.controller.collect import Collected
from bench.controller.outcome import conclude, problem
from bench.controller.run import HostRun, Outcome
from bench.controller.session import Session
from bench.controller.store import RunFolder, StoreError
from bench.controller.transport import LocalTransport
from bench.errors import BenchError, Interrupted, InvalidError, LabError
from bench.wire.job import Hold, Job
from bench.wire.record import End, Held, Hello, Record, Released, Waiting
from bench.wire.setting import Setting
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


SET = Setting("ksm", "/sys/kernel/mm/ksm/run", "1", "0", "0", "set")
DONE = Outcome("local", "done")


class DroppedError(LabError):
    """In a script: the connection breaks."""


class FakeKeeper:
    """What holds the host."""

    def __init__(self, lab: Lab) -> None:
        self.held, self.gone = Held(settings=(SET,), swap=lab.swap), False
        self._lab = lab

    def died(self) -> LabError:
        return LabError("local", "the keeper died")

    def release(self) -> Released | None:
        self._lab.log_of_holds.append("released")
        return Released((SET,))


class Lab:
    """A host whose boots are scripted by name; a LabError in a script is raised after its records.

    It is its own session. `unreachable`: how often connecting fails, once it has been reached for the first time.
    """

    def __init__(self, scripts: Mapping[str, list[Record] | LabError] | None = None, unreachable: int = 0) -> None:
        self.name, self.log, self.stopped, self.connected = "local", "", False, True
        self.booted: list[str] = []
        self.log_of_holds: list[str] = []
        self.refuse: LabError | None = None
        self.swap: dict[str, Any] = {}
        self.opened = self.closed = 0
        self.keepers: list[FakeKeeper] = []
        self._unreachable = unreachable
        self._scripts = dict(scripts or {})

    @property
    def session(self) -> Lab:
        return self

    def open(self) -> Lab:
        self.opened += 1
        if self.opened > 1 and self._unreachable:
            self._unreachable -= 1
            raise LabError("local", "connection refused")
        self.connected = True
        return self

    def close(self) -> None:
        self.closed += 1

    def stop(self, *, now: bool = False) -> None:
        del now
        self.stopped = True

    def hold(self, request: Hold, on_waiting: Callable[[Waiting], None]) -> FakeKeeper:
        if self.refuse:
            raise self.refuse
        if request.wait and self.opened == 1:
            on_waiting(Waiting({"owner": "ann", "run": "other"}))
        self.log_of_holds.append("held")
        self.keepers.append(FakeKeeper(self))
        return self.keepers[-1]

    def boot(self, request: Job, on_record: Callable[[Record], None]) -> End:
        self.booted.append(request.boot)
        script = self._scripts.get(request.boot, good_boot(request))
        if isinstance(script, LabError):
            self.log = "Traceback\nMemoryError\n"
            for item in good_boot(request)[:5]:
                on_record(item)
            if isinstance(script, DroppedError):
                self.connected = False
                del self._scripts[request.boot]
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
        self.notes: list[str] = []
        self.facts: list[tuple[str, dict[str, Any]]] = []

    def host_starts(self, host: str, jobs: Sequence[Job]) -> None:
        self.events.append(f"host {host} {len(jobs)}")

    def host_left(self, host: str, jobs: Sequence[Job]) -> None:
        self.events.append(f"left {host} {len(jobs)}")

    def note(self, host: str, event: str, text: str, **facts: Any) -> None:
        self.notes.append(f"{event}: {text}")
        self.facts.append((host, facts))

    def boot_starts(self, request: Job) -> None:
        self.events.append(f"start {request.boot}")

    def boot_goes_on(self, request: Job, seen: Collected, record: Record) -> None:
        pass

    def boot_ended(self, request: Job, line: Mapping[str, Any]) -> None:
        self.events.append(f"end {request.boot} {line['status']}")

    def host_ends(self, host: str, state: str, reason: str = "") -> None:
        self.events.append(f"{state} {host} {reason}".strip())


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", FACTS, "", "")


def boot_all(
    jobs: Sequence[Job], folder: RunFolder, lab: Lab, retries: int = 1, told: Told | None = None, *, wait: bool = False
) -> Outcome:
    return host_run(jobs, folder, lab, retries, told, wait=wait).run()


def host_run(
    jobs: Sequence[Job], folder: RunFolder, lab: Lab, retries: int = 1, told: Told | None = None, *, wait: bool = False
) -> HostRun:
    hold = Hold("run", "me", ("ksm",), wait)
    return HostRun("local", jobs, lab.open, hold, folder, told or Told(), retries, {"cycle": 5.0}, pause=lambda _: None)  # type: ignore[arg-type]


def raised(analysis: Mapping[str, Any], folder: RunFolder, *outcomes: Outcome) -> BenchError | None:
    return problem(analysis, outcomes or (DONE,), folder)


def statuses(folder: RunFolder) -> dict[str, str]:
    return {line["boot"]: line["status"] for line in folder.boots()}


def failing(*boots: str) -> dict[str, list[Record] | LabError]:
    known = {request.boot: request for request in JOBS}
    return {boot: failed_boot(known[boot.partition(".try")[0]]) for boot in boots}


def test_all_boots_run_in_the_order_of_the_schedule(folder: RunFolder) -> None:
    lab, told = Lab(), Told()
    boot_all(JOBS, folder, lab, told=told)
    assert lab.booted == FACTS["schedule"]
    assert list(statuses(folder)) == FACTS["schedule"]
    assert told.events[:4] == [
        "host local 6",
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

    boot_all(JOBS[:3], folder, Looking())
    assert found == [0, 1, 2]


def test_series_and_logs_of_a_boot_are_where_its_line_says(folder: RunFolder) -> None:
    boot_all(JOBS[:1], folder, Lab())
    (line,) = folder.boots()
    with gzip.open(folder.path / line["series"], "rt") as file:
        assert sum(1 for _ in csv.reader(file)) > 250
    assert sorted(line["logs"]) == sorted(f"log/{path.name}" for path in (folder.path / "log").iterdir())


def test_a_failed_boot_is_tried_again_at_once_and_both_lines_are_kept(folder: RunFolder) -> None:
    lab = Lab(failing(JOBS[1].boot))
    boot_all(JOBS[:3], folder, lab)
    assert lab.booted == [JOBS[0].boot, JOBS[1].boot, JOBS[1].boot + ".try2", JOBS[2].boot]
    assert list(statuses(folder).values()) == ["ok", "failed", "ok", "ok"]
    assert [line["attempt"] for line in folder.boots()] == [1, 1, 2, 1]


def test_tries_end_when_they_are_used_up_and_the_run_goes_on(folder: RunFolder) -> None:
    boot = JOBS[0].boot
    lab = Lab(failing(boot, boot + ".try2", boot + ".try3"))
    boot_all(JOBS[:2], folder, lab, retries=2)
    assert lab.booted == [boot, boot + ".try2", boot + ".try3", JOBS[1].boot]


def test_without_retries_a_failed_boot_is_not_tried_again(folder: RunFolder) -> None:
    lab = Lab(failing(JOBS[0].boot))
    boot_all(JOBS[:2], folder, lab, retries=0)
    assert lab.booted == [JOBS[0].boot, JOBS[1].boot]


def test_a_boot_that_cannot_be_believed_is_not_tried_again(folder: RunFolder) -> None:
    odd = good_boot(JOBS[0])
    silent = [*odd[:-1], End("ok", sampler={"error": "FileNotFoundError"}, clock={"offset_s": 0, "error_s": 0})]
    lab = Lab({JOBS[0].boot: silent})
    boot_all(JOBS[:1], folder, lab)
    assert statuses(folder) == {JOBS[0].boot: "invalid"}
    assert lab.booted == [JOBS[0].boot]


def test_a_host_side_that_died_is_a_failed_boot_with_its_evidence_and_log(folder: RunFolder) -> None:
    error = LabError("local", "the host side ended without a result", ["python3", "x.pyz"], ["Killed"])
    boot_all(JOBS[:1], folder, Lab({JOBS[0].boot: error}), retries=0)
    (line,) = folder.boots()
    assert line["status"] == "failed"
    assert line["reason"] == "host local: the host side ended without a result"
    assert line["evidence"] == ["Killed"]
    assert [phase["name"] for phase in line["phases"]] == ["touch"]
    assert (folder.path / f"log/{JOBS[0].boot}.host.txt").read_text() == "Traceback\nMemoryError\n"


def test_a_resumed_run_boots_only_what_is_missing(folder: RunFolder) -> None:
    boot_all(JOBS[:2], folder, Lab())
    lab = Lab()
    boot_all(JOBS, RunFolder.existing(folder.path), lab)
    assert lab.booted == FACTS["schedule"][2:]
    assert len(folder.boots()) == len(JOBS)


def test_a_resumed_run_takes_the_tries_that_are_left_of_a_failed_boot(folder: RunFolder) -> None:
    boot = JOBS[0].boot
    boot_all(JOBS[:1], folder, Lab(failing(boot)), retries=0)
    lab = Lab()
    boot_all(JOBS[:1], folder, lab, retries=1)
    assert lab.booted == [boot + ".try2"]
    lab = Lab()
    boot_all(JOBS[:1], folder, lab, retries=1)
    assert lab.booted == []


def test_a_resumed_run_does_not_try_more_often_than_an_uninterrupted_one(folder: RunFolder) -> None:
    boot = JOBS[0].boot
    boot_all(JOBS[:1], folder, Lab(failing(boot, boot + ".try2")))
    lab = Lab()
    boot_all(JOBS[:1], folder, lab)
    assert lab.booted == []


def test_a_stopped_boot_leaves_no_line_and_is_booted_again(folder: RunFolder) -> None:
    class Stopping(Lab):
        def boot(self, request: Job, on_record: Callable[[Record], None]) -> End:
            if request == JOBS[1]:
                run.stop()
                return End("failed", "the controller went away")
            return super().boot(request, on_record)

    lab = Stopping()
    run = host_run(JOBS, folder, lab)
    outcome = run.run()
    assert (outcome.state, outcome.unfinished) == ("stopped", tuple(FACTS["schedule"][1:]))
    assert list(statuses(folder)) == [JOBS[0].boot]
    assert (lab.log_of_holds, lab.closed) == (["held", "released"], 1)
    again = Lab()
    boot_all(JOBS, folder, again)
    assert again.booted == FACTS["schedule"][1:]


def test_a_host_that_was_stopped_before_its_turn_is_not_reached(folder: RunFolder) -> None:
    lab = Lab()
    run = host_run(JOBS, folder, lab)
    run.stop()
    assert run.run().state == "stopped"
    assert lab.opened == 0


def test_nothing_is_opened_for_a_host_whose_boots_are_all_there(folder: RunFolder) -> None:
    boot_all(JOBS, folder, Lab())
    lab = Lab()
    assert boot_all(JOBS, folder, lab) == DONE
    assert lab.opened == 0


# -- the host is held -----------------------------------------------------------------------------------------------


def test_a_host_is_held_around_all_its_boots_and_what_was_set_is_in_the_events(folder: RunFolder) -> None:
    lab = Lab()
    boot_all(JOBS[:2], folder, lab)
    assert lab.log_of_holds == ["held", "released"]
    held, released = folder.events()
    assert (held["event"], held["host"], held["settings"][0]["name"]) == ("held", "local", "ksm")
    assert (released["event"], released["settings"][0]["state"]) == ("released", "set")


def test_a_host_that_somebody_else_holds_is_lost_to_this_run_with_the_holders_name(folder: RunFolder) -> None:
    lab = Lab()
    lab.refuse = LabError("local", "held by ann for run other")
    outcome = boot_all(JOBS, folder, lab)
    assert (outcome.state, outcome.reason) == ("lost", "held by ann for run other")
    assert len(outcome.unfinished) == 6
    assert lab.booted == []
    (event,) = folder.events()
    assert (event["event"], event["reason"]) == ("lost", "held by ann for run other")


def test_what_a_host_cannot_do_is_booted_once_and_a_resumed_run_still_knows(folder: RunFolder) -> None:
    lacking: list[Record] = [Hello(7, {}), End("skipped", "this kernel has no DAMON_RECLAIM")]
    first, *later = [job for job in JOBS if job.arm.name == "reporting"]
    lab = Lab({first.boot: lacking})
    assert boot_all([first, *later[:1]], folder, lab).state == "done"
    assert lab.booted == [first.boot]
    again = Lab()
    assert boot_all([first, *later], folder, again).state == "done"
    assert again.booted == []
    lines = {boot["boot"]: (boot["status"], boot["reason"]) for boot in folder.boots()}
    assert lines == {job.boot: ("skipped", "this kernel has no DAMON_RECLAIM") for job in (first, *later)}
    assert analyse(folder.run, folder.boots())["skipped"][0]["boots"] == len(lines)


def test_waiting_for_a_host_is_said_and_recorded(folder: RunFolder) -> None:
    told = Told()
    boot_all(JOBS[:1], folder, Lab(), told=told, wait=True)
    assert told.notes == ["waiting: waiting for the host, held by ann for run other since ?, process ?"]
    assert folder.events()[0]["holder"] == {"owner": "ann", "run": "other"}


def test_a_swap_file_that_could_not_be_made_is_told_and_the_run_goes_on(folder: RunFolder) -> None:
    lab, told = Lab(), Told()
    lab.swap = {"problem": "no room"}
    assert boot_all(JOBS[:1], folder, lab, told=told).state == "done"
    assert told.notes == ["no_swap_file: no swap file was made: no room"]
    assert next(event for event in folder.events() if event["event"] == "held")["swap"] == {"problem": "no room"}


def test_a_boot_during_which_the_keeper_died_does_not_count_and_the_host_is_held_again(folder: RunFolder) -> None:
    class Unguarded(Lab):
        def boot(self, request: Job, on_record: Callable[[Record], None]) -> End:
            self.keepers[-1].gone = len(self.keepers) == 1
            return super().boot(request, on_record)

    lab = Unguarded()
    assert boot_all(JOBS[:2], folder, lab) == DONE
    assert lab.booted == [JOBS[0].boot, JOBS[0].boot, JOBS[1].boot]
    assert lab.log_of_holds == ["held", "released", "held", "released"]
    assert list(statuses(folder)) == [JOBS[0].boot, JOBS[1].boot]


# -- the connection drops -------------------------------------------------------------------------------------------


def test_a_dropped_connection_is_made_again_and_the_torn_boot_is_begun_anew(folder: RunFolder) -> None:
    lab, told = Lab({JOBS[1].boot: DroppedError("local", "the connection was lost")}), Told()
    assert boot_all(JOBS[:3], folder, lab, told=told) == DONE
    assert lab.booted == [JOBS[0].boot, JOBS[1].boot, JOBS[1].boot, JOBS[2].boot]
    assert list(statuses(folder).values()) == ["ok", "ok", "ok"]
    assert lab.opened == lab.closed == 2
    assert told.facts == [("local", {"tries": 1})]
    assert told.notes[0].startswith("reconnecting: the connection was lost; connecting again, try 1 of 2")
    (again,) = [event for event in folder.events() if event["event"] == "reconnecting"]
    assert (again["tries"], again["reason"]) == (1, "the connection was lost")


def test_a_host_that_stays_away_is_lost_after_a_few_tries_and_what_it_did_is_kept(folder: RunFolder) -> None:
    lab = Lab({JOBS[2].boot: DroppedError("local", "the connection was lost")}, unreachable=99)
    outcome = boot_all(JOBS, folder, lab)
    assert (outcome.state, outcome.reason) == ("lost", "connection refused")
    assert outcome.unfinished == tuple(FACTS["schedule"][2:])
    assert lab.opened == 1 + len(run_module.RECONNECT_AFTER_S)
    assert list(statuses(folder)) == FACTS["schedule"][:2]
    assert folder.events()[-1]["unfinished"] == FACTS["schedule"][2:]


def test_a_lost_hosts_boots_are_taken_up_again_by_the_next_run_over_the_same_folder(folder: RunFolder) -> None:
    boot_all(JOBS, folder, Lab({JOBS[2].boot: DroppedError("local", "lost")}, unreachable=99))
    lab = Lab()
    assert boot_all(JOBS, folder, lab) == DONE
    assert lab.booted == FACTS["schedule"][2:]


def test_a_host_that_cannot_be_reached_at_first_is_lost_without_further_tries(folder: RunFolder) -> None:
    tries = []

    def unreachable() -> Lab:
        tries.append(1)
        raise LabError("local", "no route to host", evidence=["ssh: …"])

    run = host_run(JOBS, folder, Lab())
    run.open_lab = unreachable  # type: ignore[assignment]
    outcome = run.run()
    assert (outcome.state, outcome.reason, outcome.evidence) == ("lost", "no route to host", ("ssh: …",))
    assert tries == [1]


def test_a_full_disk_of_the_controller_is_no_hosts_trouble_and_ends_the_run(folder: RunFolder) -> None:
    class Full(Lab):
        def boot(self, request: Job, on_record: Callable[[Record], None]) -> End:
            shutil.rmtree(folder.path / "series", ignore_errors=True)
            return super().boot(request, on_record)

    lab = Full()
    with pytest.raises(StoreError, match="cannot be saved"):
        boot_all(JOBS, folder, lab)
    assert (len(lab.booted), lab.log_of_holds) == (1, ["held", "released"])


# -- the end --------------------------------------------------------------------------------------------------------


def test_a_complete_run_has_an_analysis_and_no_complaint(folder: RunFolder) -> None:
    boot_all(JOBS, folder, Lab())
    analysis = conclude(folder)
    assert json.loads((folder.path / "analysis.json").read_text()) == analysis
    (cell,) = analysis["cells"]
    assert cell["complete_blocks"] == [1, 2, 3]
    assert analysis["verdict"]["verdict"] == "better"
    assert raised(analysis, folder) is None


def test_a_second_try_fills_its_block(folder: RunFolder) -> None:
    boot_all(JOBS, folder, Lab(failing(JOBS[1].boot)))
    analysis = conclude(folder)
    assert analysis["cells"][0]["complete_blocks"] == [1, 2, 3]
    assert raised(analysis, folder) is None


def test_a_run_with_missing_blocks_is_the_labs_failure_with_every_reason(folder: RunFolder) -> None:
    boot = JOBS[1].boot
    boot_all(JOBS, folder, Lab(failing(boot, boot + ".try2")))
    error = raised(conclude(folder), folder)
    assert isinstance(error, LabError)
    assert error.message == "blocks are missing in cycle/reporting"
    assert error.evidence == (
        f"{boot}: QEMU ended with status 1",
        f"{boot}.try2: QEMU ended with status 1",
    )


def test_a_run_with_a_boot_that_cannot_be_believed_is_invalid(folder: RunFolder) -> None:
    odd = good_boot(JOBS[0])
    silent = [*odd[:-1], End("ok", sampler={"error": "FileNotFoundError"}, clock={"offset_s": 0, "error_s": 0})]
    boot_all(JOBS, folder, Lab({JOBS[0].boot: silent}))
    error = raised(conclude(folder), folder)
    assert isinstance(error, InvalidError)
    assert f"{JOBS[0].boot}: sampler failed" in str(error)


def test_a_lost_host_comes_before_everything_but_the_users_own_stop(folder: RunFolder) -> None:
    boot_all(JOBS, folder, Lab())
    analysis = conclude(folder)
    lost = Outcome("h2", "lost", "unreachable\nsecond line", ("ssh: no route",), ("h2.cycle.b001.none",))
    error = raised(analysis, folder, DONE, lost)
    assert isinstance(error, LabError)
    again = f"bench run --resume {folder.path}"
    assert str(error).splitlines() == [
        f"host h2: 1 of 2 hosts were lost; the results of the others are complete. To finish: {again}",
        "  | h2: unreachable (1 boots left)",
        "  | h2:   second line",
        "  | h2:   ssh: no route",
    ]
    assert isinstance(raised(analysis, folder, lost, Outcome("h3", "stopped")), Interrupted)


def test_a_single_lost_host_is_told_in_its_own_words(folder: RunFolder) -> None:
    lost = Outcome("local", "lost", "held by ann", (), ("a", "b"))
    error = raised({"invalid_boots": [], "cells": []}, folder, lost)
    assert str(error) == f"host local: held by ann; 2 boots are left: bench run --resume {folder.path}"


@dataclass
class RealLab:
    session: Session
    connected: bool = True

    def close(self) -> None:
        pass


@pytest.mark.alone  # it takes the machine's own lock
def test_a_whole_run_over_a_fake_qemu_sees_the_memory_come_back(tmp_path: Path) -> None:
    """The real bundle as a real child process; only QEMU is not real."""
    jobs = [fake_job(tmp_path, cycle(16 * MIB), arm) for arm in (NONE, REPORTING)]
    folder = RunFolder.create(tmp_path / "run", {**FACTS, "blocks": 1, "schedule": [j.boot for j in jobs]}, "", "")
    lab = RealLab(Session(LocalTransport("local"), str(build_bundle(tmp_path))))
    hold = Hold("run", "me")
    HostRun("local", jobs, lambda: lab, hold, folder, Told(), 0, {"cycle": 0.5}).run()
    none, reporting = folder.boots()
    assert (none["status"], none["reason"]) == ("ok", "")
    assert (reporting["status"], reporting["reason"]) == ("ok", "")
    assert none["values"]["residual_bytes"] == [24 * MIB]
    assert reporting["values"]["residual_bytes"] == [8 * MIB]
    assert reporting["values"]["discarded_bytes"] == [16 * MIB]
    assert lab.session.log == ""
    assert raised(conclude(folder), folder) is None
