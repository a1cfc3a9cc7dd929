"""How the metrics of `storm` are read: of the hostile guest (the first), and of its neighbour. docs/metrics.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.analysis.members import each_guest
from bench.analysis.series import NO_CURVE, Curve
from bench.analysis.values import CPU, DISCARD, NOT_ASKED, RAM, UNTRACED, How, Iteration, Missing
from bench.analysis.values_jitter import figure, share_of_before, window_of
from bench.analysis.values_price import ROUND_TRIP

# A percentile of fewer questions would be one of them.
LEAST_QUESTIONS = 100


def _hostile(it: Iteration) -> Iteration:
    return each_guest(it)[0]


def _neighbour(it: Iteration) -> Iteration:
    guests = each_guest(it)
    if len(guests) < 2:
        raise Missing("the neighbour was not started")
    return guests[1]


def _storm(it: Iteration) -> tuple[Iteration, float, float]:
    """The hostile guest, and the storm from its begin to its end in seconds."""
    mine = _hostile(it)
    start, end = mine.moment("storm", "start_s"), mine.moment("storm", "end_s")
    if end <= start:
        raise Missing("the storm has no length")
    return mine, start, end


def _cpu(names: tuple[str, ...]) -> How:
    def value(it: Iteration) -> float:
        mine, start, end = _storm(it)
        known = [mine.curves[name] for name in names if name in mine.curves]
        grown = [_grown(curve, start, end) for curve in known]
        if not grown:
            raise Missing("no CPU time of the hostile guest's QEMU was sampled")
        return sum(grown) / (end - start)

    return value


def _grown(curve: Curve, start: float, end: float) -> float:
    # A kind of thread that appears later had used nothing before.
    grown = (curve.at(end) or 0.0) - (curve.at(start) or 0.0)
    if grown < 0:
        raise Missing("CPU time ran backwards: a thread ended")
    return grown


def _discarded(it: Iteration) -> float:
    mine, start, end = _storm(it)
    if it.boot.get("policy") == "balloon":
        raise Missing(UNTRACED)
    if len(mine.curves.get(RAM, NO_CURVE)) == 0:
        raise Missing(f"the series has no {RAM}")
    return float(mine.curves.get(DISCARD, NO_CURVE).between(start, end).v.sum()) / (end - start)


def _cycled(it: Iteration) -> float:
    mine, _, _ = _storm(it)
    spent_s = mine.result("storm", "ns") / 1e9
    if spent_s <= 0:
        raise Missing("the storm has no length")
    return mine.result("storm", "bytes") / spent_s


def _questions(it: Iteration) -> Any:
    mine, start, end = _storm(it)
    curve = mine.curves.get(ROUND_TRIP, NO_CURVE)
    if len(curve) == 0:
        raise Missing(NOT_ASKED)
    found = curve.between(start, end)
    if len(found) < LEAST_QUESTIONS:
        raise Missing(f"{len(found)} questions to QEMU's monitor in the storm; {LEAST_QUESTIONS} are needed")
    return found.v


STORM: dict[str, How] = {
    "neighbour_work_share": lambda it: share_of_before("after", "mean", "mean")(_neighbour(it)),
    "neighbour_p1_share": lambda it: share_of_before("after", "p1", "p50")(_neighbour(it)),
    "neighbour_longest_s": lambda it: figure(window_of(_neighbour(it), "after"), "longest_ns") / 1e9,
    "storm_qmp_p99_s": lambda it: float(np.quantile(_questions(it), 0.99)),
    "storm_qmp_max_s": lambda it: float(_questions(it).max()),
    "storm_main_cpu_share": _cpu(tuple(name for name in CPU if "vcpu" not in name)),
    "storm_cpu_share": _cpu(CPU),
    "storm_discarded_bytes_per_s": _discarded,
    "storm_cycled_bytes_per_s": _cycled,
}
