"""Questions to the monitor: at their deadlines, timed, and never silently given up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from bench.host.prober import probing


class Monitor:
    """Answers after `delay_s`; the question number `fails` raises."""

    def __init__(self, delay_s: float = 0.0, fails: int = 0) -> None:
        self._delay_s, self._fails, self.asked = delay_s, fails, 0

    async def call(self, command: str) -> None:
        assert command == "query-status"
        self.asked += 1
        await asyncio.sleep(self._delay_s)
        if self.asked == self._fails:
            raise ConnectionError("the monitor is gone")


def probe(monitor: Monitor, hz: float, seconds: float) -> list[Any]:
    rows: list[Any] = []

    async def run() -> None:
        async with probing(monitor, hz, time.monotonic, rows.extend):  # type: ignore[arg-type]
            await asyncio.sleep(seconds)

    asyncio.run(run())
    return rows


def test_each_answer_is_a_row_with_its_round_trip() -> None:
    rows = probe(Monitor(0.01), 50, 0.5)
    assert len(rows) >= 5
    assert all((source, name) == ("qmp", "round_trip_s") and value >= 0.01 for _, source, name, value in rows)


def test_a_slow_answer_is_not_made_up_for() -> None:
    monitor = Monitor(0.1)
    probe(monitor, 100, 0.5)
    assert monitor.asked <= 6


def test_without_a_rate_nothing_is_asked() -> None:
    monitor = Monitor()
    assert probe(monitor, 0, 0.05) == []
    assert monitor.asked == 0


def test_a_monitor_that_ends_ends_the_boot_too() -> None:
    with pytest.raises(ConnectionError):
        probe(Monitor(fails=2), 50, 0.3)
