"""What a program is told while a run goes on: JSON lines."""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest
from boot_records import good_boot
from jobs import NONE, REPORTING, job

from bench.controller.collect import Collected
from bench.controller.progress_events import Event
from bench.controller.progress_lines import JsonProgress, LineWriter
from bench.controller.progress_tally import Tally
from bench.wire.job import Job
from bench.wire.setting import Setting
from bench.wire.units import MIB

HOSTS = {host: [job(arm, host=host) for arm in (NONE, REPORTING)] for host in ("lab-1", "lab-2")}
FIRST = HOSTS["lab-1"][0]
WHEN = dt.datetime(2026, 11, 23, 8, 37, 29, 305_999, dt.UTC)


class Program:
    """Reads the lines of a run of which the test tells the time."""

    def __init__(self, stdout: io.StringIO | None = None) -> None:
        self.t = 0.0
        self.stdout, self.stderr = stdout or io.StringIO(), io.StringIO()
        tally = Tally(HOSTS, lambda _: 30.0, 2, lambda: self.t)
        self.progress = JsonProgress(tally, LineWriter(self.stdout), LineWriter(self.stderr), lambda: WHEN)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.getvalue().splitlines()]

    def boot(self, request: Job, took_s: float, status: str = "ok", reason: str = "") -> None:
        self.progress.boot_starts(request)
        self.t += took_s
        self.progress.boot_ended(request, {"status": status, "reason": reason})


@pytest.fixture
def program() -> Program:
    return Program()


def test_a_run_is_told_from_its_first_host_to_its_last(program: Program) -> None:
    progress = program.progress
    with progress:
        progress.host_starts("lab-1", HOSTS["lab-1"])
        progress.note("lab-1", "tuned", "12 settings")
        program.boot(FIRST, 30)
        progress.host_ends("lab-1", "stopped", "stopped by the user")
    assert [line["event"] for line in program.lines] == ["host-start", "note", "boot-start", "boot-end", "host-end"]
    assert {line["host"] for line in program.lines} == {"lab-1"}
    assert {line["time"] for line in program.lines} == {"2026-11-23T08:37:29.305+00:00"}


def test_a_boot_says_what_it_was_and_how_far_the_run_is(program: Program) -> None:
    program.boot(FIRST, 45.00049, "failed", "panic")
    assert program.lines[-1] == {
        "time": "2026-11-23T08:37:29.305+00:00",
        "event": "boot-end",
        "host": "lab-1",
        "boot": "lab-1.cycle.b001.none",
        "cell": "cycle",
        "arm": "none",
        "block": 1,
        "attempt": 1,
        "status": "failed",
        "reason": "panic",
        "took_s": 45.0,
        "host_left_s": 30.0,
        "left_s": 60.0,
        "done": 1,
        "total": 4,
        "host_done": 1,
        "host_total": 2,
    }


def test_a_boot_that_is_tried_again_is_not_done_before(program: Program) -> None:
    program.boot(FIRST, 5, "failed", "panic")
    program.boot(dataclasses.replace(FIRST, attempt=2), 30)
    assert [(line["attempt"], line["done"]) for line in program.lines] == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_what_does_not_apply_is_absent(program: Program) -> None:
    program.boot(FIRST, 30)
    program.progress.note("lab-1", "waiting", "held by root")
    assert "reason" not in program.lines[-2]
    assert program.lines[-1] == {
        "time": "2026-11-23T08:37:29.305+00:00",
        "event": "note",
        "host": "lab-1",
        "kind": "waiting",
        "text": "held by root",
    }


def test_details_of_a_note_may_be_anything_that_has_a_text(program: Program) -> None:
    setting = Setting("ksm", "/sys/kernel/mm/ksm/run", "1", "0", "0", "set")
    program.progress.note("lab-1", "recovered", "1 setting", recovered=(setting,), where=Path("/var/x"), event_no=3)
    facts = program.lines[-1]["facts"]
    assert (facts["recovered"][0]["name"], facts["where"], facts["event_no"]) == ("ksm", "/var/x", 3)


def test_a_phase_is_told_when_it_has_ended_and_samples_are_not(program: Program) -> None:
    seen = Collected(FIRST)
    program.progress.boot_starts(FIRST)
    for record in good_boot(FIRST):
        seen.add(record)
        program.progress.boot_goes_on(FIRST, seen, record)
    phases = program.lines[1:]
    assert [line["phase"] for line in phases] == ["touch", "hold", "verify", "free", "settle"]
    assert {line["event"] for line in phases} == {"phase"}
    assert phases[0]["resident_bytes"] == 180 * MIB
    assert (phases[0]["took_s"], phases[0]["host_left_s"], phases[0]["boot"]) == (1.0, 60.0, FIRST.boot)
    assert "left_s" not in phases[0]


def test_a_residency_that_was_not_seen_yet_is_absent(program: Program) -> None:
    program.progress.boot_goes_on(FIRST, Collected(FIRST), good_boot(FIRST)[4])
    assert "resident_bytes" not in program.lines[0]


def test_control_characters_of_a_host_are_escaped(program: Program) -> None:
    program.progress.host_ends("lab-1", "lost", "a\x1b[2J\n\x9b\ud800b")
    raw = program.stdout.getvalue()
    assert raw.removesuffix("\n").isprintable()
    assert program.lines[0]["reason"] == "a\x1b[2J\n\x9b\ud800b"


def test_stderr_is_for_problems(program: Program) -> None:
    program.progress.host_starts("lab-1", HOSTS["lab-1"])
    program.progress.note("lab-1", "reconnecting", "no answer")
    program.boot(FIRST, 30)
    program.boot(HOSTS["lab-1"][1], 30, "invalid", "mechanism not seen")
    program.progress.host_ends("lab-1", "done")
    program.progress.host_ends("lab-2", "lost", "no\nanswer")
    assert program.stderr.getvalue().splitlines() == [
        "[2/4] lab-1 block 1 cycle reporting: invalid (mechanism not seen), 30.0 s, 1:00 left",
        "lab-2: lost: no answer; 2 of 2 boots not run",
    ]


def test_every_key_is_explained() -> None:
    explained = Event.__doc__ or ""
    assert [field.name for field in dataclasses.fields(Event) if field.name not in explained] == []


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stream_that_cannot_be_written_is_said_once_and_the_run_goes_on() -> None:
    program = Program(Full())
    program.boot(FIRST, 30)
    assert program.stderr.getvalue().splitlines() == [
        "bench: progress cannot be written to stdout: No space left on device; the run goes on without it"
    ]
