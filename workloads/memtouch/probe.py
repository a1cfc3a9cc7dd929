"""The probe: fixed work or a copy in a process of its own, on a CPU of its own, and what it got done in each quantum.

The counting is probe.c's. Times are CLOCK_MONOTONIC, so what was counted can be laid beside what else the guest did:
`mark` begins a window, and the answer has each window by its name.
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import select
import signal
import time

from workloads.memtouch._memtouch import ffi, lib

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KINDS = ("work", "bandwidth")  # in the order of the enum in memtouch.h
QUANTILES = (("p1", 0.01), ("p50", 0.5), ("p99", 0.99))
# A point of the series stands for so long: some hundreds of points for what takes a minute.
SERIES_BIN_NS = 100_000_000
_HEAD_BYTES = 128
_READY_TIMEOUT_S, _END_TIMEOUT_S = 60.0, 10.0


class Probe:
    """A probe that counts, from here until `stop`. Use as a context where something may go wrong in between."""

    def __init__(self, kind: str, cpu: int, quantum_s: float, room_s: float, size_bytes: int = 64 << 20) -> None:
        """room_s: for so long there is room to count in. size_bytes: of the buffer of kind "bandwidth".

        Raises ValueError, OSError, TimeoutError.
        """
        if kind not in KINDS:
            raise ValueError(f"kind: {kind!r} is unknown: one of {', '.join(KINDS)}")
        if not 0 < quantum_s <= room_s:
            raise ValueError(f"quantum_s: {quantum_s} must be above 0 and at most room_s ({room_s})")
        self._kind, self._cpu, self._bytes = kind, cpu, size_bytes
        self._quantum_ns = max(1, round(quantum_s * 1e9))
        self._quanta = round(room_s * 1e9) // self._quantum_ns
        self._shared = mmap.mmap(-1, lib.mt_probe_board_bytes(self._quanta))  # zeroed, and shared with forks
        self._board = ffi.from_buffer(self._shared)
        self._marks: list[tuple[str, int]] = []
        self._pid = 0
        self._start()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def mark(self, name: str) -> int:
        """From now on, a window of this name; the time in ns."""
        now = time.monotonic_ns()
        self._marks.append((name, now))
        return now

    def stop(self, window_s: float = 0.0) -> dict[str, Any]:
        """Ends the probe. Windows are at most window_s long, unless that is 0. Raises ChildProcessError, OSError.

        -> kind, cpu, quantum_s, unit_bytes (copied by a unit of work; 0 where nothing is), full (there was no more
        room), windows (name: as `summary`), series (start_ns, bin_ns, mean and least units of a quantum in each bin).
        """
        # Before it may end: one that was killed would pass for one that was slow.
        ended = self._has_ended()
        end = time.monotonic_ns()
        lib.mt_probe_stop(self._board)
        deadline = end + round(_END_TIMEOUT_S * 1e9)
        while not self._has_ended() and time.monotonic_ns() < deadline:
            time.sleep(0.001)  # until the quanta before `end` are all written
        full = lib.mt_probe_done(self._board) >= self._quanta
        self.close()
        if ended and not full:
            raise ChildProcessError("the probe ended early (killed, or out of memory?)")
        start, units, longest = self._counted()
        marks = [*self._marks, ("", end)]
        spans = {
            name: (begin, min(after, begin + round(window_s * 1e9)) if window_s else after)
            for (name, begin), (_, after) in itertools.pairwise(marks)
        }
        return {
            "kind": self._kind,
            "cpu": self._cpu,
            "quantum_s": self._quantum_ns / 1e9,
            "unit_bytes": lib.mt_probe_unit_bytes(KINDS.index(self._kind)),
            "full": full,
            "windows": {name: summary(start, self._quantum_ns, units, longest, span) for name, span in spans.items()},
            "series": series(start, self._quantum_ns, units),
        }

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def close(self) -> None:
        """Makes sure that the process is gone."""
        if self._pid > 0:
            lib.mt_probe_stop(self._board)
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _start(self) -> None:
        ready, told = os.pipe()
        try:
            fields = (self._quantum_ns, self._quanta, self._bytes, KINDS.index(self._kind), self._cpu, told)
            self._pid = lib.mt_fork_probe(self._board, ffi.new("struct mt_probe *", fields))
            if self._pid < 0:
                raise OSError(-self._pid, f"fork of the probe: {os.strerror(-self._pid)}")
            if not select.select([ready], [], [], _READY_TIMEOUT_S)[0]:
                self.close()
                raise TimeoutError(f"the probe was not ready after {_READY_TIMEOUT_S:.0f} s")
        finally:
            os.close(ready)
            os.close(told)
        error = -lib.mt_probe_status(self._board)
        if error:
            self.close()
            raise OSError(error, f"probe on CPU {self._cpu}: {os.strerror(error)}")

    def _counted(self) -> tuple[int, list[int], list[int]]:
        """Start in ns, and of each quantum that is over its units and the time of the longest of them."""
        done = lib.mt_probe_done(self._board)
        records = memoryview(self._shared)[_HEAD_BYTES : _HEAD_BYTES + 16 * done].cast("Q")
        return lib.mt_probe_start_ns(self._board), records[0::2].tolist(), records[1::2].tolist()


def quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that so large a share of them does not exceed. ordered: ascending, not empty."""
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def summary(
    start_ns: int, quantum_ns: int, units: Sequence[int], longest_ns: Sequence[int], span: tuple[int, int]
) -> dict[str, Any]:
    """The quanta that lie in a span (ns) as a whole. quanta: how many; mean, p1, p50, p99, least, most: units of one.

    idle: quanta in which no unit began. longest_ns: the longest time that one unit took. None where there is no
    quantum. covered: whether there are quanta up to the span's end.
    """
    first = max(0, -((start_ns - span[0]) // quantum_ns))
    last = max(first, min(len(units), (span[1] - start_ns) // quantum_ns))
    inside = sorted(units[first:last])
    found: dict[str, Any] = {
        "start_ns": span[0],
        "end_ns": span[1],
        "quanta": len(inside),
        "covered": (span[1] - start_ns) // quantum_ns <= len(units),
        "idle": inside.count(0),
    }
    if not inside:
        return {**found, **dict.fromkeys(("mean", "least", "most", "longest_ns", *(name for name, _ in QUANTILES)))}
    return {
        **found,
        "mean": sum(inside) / len(inside),
        "least": inside[0],
        "most": inside[-1],
        "longest_ns": max(longest_ns[first:last]),
        **{name: quantile(inside, share) for name, share in QUANTILES},
    }


def series(start_ns: int, quantum_ns: int, units: Sequence[int]) -> dict[str, Any]:
    """Mean and least units of a quantum in bins of about SERIES_BIN_NS, from the start on."""
    step = max(1, SERIES_BIN_NS // quantum_ns)
    bins = [units[at : at + step] for at in range(0, len(units), step)]
    return {
        "start_ns": start_ns,
        "bin_ns": step * quantum_ns,
        "mean": [round(sum(part) / len(part), 1) for part in bins],
        "least": [min(part) for part in bins],
    }
