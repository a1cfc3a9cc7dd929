"""Every comparison of a run, one metric of one pair of arms in one cell, and the families that its p belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.blocks import Cell, Run, by_block, cells, chosen, complete_blocks
from bench.analysis.compare import Comparison, compare
from bench.analysis.values import Boot, number
from bench.analysis.verdict import default_margin, holm
from bench.wire.metrics import METRICS, Metric

DEFAULT_MIN_BLOCKS = 3


@dataclass(frozen=True)
class Entry:
    """One metric of one pair of arms, before its family is known. blocks: the complete ones of the cell."""

    cell: Cell
    arm: str
    metric: Metric
    margin: float
    blocking: bool
    comparison: Comparison
    blocks: list[int]
    reference_blocks: list[float | None]
    arm_blocks: list[float | None]


def entries(run: Run, boots: Sequence[Boot]) -> list[Entry]:
    """By cell, arm and metric: all of METRICS, with the plan's margins or the default ones."""
    return [entry for cell in cells(boots) for arm in other_arms(run) for entry in _entries(run, boots, cell, arm)]


def other_arms(run: Run) -> list[str]:
    """The arms that are compared with the reference."""
    return [str(arm) for arm in run["arms"] if arm != run["reference"]]


def least_blocks(run: Run) -> int:
    """Blocks that a verdict needs; never fewer than two."""
    return max(2, int(run.get("min_blocks") or DEFAULT_MIN_BLOCKS))


def adjusted(p_values: Sequence[float | None], blocking: Sequence[bool]) -> list[float | None]:
    """Holm over the blocking family, and apart from it over all others; order is kept."""
    result: list[float | None] = [None] * len(p_values)
    for which in (True, False):
        family = [i for i, is_blocking in enumerate(blocking) if is_blocking == which]
        for i, p in zip(family, holm([p_values[i] for i in family]), strict=True):
            result[i] = p
    return result


def _entries(run: Run, boots: Sequence[Boot], cell: Cell, arm: str) -> list[Entry]:
    good, blocks = chosen(boots, run.get("accel")), complete_blocks(run, boots, cell)
    found = []
    for metric in METRICS.values():
        rule = (run.get("metrics") or {}).get(metric.name)
        margin = number((rule or {}).get("margin"))
        a, b = (by_block(good, cell, name, blocks, metric.name) for name in (str(run["reference"]), arm))
        found.append(
            Entry(
                cell,
                arm,
                metric,
                default_margin(metric) if margin is None else margin,
                rule is not None and bool(rule.get("blocking", True)),
                compare(a, b, metric),
                blocks,
                a,
                b,
            )
        )
    return found
