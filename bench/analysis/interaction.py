"""What a change does to free page reporting alone: the difference of differences, of head and base, with and without.

In each block (head with ÷ head without) ÷ (base with ÷ base without), for a difference with minus signs: what the
change does to a guest with reporting beyond what it does to one without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.analysis.blocks import Run, by_block, cells, chosen, complete_blocks
from bench.analysis.compare import compare
from bench.analysis.entries import levels_of
from bench.analysis.values import Boot
from bench.wire.metric import Metric
from bench.wire.metrics import METRICS


def interactions(run: Run, boots: Sequence[Boot], names: Sequence[str]) -> list[dict[str, Any]]:
    """One item a host, cell, arm (as it was before it was copied) and metric; none for a run without base and head.

    effect, low, high: a ratio of ratios, or a difference of differences in the metric's unit.
    """
    change = run.get("change")
    if not change:
        return []
    found = []
    good, repeated = chosen(boots, run.get("accel")), change.get("same_as") or {}
    for cell in cells(boots):
        for arm in (str(arm) for arm in change["arms"]):
            other = str((change.get("against") or {}).get(arm) or change["reference"])
            if arm == other or arm in repeated:
                continue
            four = [f"{side}-{name}" for side in ("base", "head") for name in (other, arm)]
            blocks = complete_blocks(run, boots, cell, four)
            for metric in (METRICS[name] for name in names if METRICS[name].kind != "exact"):
                values = [by_block(good, cell, name, blocks, metric.name) for name in four]
                base, head = (_effects(values[start], values[start + 1], metric) for start in (0, 2))
                # A ratio of values has no resolution of its own; a difference of differences has that of both.
                coarse = 0.0 if metric.kind == "ratio" else metric.resolution * 2**0.5
                comparison = compare(base, head, replace(metric, resolution=coarse), levels_of(run))
                if comparison.n:
                    shown = {key: getattr(comparison, key) for key in ("effect", "low", "high", "p", "n")}
                    about = {"metric": metric.name, "unit": metric.unit, "kind": metric.kind}
                    found.append({"host": cell[0], "cell": cell[1], "arm": arm, "reference": other, **about, **shown})
    return found


def _effects(without: Sequence[float | None], with_: Sequence[float | None], metric: Metric) -> list[float | None]:
    """Block by block what the arm does on one side; None where it cannot be told."""
    found: list[float | None] = []
    for a, b in zip(without, with_, strict=True):
        if a is None or b is None or (metric.kind == "ratio" and not (a > 0 and b > 0)):
            found.append(None)
        else:
            found.append(b / a if metric.kind == "ratio" else b - a)
    return found
