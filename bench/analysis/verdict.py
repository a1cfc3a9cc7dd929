"""The verdict words, in their order, and the reasons. Rules: docs/method.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.compare import Comparison
from bench.analysis.looks import OVERALL
from bench.wire.metrics import Metric

WORDS = ("invalid", "equivalent", "worse", "better", "undecided")
LEVEL = OVERALL
DEFAULT_RATIO_MARGIN = 0.05
# A difference has no natural share to be a margin; this many times what can be told apart at all.
DEFAULT_MARGIN_RESOLUTIONS = 8


@dataclass(frozen=True)
class Verdict:
    """word: one of WORDS. why: a short reason. capped: held at undecided since robust estimate and mean disagree."""

    word: str
    why: str
    capped: bool = False


def default_margin(metric: Metric) -> float:
    """Margin where the plan names none: 5 % for a ratio, 8 resolutions (in the metric's unit) for a difference."""
    return DEFAULT_RATIO_MARGIN if metric.kind == "ratio" else DEFAULT_MARGIN_RESOLUTIONS * metric.resolution


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Scand. J. Statist. 6, 1979) over those that are not None; order is kept."""
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None and math.isfinite(p))
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = highest
    return adjusted


def decide(comparison: Comparison, metric: Metric, margin: float, p_holm: float | None, min_blocks: int) -> Verdict:
    """Exactly one word for one comparison.

    margin: a share for kind ratio (0.05 is 5 %), in the metric's unit for a difference. p_holm: the comparison's p,
    adjusted over its family.
    """
    invalid = _invalid(comparison, min_blocks)
    if invalid:
        return Verdict("invalid", invalid)
    if comparison.identical:
        return Verdict("equivalent", "the same value in every block")
    if metric.kind == "exact":
        return Verdict("undecided", "the values differ; an exact metric knows no better or worse")
    if comparison.constant:
        seen = "one block has" if comparison.n == 1 else "the same difference in every block has"
        return Verdict("undecided", f"{seen} no spread to be judged by")
    plain = _plain(comparison, metric, margin, p_holm)
    if plain.word != "undecided" and abs(comparison.d_robust - comparison.d) > inner_margin(metric, margin) / 2:
        return Verdict("undecided", f"would be {plain.word}, but robust estimate and mean disagree", capped=True)
    return plain


def inner_margin(metric: Metric, margin: float) -> float:
    """The margin on the scale of d."""
    return math.log1p(margin) if metric.kind == "ratio" else margin


def _invalid(comparison: Comparison, min_blocks: int) -> str:
    if comparison.problem:
        return comparison.problem
    if comparison.n < min_blocks:
        return f"{comparison.n} of at least {min_blocks} complete blocks"
    return ""


def _plain(comparison: Comparison, metric: Metric, margin: float, p_holm: float | None) -> Verdict:
    m, levels = inner_margin(metric, margin), comparison.levels
    if -m < comparison.d_low90 and comparison.d_high90 < m:
        return Verdict("equivalent", f"the {100 * (1 - 2 * levels.equivalent):.3g} % interval lies inside the margin")
    outside = comparison.d_low > 0 or comparison.d_high < 0
    if not outside:
        return Verdict("undecided", "the interval holds both better and worse")
    if abs(comparison.d) < m:
        return Verdict("undecided", "a difference is seen, but not one as large as the margin")
    if p_holm is None or p_holm >= levels.different:
        return Verdict("undecided", "not significant once all metrics of the family are counted")
    if metric.direction == "none":
        return Verdict("undecided", "the arms differ; neither direction is better")
    word = "worse" if comparison.d > 0 else "better"
    return Verdict(
        word, f"interval beyond zero, effect beyond the margin, Holm-adjusted p below {levels.different:.3g}"
    )
