"""One boot's phases and series, turned into one value a metric and iteration.

Nothing raises for missing data: a value that cannot be had is None, and a Doubt says why.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.analysis import values_cost
from bench.analysis.doubts import Doubt
from bench.analysis.series import curves
from bench.analysis.values import EXPECTED, Boot, Iteration, Missing, number
from bench.analysis.values import HOW as CYCLE_HOW
from bench.wire.metrics import METRICS, metrics_of

Values = dict[str, list[float | None]]
HOW = {**CYCLE_HOW, **values_cost.HOW}
# Facts of the boot, not of an iteration: the first touch happens once, before any warm-up could warm anything.
ONCE = tuple(
    name for name in METRICS if name in ("ready_s", "filled_resident_bytes") or name.startswith("first_touch_")
)
# Of boots from before there were other workloads.
DEFAULT_WORKLOAD = "cycle"


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
    names = [metric.name for metric in metrics_of(workload_of(boot))]
    lines = curves(series)
    reasons: dict[tuple[str, str], list[str]] = {}
    values: Values = {name: [] for name in names}
    warmups: Values = {name: [] for name in names}
    iterations = phases_by_iteration(boot)
    for index, phases in sorted(iterations.items()):
        iteration = Iteration(boot, phases, lines)
        target = warmups if is_warmup(phases) else values
        for name in names:
            target[name].append(None if name in ONCE else _value(name, iteration, f"iteration {index}", reasons))
    first = Iteration(boot, iterations.get(0, {}), lines)
    for name in ONCE:
        if values.get(name):
            values[name][0] = _value(name, first, "this boot", reasons)
    doubts = [Doubt("not-measured", f"{where}: {why} ({', '.join(lost)})") for (where, why), lost in reasons.items()]
    if not any(values.values()):
        doubts.append(Doubt("no-iteration", "the boot has no counted iteration"))
    return Summary(values, warmups, tuple(doubts))


def workload_of(boot: Boot) -> str:
    """The workload of a boot line."""
    return str(boot.get("workload") or DEFAULT_WORKLOAD)


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


def _value(name: str, iteration: Iteration, where: str, reasons: dict[tuple[str, str], list[str]]) -> float | None:
    try:
        value = number(HOW[name](iteration))
    except Missing as missing:
        reason = str(missing)
    else:
        if value is not None:
            return value
        reason = "the value is not finite"
    if reason not in EXPECTED:
        reasons.setdefault((where, reason), []).append(name)
    return None
