"""One boot's phases and series, turned into one value a metric and iteration.

Nothing raises for missing data: a value that cannot be had is None, and a Doubt says why.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis.doubts import Doubt
from bench.analysis.kinds import how, workload_of
from bench.analysis.series import curves
from bench.analysis.values import EXPECTED, Boot, How, Iteration, Missing, number
from bench.wire.metrics import METRICS, metrics_of

Values = dict[str, list[float | None]]
# Facts of the boot, not of an iteration: the first touch happens once, before any warm-up could warm anything.
ONCE = tuple(metric.name for metric in METRICS.values() if metric.once)


@dataclass(frozen=True)
class Summary:
    """One boot. values, warmups: every metric of its workload, an entry per counted (or warm-up) iteration, None if
    not had.

    Once-per-boot metrics (ONCE) stand first in `values` even when iteration 0 is a warm-up, and are None elsewhere.
    """

    values: Values
    warmups: Values
    doubts: tuple[Doubt, ...]


def summarise(boot: Boot, series: pd.DataFrame) -> Summary:
    """Every metric of its workload for each iteration of a boot line. Never raises for missing data."""
    workload = workload_of(boot)
    ways = {metric.name: how(workload, metric.name) for metric in metrics_of(workload)}
    lines = curves(series)
    reasons: dict[tuple[str, str], list[str]] = {}
    values: Values = {name: [] for name in ways}
    warmups: Values = {name: [] for name in ways}
    iterations = phases_by_iteration(boot)
    for index, phases in sorted(iterations.items()):
        iteration = Iteration(boot, phases, lines)
        target = warmups if is_warmup(phases) else values
        for name, way in ways.items():
            value = None if name in ONCE else _value(name, way, iteration, f"iteration {index}", reasons)
            target[name].append(value)
    first = Iteration(boot, iterations.get(0, {}), lines)
    for name in ONCE:
        if values.get(name):
            values[name][0] = _value(name, ways[name], first, "this boot", reasons)
    doubts = [Doubt("not-measured", f"{where}: {why} ({', '.join(lost)})") for (where, why), lost in reasons.items()]
    if not any(values.values()):
        doubts.append(Doubt("no-iteration", "the boot has no counted iteration"))
    return Summary(values, warmups, tuple(doubts))


def boot_value(values: Sequence[float | None]) -> float | None:
    """Summary of one boot: median of the iterations that have a value; None if none has."""
    known = [value for value in (number(item) for item in values) if value is not None]
    return statistics.median(known) if known else None


def phases_by_iteration(boot: Boot) -> dict[int, dict[str, dict[str, Any]]]:
    """Iteration -> phase name -> PhaseDone as an object."""
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for phase in boot.get("phases") or []:
        found.setdefault(int(phase.get("iteration", 0)), {})[str(phase.get("name"))] = phase
    return found


def is_warmup(phases: dict[str, dict[str, Any]]) -> bool:
    """Whether an iteration is one of the declared warm-ups (the once-only phases of iteration 0 never say so)."""
    return any(phase.get("warmup") for phase in phases.values())


def _value(
    name: str, way: How, iteration: Iteration, where: str, reasons: dict[tuple[str, str], list[str]]
) -> float | None:
    try:
        value = number(way(iteration))
    except Missing as missing:
        reason = str(missing)
    else:
        if value is not None:
            return value
        reason = "the value is not finite"
    if reason not in EXPECTED:
        reasons.setdefault((where, reason), []).append(name)
    return None
