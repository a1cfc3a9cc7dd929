"""The sampler: fixed deadlines, missed ticks counted, failures kept, unchanged values left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Optional

import pytest

from bench.host.readers import Triple
from bench.host.sampler import Sampler

HZ = 50.0


class Steady:
    """A reader that always gives the same."""

    def read(self) -> Iterator[Triple]:
        yield ("ram", "resident_bytes", 4096.0)
        yield ("ram", "swapped_bytes", 0.0)
        yield ("vmstat", "pswpin", 7.0)


class Simulated(threading.Event):
    """Seconds that pass only where somebody waits or works; as an event it is set at the end."""

    def __init__(self, end: float) -> None:
        super().__init__()
        self._now, self._end = 0.0, end

    def __call__(self) -> float:
        return self._now

    def is_set(self) -> bool:
        return self._now >= self._end

    def wait(self, timeout: Optional[float] = None) -> bool:
        # A nanosecond late, as everybody is: a deadline that is a sum of fractions would be just missed otherwise.
        self._now += (timeout or 0.0) + 1e-9
        return self.is_set()

    def run(self, sampler: Sampler) -> None:
        """From start to end in this thread: a busy machine changes nothing."""
        sampler._stop = self
        sampler._run()


class Slow:
    """A reader that takes its time on chosen reads (counted from 0)."""

    def __init__(self, seconds: float, reads: range, now: Simulated) -> None:
        self._seconds, self._reads, self._count, self._now = seconds, reads, 0, now

    def read(self) -> Iterator[Triple]:
        if self._count in self._reads:
            self._now.wait(self._seconds)
        self._count += 1
        yield ("ram", "resident_bytes", float(self._count))


class Failing:
    """A reader that fails on its third read."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self) -> Iterator[Triple]:
        self.reads += 1
        if self.reads == 3:
            raise FileNotFoundError("/proc/4242/status")
        yield ("ram", "resident_bytes", 1.0)


def stopwatch() -> Callable[[], float]:
    start = time.monotonic()
    return lambda: time.monotonic() - start


def run_for(sampler: Sampler, seconds: float) -> None:
    sampler.start()
    time.sleep(seconds)
    sampler.stop()


def test_ticks_keep_their_deadlines_although_each_takes_a_while() -> None:
    # 8 ms of work in every period of 20 ms: sleeping 20 ms after each tick would give 36 ticks, not 50.
    now = Simulated(1.0)
    sampler = Sampler([Slow(0.008, range(1000), now)], HZ, now)
    now.run(sampler)
    assert (sampler.stats.ticks, sampler.stats.missed) == (51, 0)
    times = [row[0] for row in sampler.take() if row[1] == "ram"]
    assert times == pytest.approx([tick / HZ for tick in range(51)], abs=1e-5)


def test_ticks_that_a_slow_reader_held_up_are_counted_as_missed_and_not_made_up_for() -> None:
    now = Simulated(0.8)
    sampler = Sampler([Slow(0.21, range(5, 6), now)], HZ, now)
    now.run(sampler)
    assert (sampler.stats.ticks, sampler.stats.missed) == (31, 10)
    times = [row[0] for row in sampler.take() if row[1] == "ram"]
    # Caught up ticks would stand closer to each other.
    assert min(b - a for a, b in zip(times, times[1:])) == pytest.approx(1 / HZ, abs=1e-5)


def test_a_tick_that_came_late_says_by_how_much() -> None:
    times = iter([0.0, 0.0, 0.0, 0.0, 0.015, 0.015, 0.015, 0.015])
    sampler = Sampler([Steady()], HZ, lambda: next(times, 0.035))
    sampler._tick(0.0)
    sampler._tick(0.015)
    late = [row for row in sampler.take() if row[2] == "late_s"]
    assert [row[3] for row in late] == [0.015]
    assert sampler.stats.worst_late_s == 0.015


def test_a_reader_that_fails_ends_the_sampler_and_its_error_is_kept() -> None:
    reader = Failing()
    now = Simulated(0.3)
    now.run(sampler := Sampler([Steady(), reader], HZ, now))
    assert sampler.stats.error == "FileNotFoundError: /proc/4242/status"
    assert reader.reads == 3
    assert sampler.stats.ticks == 2


def test_an_unchanged_value_is_not_repeated_but_residency_comes_with_every_tick() -> None:
    now = Simulated(0.3)
    now.run(sampler := Sampler([Steady()], HZ, now))
    names = [f"{row[1]}.{row[2]}" for row in sampler.take()]
    assert sampler.stats.ticks == 16
    assert names.count("ram.resident_bytes") == sampler.stats.ticks
    assert names.count("ram.swapped_bytes") == sampler.stats.ticks
    assert names.count("vmstat.pswpin") == 1


def test_a_value_that_comes_back_is_told_again() -> None:
    values = iter([1.0, 1.0, 2.0, 1.0])

    class Changing:
        def read(self) -> Iterator[Triple]:
            yield ("psi", "memory_some_us", next(values))

    sampler = Sampler([Changing()], HZ, lambda: 0.0)
    for _ in range(4):
        sampler._tick(0.0)
    assert [row[3] for row in sampler.take() if row[1] == "psi"] == [1.0, 2.0, 1.0]


def test_the_sampler_accounts_for_its_own_processor_time() -> None:
    sampler = Sampler([Steady()], HZ, stopwatch())
    run_for(sampler, 0.3)
    assert 0 < sampler.stats.cpu_s < sampler.stats.wall_s
    # Its thread may begin late, on a busy machine.
    assert sampler.stats.wall_s > 0.1
    assert any(row[1:3] == ("sampler", "cpu_s") for row in sampler.take())


def test_rows_are_handed_over_once() -> None:
    sampler = Sampler([Steady()], HZ, lambda: 1.0)
    sampler._tick(0.0)
    sampler.add([(0.5, "discard", "bytes", 4096.0)])
    rows = sampler.take()
    assert (0.5, "discard", "bytes", 4096.0) in rows
    assert (1.0, "ram", "resident_bytes", 4096.0) in rows
    assert sampler.take() == []


def test_the_latest_residency_is_that_of_the_last_tick() -> None:
    sampler = Sampler([Steady()], HZ, lambda: 2.5)
    assert sampler.latest_ram() is None
    sampler._tick(0.0)
    assert sampler.latest_ram() == (2.5, 4096.0)


def test_stopping_takes_one_last_sample_at_once() -> None:
    sampler = Sampler([Steady()], 0.1, stopwatch())
    sampler.start()
    time.sleep(0.1)
    before = time.monotonic()
    assert sampler.stop().ticks == 2
    assert time.monotonic() - before < 1.0


def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    sampler = Sampler([Steady()], HZ, stopwatch())
    sampler.stop()
    assert sampler.stats.ticks == 0
    sampler = Sampler([Steady()], HZ, stopwatch())
    sampler.start()
    sampler.stop()
    assert sampler.stop().ticks >= 1


def test_what_it_says_of_itself_is_plain_json() -> None:
    assert Sampler([], HZ, stopwatch()).stats.as_json() == {
        "hz": HZ,
        "ticks": 0,
        "missed": 0,
        "cpu_s": 0.0,
        "wall_s": 0.0,
        "worst_late_s": 0.0,
        "error": "",
    }
