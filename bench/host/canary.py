"""Canary guests: does one become ready under this accelerator, and is what it frees really discarded?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import LabError
from bench.host.kvm import CANARY_DEADLINE_S
from bench.wire.job import Arm, Guest, Job, Paths, Phase
from bench.wire.record import End, PhaseDone, Ready, Record, Samples
from bench.wire.units import MIB

# Runs one job and gives its records to a callable; True when every phase was run.
Boot = Callable[[Job, Callable[[Record], None]], bool]

GUEST_BYTES = 256 * MIB
TOUCH_BYTES = 64 * MIB
TCG_READY_S = 90.0
# The plateau's window is longer than the guest's reporting delay of 2 s.
_SETTLE = {"min_s": 4.5, "max_s": 20.0, "window_s": 4.5, "tolerance_bytes": 2 * MIB}


@dataclass(frozen=True)
class Canary:
    """What a canary guest with reporting showed: bytes that QEMU discarded after a free, and how long that took.

    problem: why it failed, "" when it did not; evidence: QEMU's and the console's last lines then.
    """

    discarded_bytes: int
    seconds: float
    problem: str = ""
    evidence: tuple[str, ...] = ()


def seconds_to_ready(accel: str, paths: Paths, boot: Boot) -> float:
    """Boots a canary. Raises LabError with QEMU's and the console's last lines when it did not become ready."""
    records: list[Record] = []
    boot(canary(accel, paths, ()), records.append)
    for record in records:
        if isinstance(record, Ready):
            return record.ready_s
    end = _end(records)
    raise LabError("", end.reason, evidence=end.evidence)


def discards(accel: str, paths: Paths, boot: Boot) -> Canary:
    """Boots a canary with reporting, touches and frees memory in it, and counts what QEMU discarded from then on.

    What is reported before the free is not counted: a fresh guest reports its untouched memory by itself.
    """
    region = {"region": "work"}
    size = {"bytes": TOUCH_BYTES, "mapping": "anonymous", "thp": "system"}
    phases = (
        Phase("drain", "settle", 0, args=_SETTLE),
        Phase("map", "guest", 0, "map", {**region, **size}),
        Phase("touch", "guest", 0, "touch", {**region, "mode": "write", "histogram": False}),
        Phase("free", "guest", 0, "release", {**region, "how": "munmap", "every": 1, "block_bytes": 0}),
        Phase("settle", "settle", 0, args=_SETTLE),
    )
    records: list[Record] = []
    boot(canary(accel, paths, phases), records.append)
    freed = next((r.start_s for r in records if isinstance(r, PhaseDone) and r.name == "free"), None)
    end = _end(records)
    if freed is None:
        return Canary(0, 0.0, end.reason, tuple(end.evidence))
    rows = [row for record in records if isinstance(record, Samples) for row in record.rows]
    seen = [(t, value) for t, source, name, value in rows if (source, name) == ("discard", "bytes") and t >= freed]
    last = max((t for t, _ in seen), default=freed)
    return Canary(int(sum(value for _, value in seen)), last - freed, end.reason, tuple(end.evidence))


def canary(accel: str, paths: Paths, phases: tuple[Phase, ...]) -> Job:
    """A small guest with reporting."""
    ready = CANARY_DEADLINE_S if accel == "kvm" else TCG_READY_S
    arm = Arm("reporting", balloon=True, reporting=True)
    guest = Guest(GUEST_BYTES, 1, accel)
    return Job("local", "canary", arm, 0, 0, guest, paths, phases, ready_deadline_s=ready, deadline_s=ready + 60)


def _end(records: list[Record]) -> End:
    return next(record for record in records if isinstance(record, End))
