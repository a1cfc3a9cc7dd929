"""How each metric is read from one iteration's phases and the boot's curves. docs/metrics.md has the definitions.

A function here returns its value or raises Missing with the reason; `summary` turns that into None and a warning.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.analysis.series import NO_CURVE, Curve
from bench.wire.units import GIB, MIB

Boot = dict[str, Any]

RAM = "ram.resident_bytes"
DISCARD, FAILED = "discard.bytes", "discard.failed_bytes"
CPU = ("qemu.cpu_main_s", "qemu.cpu_vcpu_s", "qemu.cpu_other_s")
# Below this little came back; a time until half of it is a time of noise.
LEAST_RETURNED_BYTES, LEAST_RETURNED_SHARE = 8 * MIB, 0.05
PLATEAU_SHARE = 0.2
_QUANTILES = {"t50_s": 0.5, "t90_s": 0.9, "t99_s": 0.99}
_LATENCIES = {"p50_s": "p50_ns", "p99_s": "p99_ns", "p999_s": "p999_ns"}
LITTLE = "too little came back for a time"
_NO_ORDER = "reporting is not registered"
_NO_DISCARD = "nothing was discarded"
NO_POLICY = "no loop runs beside the guest"
NO_HOST_POLICY = "no loop of the host runs beside the guest"
NO_REPORTS = "the arm reports nothing"
NO_GIVE = "the host asks for no memory in this arm"
UNTRACED = "what a balloon takes is not traced: a line for every 4 KiB would slow it down"
NOT_ASKED = "the plan did not ask for it"
NO_COUNTER = "the host has no such counter"
NOT_CONVERGED = "the migration did not converge before its deadline"
UNSOUND = "the guest was not the same where it went: bytes and pages only"
ONE_DAY = "the boot has one day only, and nothing to grow from"
# Nothing having come back is a result (an arm without reporting), and so is a kernel without a reporting order.
EXPECTED = (
    LITTLE, _NO_ORDER, _NO_DISCARD, NO_POLICY, NO_HOST_POLICY, NO_REPORTS, NO_GIVE, UNTRACED, NOT_ASKED, NO_COUNTER,
    NOT_CONVERGED, UNSOUND, ONE_DAY,
)  # fmt: skip


class Missing(Exception):  # noqa: N818 - caught by `summary`; a missing value is nobody's error
    """A value cannot be had; the text says why."""


def number(value: Any) -> float | None:
    """A finite float, or None for everything else (null, text, NaN, inf, true)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class Iteration:
    """One iteration's phases by name (PhaseDone as objects), beside the boot's curves."""

    boot: Boot
    phases: dict[str, dict[str, Any]]
    curves: dict[str, Curve]

    def phase(self, name: str) -> dict[str, Any]:
        if name not in self.phases:
            raise Missing(f"phase {name} did not happen")
        return self.phases[name]

    def result(self, name: str, key: str) -> float:
        value = number(self.phase(name).get("result", {}).get(key))
        if value is None:
            raise Missing(f"phase {name} answered no {key}")
        return value

    def moment(self, phase: str, edge: str) -> float:
        value = number(self.phase(phase).get(edge))
        if value is None:
            raise Missing(f"phase {phase} has no {edge}")
        return value

    def ram(self) -> Curve:
        curve = self.curves.get(RAM, NO_CURVE)
        if len(curve) == 0:
            raise Missing(f"the series has no {RAM}")
        return curve

    def window(self) -> tuple[float, float]:
        """The plan's fixed window behind the free: the same length for every arm."""
        length = number(self.boot.get("window_s"))
        if length is None or length <= 0:
            raise Missing("the boot has no window_s")
        start = self.moment("free", "start_s")
        end = start + length
        if end <= start:  # a length lost in rounding
            raise Missing(f"the window of {length:g} s is too short to be told from none")
        if self.moment("settle", "end_s") < end:
            raise Missing(f"the settle phase ended before the window of {length:g} s was over")
        if not self.ram().covers(start, end):
            raise Missing(f"the series does not cover the window of {length:g} s")
        return start, end


def _peak(it: Iteration) -> float:
    during = it.ram().between(it.moment("touch", "start_s"), it.moment("free", "end_s"))
    if len(during) == 0:
        raise Missing("no sample from touch to free")
    return float(during.v.max())


def plateau(it: Iteration, phase: str = "settle") -> float:
    """Median residency of the last fifth of a settle phase."""
    start, end = it.moment(phase, "start_s"), it.moment(phase, "end_s")
    last = it.ram().between(end - PLATEAU_SHARE * (end - start), end)
    if len(last) == 0:
        raise Missing(f"no sample in the last fifth of the {phase} phase")
    return statistics.median(float(value) for value in last.v)


def mean_resident(it: Iteration, phase: str) -> float:
    """Residency over a phase: its area, divided by the length."""
    start, end = it.moment(phase, "start_s"), it.moment(phase, "end_s")
    area = it.ram().integral(start, end)
    if area is None or end <= start:
        raise Missing(f"the series does not cover phase {phase}")
    return area / (end - start)


def _before(it: Iteration) -> float:
    value = it.ram().at(it.moment("free", "start_s"))
    if value is None:
        raise Missing("no sample before the free")
    return value


def returned(it: Iteration) -> float:
    return _before(it) - plateau(it)


def _returned_share(it: Iteration) -> float:
    freed = it.result("free", "bytes")
    if freed <= 0:
        raise Missing("nothing was freed")
    return returned(it) / freed


def _time_to(share: float) -> Callable[[Iteration], float]:
    """Time of the first sample at which `share` of what came back had come back: late by at most one tick."""

    def value(it: Iteration) -> float:
        back, freed = returned(it), it.result("free", "bytes")
        if back < max(LEAST_RETURNED_BYTES, LEAST_RETURNED_SHARE * freed):
            raise Missing(LITTLE)
        start = it.moment("free", "start_s")
        after = it.ram().between(start, it.moment("settle", "end_s"))
        reached = after.t[after.v <= _before(it) - share * back]
        if len(reached) == 0:
            raise Missing("the level was not reached")
        return float(reached[0]) - start

    return value


def _footprint(it: Iteration) -> float:
    start, end = it.window()
    area = it.ram().integral(start, end)
    if area is None:
        raise Missing("the series does not cover the window")
    return area


def _footprint_share(it: Iteration) -> float:
    memory = number(it.boot.get("guest_memory_bytes"))
    if not memory:
        raise Missing("the boot has no guest_memory_bytes")
    start, end = it.window()
    return _footprint(it) / (memory * (end - start))


def seconds_per_gib(phase: str) -> Callable[[Iteration], float]:
    def value(it: Iteration) -> float:
        size = it.result(phase, "bytes")
        if size <= 0:
            raise Missing(f"phase {phase} handled no bytes")
        return it.result(phase, "ns") / 1e9 / (size / GIB)

    return value


def latency(phase: str, key: str) -> Callable[[Iteration], float]:
    return lambda it: it.result(phase, key) / 1e9


def discards(it: Iteration) -> Curve:
    """Discards from the start of the free to the end of the settle phase. Raises Missing without a sampled series."""
    it.ram()  # without residency nothing was sampled, and no discards would not mean none happened
    # A balloon's pages are too many to be told one by one, whoever asks for them.
    by_hand = it.phases.get("give", {}).get("result", {}).get("traced") is False
    if by_hand or it.boot.get("policy") == "balloon":
        raise Missing(UNTRACED)
    return it.curves.get(DISCARD, NO_CURVE).between(it.moment("free", "start_s"), it.moment("settle", "end_s"))


def _discarded(it: Iteration) -> float:
    return float(discards(it).v.sum())


def _cpu(it: Iteration) -> float:
    start, end = it.window()
    known = [it.curves[name] for name in CPU if name in it.curves]
    before = [curve.at(start) for curve in known]
    if all(value is None for value in before):
        raise Missing("no CPU sample before the free")
    # A kind of thread that appears later had used nothing before.
    total = sum((curve.at(end) or 0.0) - (value or 0.0) for curve, value in zip(known, before, strict=True))
    if total < 0:
        raise Missing("CPU time ran backwards: a thread ended")
    return total


def below_order(it: Iteration, phase: str = "snapshot") -> float:
    if it.phase(phase).get("result", {}).get("below_order_bytes") is None:
        raise Missing(_NO_ORDER)
    return it.result(phase, "below_order_bytes")


def _discard_mean(it: Iteration) -> float:
    found = discards(it)
    if len(found) == 0:
        raise Missing(_NO_DISCARD)
    return float(found.v.mean())


def _ready(it: Iteration) -> float:
    value = number(it.boot.get("ready_s"))
    if value is None:
        raise Missing("the guest never said READY")
    return value


# The value of one iteration; raises Missing.
How = Callable[[Iteration], float]
CYCLE: dict[str, How] = {
    "resident_peak_bytes": _peak,
    "residual_bytes": plateau,
    "returned_bytes": returned,
    "returned_share": _returned_share,
    **{name: _time_to(share) for name, share in _QUANTILES.items()},
    "footprint_byte_s": _footprint,
    "footprint_guest_share": _footprint_share,
    "first_touch_s_per_gib": seconds_per_gib("touch"),
    **{f"first_touch_{name}": latency("touch", key) for name, key in _LATENCIES.items()},
    "refault_s_per_gib": seconds_per_gib("retouch"),
    **{f"refault_{name}": latency("retouch", key) for name, key in _LATENCIES.items()},
    "free_s_per_gib": seconds_per_gib("free"),
    "discarded_bytes": _discarded,
    "discards": lambda it: float(len(discards(it))),
    "discard_gap_bytes": lambda it: _discarded(it) - returned(it),
    "qemu_cpu_s": _cpu,
    "stuck_free_bytes": below_order,
    "held_free_bytes": lambda it: it.result("free", "bytes") - returned(it),
    "discard_mean_bytes": _discard_mean,
}
# Of every workload.
COMMON: dict[str, How] = {"ready_s": _ready}
