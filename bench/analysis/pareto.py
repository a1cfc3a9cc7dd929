"""Pareto fronts: of the arms of a cell, those that no other one beats in two metrics at once.

Arm A dominates B when it is clearly better in one of both metrics and not clearly worse in the other. Clearly: the
mean paired difference over the blocks that both have is beyond the metric's margin, and every one of these blocks
agrees with its sign. Two settings that differ by less are both on the front: nothing says which is the better one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.analysis.blocks import Cell, Run, arms_of, by_block, cells, chosen, complete_blocks
from bench.analysis.compare import compare, sign
from bench.analysis.kinds import workload_of
from bench.analysis.values import Boot
from bench.analysis.verdict import default_margin
from bench.wire.metrics import METRICS, Metric, metrics_of

Values = dict[int, float]  # block -> value of a boot


def fronts(run: Run, boots: Sequence[Boot]) -> list[dict[str, Any]]:
    """One item a host, cell and pair of run["pareto"]: host, cell, x, y, front (names of arms), points.

    points: arm, x, y (medians over its boots), blocks, and dominated_by (names). Arms without both values are left out.
    """
    found = []
    for cell in cells(boots):
        workload = next(workload_of(boot) for boot in boots if (boot["host"], boot["cell"]) == cell)
        known = {metric.name for metric in metrics_of(workload)}
        for x, y in run.get("pareto") or []:
            if {x, y} <= known:
                found.append(_front(run, boots, cell, METRICS[x], METRICS[y]))
    return found


def sentences(front: dict[str, Any]) -> list[str]:
    """The front, and each dominated arm with what dominates it, in words."""
    of = f"{front['cell']} on {front['host']}, {front['x']} against {front['y']}"
    if not front["points"]:
        return [f"{of}: no arm has both values"]
    lines = [f"{of}: on the front: {', '.join(front['front'])}"]
    dominated = [point for point in front["points"] if point["dominated_by"]]
    return lines + [f"{point['arm']} is dominated by {', '.join(point['dominated_by'])}" for point in dominated]


def _front(run: Run, boots: Sequence[Boot], cell: Cell, x: Metric, y: Metric) -> dict[str, Any]:
    good = chosen(boots, run.get("accel"))
    found: dict[str, tuple[Values, Values]] = {}
    for arm in arms_of(run, boots, cell):
        blocks = complete_blocks(run, boots, cell, (arm,))
        xs, ys = (by_block(good, cell, arm, blocks, metric.name) for metric in (x, y))
        both = [(b, v, w) for b, v, w in zip(blocks, xs, ys, strict=True) if v is not None and w is not None]
        if both:
            found[arm] = {b: v for b, v, _ in both}, {b: w for b, _, w in both}
    margins = [_margin(run, metric) for metric in (x, y)]
    points = []
    for arm, (xs_, ys_) in found.items():
        by = [other for other in found if other != arm and _dominates(found[other], (xs_, ys_), (x, y), margins)]
        middle = [statistics.median(values.values()) for values in (xs_, ys_)]
        points.append({"arm": arm, "x": middle[0], "y": middle[1], "blocks": len(xs_), "dominated_by": by})
    front = [point["arm"] for point in points if not point["dominated_by"]]
    return {"host": cell[0], "cell": cell[1], "x": x.name, "y": y.name, "front": front, "points": points}


def _margin(run: Run, metric: Metric) -> float:
    rule = (run.get("metrics") or {}).get(metric.name) or {}
    return float(rule.get("margin") or default_margin(metric))


def _dominates(
    a: tuple[Values, Values], b: tuple[Values, Values], metrics: tuple[Metric, Metric], margins: Sequence[float]
) -> bool:
    """Whether A is clearly better than B in one metric, and clearly worse in none."""
    sides = [_side(a[i], b[i], metrics[i], margins[i]) for i in (0, 1)]
    return 1 in sides and -1 not in sides


def _side(a: Values, b: Values, metric: Metric, margin: float) -> int:
    """1 where A is clearly better than B, -1 where it is clearly worse, 0 where they are not told apart."""
    blocks = sorted(set(a) & set(b))
    ours, theirs = [a[block] for block in blocks], [b[block] for block in blocks]
    if compare(theirs, ours, metric).problem:
        return 0
    if metric.kind == "ratio":
        off = [float(np.log(mine / other)) for mine, other in zip(ours, theirs, strict=True)]
        limit = float(np.log1p(margin))
    else:
        off, limit = [mine - other for mine, other in zip(ours, theirs, strict=True)], margin
    worse = [sign(metric) * value for value in off]
    mean = statistics.fmean(worse)
    if abs(mean) <= limit or any((value > 0) != (mean > 0) for value in worse):
        return 0
    return 1 if mean < 0 else -1
