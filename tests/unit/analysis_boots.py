"""A tiny builder of synthetic boots, series and runs with known answers, for the tests of bench.analysis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings

from bench.analysis.series import frame
from bench.wire.metrics import Metric, metrics_of
from bench.wire.record import Row
from bench.wire.units import GIB, MIB

# A shared machine may be slow at any moment; time is not what these tests are about.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
REPORTING = "010001" + "0" * 58
IDLE = "010000" + "0" * 58
TICK_S = 0.05
WINDOW_S = 10.0
FREED = 512 * MIB
HELD, LEFT = 700 * MIB, 200 * MIB  # residency before the free, and at the plateau
# One iteration, in s since its start: touch 0 to 2, free at 5, settle 5.5 to 25.5, retouch after it.
TOUCH, FREE, SETTLE, SETTLE_END, LENGTH = 0.0, 5.0, 5.5, 25.5, 30.0
# What came back, as a share, from so many seconds after the start of the free on: three bursts.
BURSTS = ((2.0, 0.4), (4.0, 0.4), (6.0, 0.2))


def phase(name: str, start_s: float, end_s: float, iteration: int = 0, **more: Any) -> dict[str, Any]:
    done = {"name": name, "kind": "guest", "iteration": iteration, "warmup": False, "start_s": start_s, "end_s": end_s}
    return {**done, "result": {}, "guest_start_ns": None, "guest_end_ns": None, "smaps": {}, **more}


def used(stuck_mib: int, busy_ns: int, worker_ns: int) -> dict[str, int]:
    """A snapshot's answer."""
    return {
        "below_order_bytes": stuck_mib * MIB,
        "cpu_busy_ns": busy_ns,
        "kworker_ns": worker_ns,
        "percpu_bytes": stuck_mib // 2 * MIB,
    }


def iteration_phases(index: int, origin_s: float, warmup: bool = False) -> list[dict[str, Any]]:
    """The phases of one iteration of `cycle`: 512 MiB touched in 2 s, freed in 0.5 s, touched again in 4 s."""
    touched = {"ns": 2 * 10**9, "bytes": FREED, "p50_ns": 1000, "p99_ns": 9000, "p999_ns": 20000}
    again = {"ns": 4 * 10**9, "bytes": FREED, "p50_ns": 2000, "p99_ns": 18000, "p999_ns": 40000}
    steps: list[tuple[str, float, float, dict[str, Any]]] = [
        ("touch", TOUCH, 2.0, touched),
        ("hold", 2.0, 4.0, {}),
        ("verify", 4.0, 4.5, {"bad_pages": 0, "first_bad": None}),
        ("snapshot-before", 4.5, 4.6, used(1, 10**9, 10**8)),
        ("free", FREE, SETTLE, {"ns": 5 * 10**8, "bytes": FREED}),
        ("settle", SETTLE, SETTLE_END, {"settled": True}),
        (
            "snapshot",
            SETTLE_END,
            25.6,
            used(3, 3 * 10**9, 4 * 10**8),
        ),
        ("retouch", 26.0, 28.0, again),
        ("reverify", 28.0, 28.2, {"bad_pages": 0, "first_bad": None}),
    ]
    return [phase(n, origin_s + a, origin_s + b, index, warmup=warmup, result=result) for n, a, b, result in steps]


def boot(iterations: int = 1, warmups: int = 0, reporting: bool = True, **more: Any) -> dict[str, Any]:
    """A boot line as the host side leaves it: nothing is wrong with it."""
    phases = [p for i in range(iterations) for p in iteration_phases(i, 10 + i * LENGTH, i < warmups)]
    line = {
        "boot": "local.cycle.b001.x",
        "host": "local",
        "cell": "cycle",
        "arm": "reporting" if reporting else "none",
        "block": 1,
        "order": 0,
        "attempt": 1,
        "status": "ok",
        "reason": "",
        "evidence": [],
        "accel": "tcg",
        "guest_memory_bytes": GIB,
        "window_s": WINDOW_S,
        "guest": {"balloon_features": REPORTING if reporting else None, "page_reporting_order": 9 if reporting else 11},
        "ready_s": 2.5,
        "phases": phases,
        "sampler": {"hz": 20, "ticks": 1000, "missed": 0, "cpu_s": 0.1, "wall_s": 50.0, "error": ""},
        "clock": {"offset_s": 1.0, "error_s": 0.001},
        "must_discard": reporting,
    }
    return {**line, **more}


def residency(t: float, iterations: int = 1, reporting: bool = True) -> float:
    """The synthetic guest's resident bytes at t."""
    if t < 10:
        return float(LEFT)
    since = t - 10 - min(int((t - 10) // LENGTH), iterations - 1) * LENGTH
    if since < FREE or not reporting:
        return float(HELD)
    # A tick at the very moment of a burst sees it: the half tick keeps rounding of t out of the test.
    back = sum(share for after, share in BURSTS if since + TICK_S / 2 >= FREE + after)
    return HELD - back * (HELD - LEFT)


def rows(iterations: int = 1, reporting: bool = True, keep: Callable[[Row], bool] = bool) -> pd.DataFrame:
    """The series of that boot at 20 Hz: residency, CPU (0.1 per second, main thread), and a discard a burst."""
    ticks = np.arange(0, 10 + iterations * LENGTH + 2, TICK_S)
    found: list[Row] = [(float(t), "ram", "resident_bytes", residency(t, iterations, reporting)) for t in ticks]
    found += [(float(t), "qemu", "cpu_main_s", 0.1 * float(t)) for t in ticks]
    found += [(0.0, "qemu", "cpu_vcpu_s", 1.0), (0.0, "qemu", "cpu_other_s", 0.0)]
    # Of the first iteration: 200 huge pages given at its first touch, 7 split while it settles; 3 questions by then.
    found += [(0.0, "vmstat", name, 5.0) for name in ("thp_fault_alloc", "thp_split_page")]
    found += [(11.0, "vmstat", "thp_fault_alloc", 205.0), (20.0, "vmstat", "thp_split_page", 12.0)]
    found += [
        (t, "qmp", "round_trip_s", seconds) for t, seconds in ((14.0, 9.0), (17.0, 0.001), (18.0, 0.5), (19.0, 0.002))
    ]
    if reporting:
        found += [(3.0, "discard", "bytes", 64.0 * MIB)]  # a report of the boot, before any phase
        for index in range(iterations):
            start = 10 + index * LENGTH + FREE
            found += [(start + after, "discard", "bytes", share * (HELD - LEFT)) for after, share in BURSTS]
    return frame(row for row in found if keep(row))


def metric(kind: str = "ratio", direction: str = "lower", resolution: float = 0.0, unit: str = "byte") -> Metric:
    return Metric("some", "Some metric", unit, direction, kind, "for a test", resolution=resolution)


def measured(arm: str, block: int, values: dict[str, Sequence[float | None]], **more: Any) -> dict[str, Any]:
    """A boot line with given values, as analyse() reads it: all other metrics have no value."""
    order = more.pop("order", 0)
    line = boot(reporting=arm == "reporting", phases=[], arm=arm, block=block, order=order)
    every: dict[str, list[float | None]] = {metric.name: [None] for metric in metrics_of("cycle")}
    line |= {"boot": f"local.cycle.b{block:03d}.{arm}", "values": every | {k: list(v) for k, v in values.items()}}
    return {**line, **more}


def run(blocks: int = 3, arms: Sequence[str] = ("none", "reporting"), **more: Any) -> dict[str, Any]:
    plan = {"schema": 1, "plan": "quick", "accel": "tcg", "reference": arms[0], "arms": list(arms), "blocks": blocks}
    return {**plan, "min_blocks": 3, "metrics": {"residual_bytes": {"margin": 0.05}}, **more}
