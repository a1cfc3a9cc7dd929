"""Whether a metric depends on something that should not matter: the place inside the block, and the time of the run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.blocks import Cell, Key, Run, by_block, cells, chosen
from bench.analysis.doubts import depends_on
from bench.analysis.values import Boot
from bench.wire.metrics import METRICS, Metric

Good = dict[Key, Boot]  # the boots that count, as `chosen` gives them


@dataclass(frozen=True)
class SideEffects:
    """One metric in one cell. p_order, p_drift: of a straight line over the order in the block, and over the blocks.

    None where that cannot be told. spread: by arm, half of what lies between the lowest and the highest boot, as a
    share of the median (kind "ratio") or in the metric's unit; None for fewer than two boots.
    """

    cell: Cell
    metric: str
    kind: str
    p_order: float | None
    p_drift: float | None
    spread: dict[str, float | None]


def side_effects(run: Run, boots: Sequence[Boot]) -> list[SideEffects]:
    """Every cell, and in it every metric that the plan names and that some boot has."""
    good = chosen(boots, run.get("accel"))
    found = [of_metric(run, good, cell, name) for cell in cells(boots) for name in watched(run)]
    return [one for one in found if any(value is not None for value in one.spread.values())]


def watched(run: Run) -> list[str]:
    """Metrics looked at for side effects: those that the plan names; each more would be one more false alarm."""
    return [name for name in run.get("metrics") or {} if name in METRICS]


def of_metric(run: Run, good: Good, cell: Cell, name: str) -> SideEffects:
    metric = METRICS[name]
    points: list[tuple[float, int, int]] = []
    spread = {}
    for arm in run["arms"]:
        known = values_of(good, cell, arm, name)
        points += _off(metric, known, [int(good[(*cell, arm, block)].get("order", 0)) for _, block in known])
        spread[str(arm)] = _spread(metric, [value for value, _ in known])
    off, order, block = ([point[i] for point in points] for i in range(3))
    return SideEffects(cell, name, metric.kind, depends_on(off, order), depends_on(off, block), spread)


def values_of(good: Good, cell: Cell, arm: str, name: str) -> list[tuple[float, int]]:
    """(value, block) of an arm's boots that have one."""
    blocks = sorted(block for host, other, which, block in good if (host, other, which) == (*cell, arm))
    values = by_block(good, cell, arm, blocks, name)
    return [(value, block) for value, block in zip(values, blocks, strict=True) if value is not None]


def _spread(metric: Metric, values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    half = (max(values) - min(values)) / 2
    return half / (abs(statistics.median(values)) or 1.0) if metric.kind == "ratio" else half


def _off(metric: Metric, known: Sequence[tuple[float, int]], orders: Sequence[int]) -> list[tuple[float, int, int]]:
    """(value off its arm's median, order in the block, block) of one arm's boots; a share of the median for a ratio.

    What the metric cannot resolve counts as no difference.
    """
    if not known:
        return []
    middle = statistics.median(value for value, _ in known)
    scale = (abs(middle) or 1.0) if metric.kind == "ratio" else 1.0
    off = [value - middle if abs(value - middle) > metric.resolution else 0.0 for value, _ in known]
    return [(value / scale, order, block) for value, (_, block), order in zip(off, known, orders, strict=True)]
