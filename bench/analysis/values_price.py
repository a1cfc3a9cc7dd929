"""How the metrics of bench.wire.metrics_price are read from phases and curves. docs/metrics.md has the definitions."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.analysis.series import NO_CURVE, Curve
from bench.analysis.values import CPU, FAILED, NO_COUNTER, NOT_ASKED, How, Iteration, Missing, below_order, returned

ROUND_TRIP = "qmp.round_trip_s"


def _grown(curve: str, first: tuple[str, str], last: tuple[str, str]) -> Callable[[Iteration], float]:
    """Growth of a counter from one edge of a phase to another, each (phase, "start_s" or "end_s")."""

    def value(it: Iteration) -> float:
        found = it.curves.get(curve, NO_CURVE)
        before, after = (found.at(it.moment(*edge)) for edge in (first, last))
        if before is None or after is None:
            raise Missing(NO_COUNTER)
        return after - before

    return value


def _between_snapshots(key: str) -> Callable[[Iteration], float]:
    def value(it: Iteration) -> float:
        used = it.result("snapshot", key) - it.result("snapshot-before", key)
        if used < 0:
            raise Missing("CPU time ran backwards: a thread ended")
        return used / 1e9

    return value


def _main_cpu(it: Iteration) -> float:
    start, end = it.window()
    curve = it.curves.get(CPU[0], NO_CURVE)
    before, after = curve.at(start), curve.at(end)
    if before is None or after is None:
        raise Missing("no CPU sample of QEMU's main thread")
    return after - before


def _failed(it: Iteration) -> float:
    it.ram()  # without residency nothing was sampled
    seen = it.curves.get(FAILED, NO_CURVE)
    return float(len(seen.between(it.moment("free", "start_s"), it.moment("settle", "end_s"))))


def _round_trips(it: Iteration) -> Curve:
    curve = it.curves.get(ROUND_TRIP, NO_CURVE)
    if len(curve) == 0:
        raise Missing(NOT_ASKED)
    found = curve.between(it.moment("free", "start_s"), it.moment("settle", "end_s"))
    if len(found) == 0:
        raise Missing("no question to QEMU's monitor from the free to the end of the settle phase")
    return found


def _percpu_growth(it: Iteration) -> float:
    return it.result("snapshot", "percpu_bytes") - it.result("snapshot-before", "percpu_bytes")


def _unexplained(it: Iteration) -> float:
    return it.result("free", "bytes") - returned(it) - _below_order_growth(it) - _percpu_growth(it)


def _below_order_growth(it: Iteration) -> float:
    return below_order(it) - below_order(it, "snapshot-before")


PRICE: dict[str, How] = {
    "failed_discards": _failed,
    "guest_cpu_s": _between_snapshots("cpu_busy_ns"),
    "guest_kworker_cpu_s": _between_snapshots("kworker_ns"),
    "host_thp_splits": _grown("vmstat.thp_split_page", ("free", "start_s"), ("settle", "end_s")),
    "host_thp_faults": _grown("vmstat.thp_fault_alloc", ("touch", "start_s"), ("retouch", "end_s")),
    "qemu_main_cpu_s": _main_cpu,
    "qmp_round_trip_p50_s": lambda it: statistics.median(float(value) for value in _round_trips(it).v),
    "qmp_round_trip_max_s": lambda it: float(_round_trips(it).v.max()),
    "percpu_growth_bytes": _percpu_growth,
    "held_unexplained_bytes": _unexplained,
    "below_order_growth_bytes": _below_order_growth,
}
