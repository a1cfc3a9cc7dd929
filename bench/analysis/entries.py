"""Every comparison of a run, one metric of one pair of arms in one cell, and the families that its p belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.blocks import Cell, Run, arms_of, by_block, cells, chosen, complete_blocks
from bench.analysis.compare import Comparison, compare
from bench.analysis.kinds import workload_of
from bench.analysis.looks import Levels, levels
from bench.analysis.values import Boot, number
from bench.analysis.verdict import default_margin, holm
from bench.wire.metrics import Metric, metrics_of

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
    """By cell, arm and metric: all of the cell's workload, with the plan's margins or the default ones.

    An arm that the host skipped, or that the cell does not have, is compared with nothing.
    """
    found = []
    for cell in cells(boots):
        here = arms_of(run, boots, cell)
        pairs = [arm for arm in other_arms(run) if arm in here and reference_of(run, arm) in here]
        found += [entry for arm in pairs for entry in _entries(run, boots, cell, arm)]
    return found


def other_arms(run: Run) -> list[str]:
    """The arms that are compared with another one."""
    return [str(arm) for arm in run["arms"] if arm != reference_of(run, str(arm))]


def reference_of(run: Run, arm: str) -> str:
    """The arm that this one is compared with: its own, or the run's; an arm that others name is its own.

    An arm that repeats another one (same_as) is compared with that, which has its own reference all the same.
    """
    same, against = run.get("same_as") or {}, run.get("against") or {}
    if arm in same:
        return str(same[arm])
    return str(against.get(arm) or (arm if arm in against.values() else run["reference"]))


def least_blocks(run: Run) -> int:
    """Blocks that a verdict needs; never fewer than two."""
    return max(2, int(run.get("min_blocks") or DEFAULT_MIN_BLOCKS))


def levels_of(run: Run) -> Levels:
    """The levels of a run's looks; of one look where its number of blocks was fixed."""
    return levels(tuple(run.get("looks") or (max(2, int(run.get("blocks") or 2)),)))


def adjusted(p_values: Sequence[float | None], blocking: Sequence[bool]) -> list[float | None]:
    """Holm over the blocking family, and apart from it over all others; order is kept."""
    result: list[float | None] = [None] * len(p_values)
    for which in (True, False):
        family = [i for i, is_blocking in enumerate(blocking) if is_blocking == which]
        for i, p in zip(family, holm([p_values[i] for i in family]), strict=True):
            result[i] = p
    return result


def _entries(run: Run, boots: Sequence[Boot], cell: Cell, arm: str) -> list[Entry]:
    good, reference = chosen(boots, run.get("accel")), reference_of(run, arm)
    blocks = complete_blocks(run, boots, cell, (reference, arm))
    found = []
    here = [boot for boot in boots if (boot["host"], boot["cell"]) == cell]
    # A run of before a metric was thought of says nothing of it.
    known = {name for boot in here for name in boot.get("values") or {}}
    for metric in (metric for metric in metrics_of(workload_of(here[0])) if metric.name in known):
        rule = (run.get("metrics") or {}).get(metric.name)
        margin = number((rule or {}).get("margin"))
        a, b = (by_block(good, cell, name, blocks, metric.name) for name in (reference, arm))
        found.append(
            Entry(
                cell,
                arm,
                metric,
                default_margin(metric) if margin is None else margin,
                rule is not None and bool(rule.get("blocking", True)),
                compare(a, b, metric, levels_of(run)),
                blocks,
                a,
                b,
            )
        )
    return found
