"""Which cells of one host need no more blocks: looked at after fixed numbers of blocks, at levels made for that.

A cell is decided when each of its blocking comparisons has a verdict other than undecided, or one that more blocks
cannot change (an arm that has no value, an exact metric that differs). A cell without any goes on as long as another
one does. Only blocks up to the look count, so that the answer is the same whenever it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from bench.analysis.blocks import Run, cells
from bench.analysis.compare import Comparison
from bench.analysis.entries import Entry, adjusted, entries, least_blocks
from bench.analysis.rules import ruled
from bench.analysis.values import Boot
from bench.analysis.verdict import decide, inner_margin
from bench.wire.metrics import Metric


@dataclass(frozen=True)
class Open:
    """A blocking comparison that is not decided yet. expected: the look that will probably decide it, None for none."""

    cell: str
    arm: str
    metric: str
    expected: int | None


def looks_before(looks: Sequence[int], block: int) -> list[int]:
    """The looks that come before this block begins, rising."""
    return [look for look in looks if look < block]


def still_open(run: Run, boots: Sequence[Boot], host: str, look: int) -> list[Open]:
    """Everything that is undecided on a host after the blocks up to `look`, in the order of its comparisons."""
    return _open(run, _compared(run, boots, host, look), look)


def going_on(run: Run, boots: Sequence[Boot], host: str, look: int) -> set[str]:
    """The cells that need blocks after this look."""
    found = _compared(run, boots, host, look)
    undecided = {one.cell for one in _open(run, found, look)}
    if not undecided:
        return set()
    asked = {entry.cell[1] for entry in found if entry.blocking}
    return undecided | {name for place, name in cells(boots) if place == host and name not in asked}


def _compared(run: Run, boots: Sequence[Boot], host: str, look: int) -> list[Entry]:
    """The comparisons of one host by its blocks up to the look: those that the gate judges, where the plan has one."""
    mine = [boot for boot in boots if boot["host"] == host and int(boot["block"]) <= look]
    return [one.entry for one in ruled(run, mine)] if run.get("gate") else entries(run, mine)


def _open(run: Run, found: Sequence[Entry], look: int) -> list[Open]:
    p_values = adjusted([entry.comparison.p for entry in found], [entry.blocking for entry in found])
    return [
        Open(entry.cell[1], entry.arm, entry.metric.name, _expected(run, entry, look))
        for entry, p_holm in zip(found, p_values, strict=True)
        if entry.blocking and not _is_settled(run, entry, p_holm)
    ]


def _is_settled(run: Run, entry: Entry, p_holm: float | None) -> bool:
    comparison = entry.comparison
    if comparison.n == 0:
        return bool(entry.blocks)
    if entry.metric.kind == "exact":
        return True
    verdict = decide(comparison, entry.metric, entry.margin, p_holm, least_blocks(run))
    if entry.metric.direction == "none" and verdict.word == "undecided":
        return not comparison.d_low <= 0 <= comparison.d_high
    return verdict.word not in ("invalid", "undecided")


def _expected(run: Run, entry: Entry, look: int) -> int | None:
    """The first later look at which a t interval of this spread around this estimate would decide; a guess."""
    later = [one for one in run.get("looks") or [] if one > look]
    return next((one for one in later if would_decide(entry.comparison, entry.metric, entry.margin, one)), None)


def would_decide(comparison: Comparison, metric: Metric, margin: float, blocks: int) -> bool:
    """Whether so many blocks decide, if estimate and spread stay what they are; Holm's adjustment is left out."""
    if not (math.isfinite(comparison.error) and comparison.n > 1 and blocks > 1):
        return False
    spread, m, levels = comparison.error * math.sqrt(comparison.n), inner_margin(metric, margin), comparison.levels
    error = max(spread / math.sqrt(blocks), comparison.floor)
    same, other = (float(special.stdtrit(blocks - 1, 1 - t)) for t in (levels.equivalent, levels.different / 2))
    return abs(comparison.d) + same * error < m or (abs(comparison.d) >= m and abs(comparison.d) > other * error)
