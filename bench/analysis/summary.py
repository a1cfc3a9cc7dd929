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
from bench.analysis.series import curves
from bench.analysis.values import EXPECTED, HOW, Boot, Iteration, Missing, number
from bench.wire.metrics import METRICS

Values = dict[str, list[float | None]]
# Facts of the boot, not of an iteration: the first touch happens once, before any warm-up could warm anything.
ONCE = tuple(name for name in METRICS if name == "ready_s" or name.startswith("first_touch_"))


@dataclass(frozen=True)
class Summary:
    """One boot. values, warmups: every name of METRICS, one entry per counted (or warm-up) iteration, None if not had.

    Once-per-boot metrics (ONCE) stand first in `values` even when iteration 0 is a warm-up, and are None elsewhere.
    """

    values: Values
    warmups: Values
    doubts: tuple[Doubt, ...]


def summarise(boot: Boot, series: pd.DataFrame) -> Summary:
    """Every metric of METRICS for each iteration of a boot line (docs/metrics.md). Never raises for missing data."""
    lines = curves(series)
    reasons: dict[tuple[str, str], list[str]] = {}
    values: Values = {name: [] for name in METRICS}
    warmups: Values = {name: [] for name in METRICS}
    iterations = phases_by_iteration(boot)
    for index, phases in sorted(iterations.items()):
        iteration = Iteration(boot, phases, lines)
        target = warmups if is_warmup(phases) else values
        for name in METRICS:
            target[name].append(None if name in ONCE else _value(name, iteration, f"iteration {index}", reasons))
    first = Iteration(boot, iterations.get(0, {}), lines)
    for name in ONCE:
        if values[name]:
            values[name][0] = _value(name, first, "this boot", reasons)
    doubts = [Doubt("not-measured", f"{where}: {why} ({', '.join(names)})") for (where, why), names in reasons.items()]
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
