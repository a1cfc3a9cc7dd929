"""What a person sees while a run goes on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from boot_records import good_boot
from jobs import NONE, REPORTING, job

from bench.controller.collect import Collected
from bench.controller.progress import LineProgress, clock
from bench.wire.job import Job
from bench.wire.record import PhaseDone, Samples
from bench.wire.units import MIB

JOBS = [job(arm, block=block) for block in (1, 2) for arm in (NONE, REPORTING)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Watch:
    """A run of which the test tells the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, jobs: Sequence[Job] = JOBS) -> None:
        self.t = 1000.0
        self.stream = stream
        monkeypatch.setattr("bench.controller.progress.time", SimpleNamespace(monotonic=lambda: self.t))
        self.progress = LineProgress(jobs, lambda _: 30.0, stream)

    def boot(self, request: Job, took_s: float, status: str = "ok", reason: str = "") -> str:
        """Starts and ends a boot; answers what that printed."""
        before = len(self.stream.getvalue())
        self.progress.boot_starts(request)
        self.t += took_s
        line: dict[str, Any] = {"status": status, "reason": reason}
        self.progress.boot_ended(request, line)
        return self.stream.getvalue()[before:]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch, io.StringIO())


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch, Terminal())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (754, "12:34"), (4000, "66:40")]
)
def test_a_time_is_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_elsewhere_than_on_a_terminal_a_boot_has_a_line_at_its_start_and_one_at_its_end(plain: Watch) -> None:
    assert plain.boot(JOBS[0], 12.34) == (
        "[1/4] block 1 cycle none starts, 2:00 left\n[1/4] block 1 cycle none: ok, 12.3 s\n"
    )


def test_boots_are_counted(plain: Watch) -> None:
    for number, request in enumerate(JOBS, start=1):
        assert plain.boot(request, 30).count(f"[{number}/4]") == 2


def test_a_boot_that_is_not_ok_says_why(plain: Watch) -> None:
    text = plain.boot(JOBS[0], 5, "invalid", "mechanism not seen")
    assert text.endswith("[1/4] block 1 cycle none: invalid (mechanism not seen), 5.0 s\n")


def test_what_is_left_is_corrected_by_how_long_finished_boots_took(plain: Watch) -> None:
    assert plain.progress.left_s == 120
    plain.boot(JOBS[0], 60)  # twice the estimate
    assert plain.progress.left_s == 2 * 3 * 30
    plain.boot(JOBS[1], 30)
    assert plain.progress.left_s == pytest.approx(1.5 * 2 * 30)


def test_nothing_is_left_at_the_end(plain: Watch) -> None:
    for request in JOBS:
        plain.boot(request, 17)
    assert plain.progress.left_s == 0


def test_boots_of_an_earlier_run_are_done_and_cost_nothing(plain: Watch) -> None:
    plain.progress.skip([JOBS[0].boot, JOBS[1].boot, "of.another.run"])
    assert plain.progress.left_s == 60
    assert plain.boot(JOBS[2], 30).startswith("[3/4] block 2 cycle none starts, 1:00 left")


def test_a_second_try_is_named_and_keeps_the_number_of_its_boot(plain: Watch) -> None:
    plain.boot(JOBS[0], 30, "failed", "panic")
    text = plain.boot(job(NONE, attempt=2), 30)
    assert text.count("[1/4] block 1 cycle none, try 2") == 2
    assert plain.boot(JOBS[1], 30).startswith("[2/4]")


def test_on_a_terminal_one_line_changes(live: Watch) -> None:
    seen = Collected(JOBS[0])
    live.progress.boot_starts(JOBS[0])
    for item in (Samples([(0.1, "ram", "resident_bytes", 385.0 * MIB)]), good_boot(JOBS[0])[4]):
        seen.add(item)
        live.t += 10
        live.progress.boot_goes_on(JOBS[0], seen, item)
    live.progress.boot_ended(JOBS[0], {"status": "ok", "reason": ""})
    assert live.stream.getvalue().split("\r\x1b[K") == [
        "",
        "[1/4] block 1 cycle none: boot, 385 MiB resident, 1:50 left",
        "[1/4] block 1 cycle none: touch done, 385 MiB resident, 1:40 left",
        "[1/4] block 1 cycle none: ok, 20.0 s\n",
    ]


def test_elsewhere_than_on_a_terminal_nothing_is_said_in_between(plain: Watch) -> None:
    seen = Collected(JOBS[0])
    phase = good_boot(JOBS[0])[4]
    assert isinstance(phase, PhaseDone)
    plain.progress.boot_goes_on(JOBS[0], seen, phase)
    assert plain.stream.getvalue() == ""


def test_a_boot_that_takes_longer_than_all_that_was_left_leaves_nothing_rather_than_less(live: Watch) -> None:
    live.progress.boot_starts(JOBS[0])
    live.t += 1000
    live.progress.boot_goes_on(JOBS[0], Collected(JOBS[0]), Samples([]))
    assert live.stream.getvalue().endswith("0:00 left")
