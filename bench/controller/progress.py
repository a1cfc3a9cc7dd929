"""What a person sees while a run goes on: one changing line on a terminal, one line a boot elsewhere. On stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from bench.controller.collect import Collected
from bench.wire.job import Job
from bench.wire.record import PhaseDone, Record
from bench.wire.units import show_bytes

_CLEAR = "\r\x1b[K"


def clock(seconds: float) -> str:
    """m:ss"""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class LineProgress:
    """Counts boots, knows what is left, and corrects the estimate by how long the finished ones took."""

    def __init__(self, jobs: Sequence[Job], estimate_s: Callable[[Job], float], stream: TextIO) -> None:
        self._left = {job.boot: estimate_s(job) for job in jobs}
        self._numbers = {(job.block, job.cell, job.arm.name): number for number, job in enumerate(jobs, 1)}
        self._stream = stream
        self._live = stream.isatty()
        self._begin = 0.0
        self._spent, self._expected = 0.0, 0.0

    @property
    def left_s(self) -> float:
        """Seconds that the boots not yet ended will take."""
        pace = self._spent / self._expected if self._expected else 1.0
        return pace * sum(self._left.values())

    def skip(self, boots: Sequence[str]) -> None:
        """Boots that an earlier run has finished."""
        for boot in boots:
            self._left.pop(boot, None)

    def boot_starts(self, job: Job) -> None:
        self._begin = time.monotonic()
        if not self._live:
            self._write(f"{self._where(job)} starts, {clock(self.left_s)} left\n")

    def boot_goes_on(self, job: Job, seen: Collected, record: Record) -> None:
        if not self._live:
            return
        phase = seen.phases[-1]["name"] if seen.phases else "boot"
        after = " done" if isinstance(record, PhaseDone) else ""
        resident = seen.resident_bytes
        held = f", {show_bytes(resident)} resident" if resident is not None else ""
        left = max(0.0, self.left_s - (time.monotonic() - self._begin))
        self._write(f"{_CLEAR}{self._where(job)}: {phase}{after}{held}, {clock(left)} left")

    def boot_ended(self, job: Job, line: Mapping[str, Any]) -> None:
        took = time.monotonic() - self._begin
        expected = self._left.pop(job.boot, 0.0)
        if expected:
            self._spent, self._expected = self._spent + took, self._expected + expected
        why = f" ({line['reason']})" if line["reason"] else ""
        self._write(f"{_CLEAR if self._live else ''}{self._where(job)}: {line['status']}{why}, {took:.1f} s\n")

    def _where(self, job: Job) -> str:
        again = f", try {job.attempt}" if job.attempt > 1 else ""
        number = self._numbers[job.block, job.cell, job.arm.name]
        return f"[{number}/{len(self._numbers)}] block {job.block} {job.cell} {job.arm.name}{again}"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
