"""The sampler: a thread that reads the host's counters at fixed deadlines and never stops quietly.

Tick n is due at start + n/hz; a tick that could not begin before the next one was due is missed and counted, never made
up for. The sampler's own CPU seconds are part of the series. An exception in a reader is kept, and voids the boot.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.host.readers import Reader
from bench.wire.record import Row


@dataclass
class SamplerStats:
    """What the sampler says of itself at the end."""

    hz: float
    ticks: int = 0
    missed: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    worst_late_s: float = 0.0
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


class Sampler:
    """Rows of all readers at `hz`; `take()` hands over what has come since the last call.

    clock: seconds of the boot's time base. A value that did not change is not repeated, except those of `ram`.
    """

    def __init__(self, readers: Sequence[Reader], hz: float, clock: Callable[[], float]) -> None:
        self._readers = list(readers)
        self._clock = clock
        self._period = 1.0 / hz
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._last: dict[tuple[str, str], float] = {}
        self._ram: dict[str, tuple[float, float]] = {}
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.stats = SamplerStats(hz)

    def start(self) -> None:
        """Begins; harmless when it has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def join(self, readers: Sequence[Reader]) -> None:
        """More readers, from the next tick on."""
        self._readers = [*self._readers, *readers]

    def stop(self) -> SamplerStats:
        """Ends the thread and answers with what it says of itself."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        return self.stats

    def take(self) -> list[Row]:
        """The rows since the last call."""
        with self._lock:
            rows, self._rows = self._rows, []
        return rows

    def add(self, rows: Sequence[Row]) -> None:
        """Rows from elsewhere (the discard trace), to travel with the sampler's."""
        with self._lock:
            self._rows.extend(rows)

    def latest_ram(self, source: str = "ram") -> tuple[float, float] | None:
        """(t, resident bytes) of the last tick; None before the first."""
        return self._ram.get(source)

    def _run(self) -> None:
        begin = self._clock()
        try:
            self._loop(begin)
        except Exception as error:  # noqa: BLE001 - whatever it is, it voids the boot and must not vanish in a thread
            self.stats.error = f"{type(error).__name__}: {error}"
        self.stats.wall_s = self._clock() - begin
        self.stats.cpu_s = time.thread_time()

    def _loop(self, begin: float) -> None:
        due = 0
        while not self._stop.is_set():
            late = self._clock() - (begin + due * self._period)
            self._tick(max(0.0, late))
            done = int((self._clock() - begin) / self._period)
            self.stats.missed += max(0, done - due)
            due = max(due, done) + 1
            self._stop.wait(max(0.0, begin + due * self._period - self._clock()))
        self._tick(0.0)

    def _tick(self, late: float) -> None:
        now = self._clock()
        rows = [row for row in self._collect(now) if self._is_news(row)]
        if late > self._period / 2:
            rows.append((now, "sampler", "late_s", round(late, 6)))
        with self._lock:
            self._rows.extend(rows)
        self.stats.ticks += 1
        self.stats.worst_late_s = max(self.stats.worst_late_s, late)

    def _collect(self, now: float) -> Iterator[Row]:
        now = round(now, 6)
        for reader in self._readers:
            for source, name, value in reader.read():
                if name == "resident_bytes":
                    self._ram[source] = (now, value)
                yield (now, source, name, value)
        yield (now, "sampler", "cpu_s", round(time.thread_time(), 4))

    def _is_news(self, row: Row) -> bool:
        _, source, name, value = row
        changed = self._last.get((source, name)) != value
        self._last[source, name] = value
        return changed or source.partition(".")[0] == "ram"
