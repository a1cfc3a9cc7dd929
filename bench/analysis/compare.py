"""Two arms of one cell, compared block by block. Formulas and their simulated coverage: docs/method.md.

Everything inside is on the scale d: positive is worse. kind "ratio": d = ln(arm) - ln(reference); kind "difference":
d = arm - reference; both with the sign turned where higher is better. What is shown is the ratio arm/reference, or the
difference arm - reference, whatever the direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from bench.analysis.looks import ONE_LOOK, OVERALL, Levels
from bench.analysis.series import FloatArray
from bench.wire.metrics import Metric

# d counts as constant when its spread is rounding noise of the values it was made of.
ROUNDING = 1e-12
POWER = 0.8
TOO_LARGE = "the values are too large to be told apart"


@dataclass(frozen=True)
class Comparison:
    """One metric, one pair of arms, paired by block.

    problem: why there is no comparison ("" if there is one); then all figures but n are None. identical: every pair is
    equal. constant: every d is the same, not zero, and nothing says how coarse the values are. effect, low, high
    and hodges_lehmann: shown scale. d_*: inner scale, d_low90 and d_high90 for the two one-sided tests. p: two-sided.
    error: standard error of d, NaN where there is no interval. floor: the part of it that is rounding, 0 without a
    declared resolution. levels: those of the intervals, 95 % (and 90 %) where there is one look.
    """

    n: int
    problem: str = ""
    identical: bool = False
    constant: bool = False
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    hodges_lehmann: float | None = None
    p: float | None = None
    d: float = math.nan
    d_low: float = math.nan
    d_high: float = math.nan
    d_low90: float = math.nan
    d_high90: float = math.nan
    d_robust: float = math.nan
    error: float = math.nan
    floor: float = 0.0
    levels: Levels = ONE_LOOK

    @property
    def percent(self) -> float:
        """Of the interval: 95 where there is one look."""
        return 100 * (1 - self.levels.different)


def compare(
    reference: Sequence[float | None], arm: Sequence[float | None], metric: Metric, levels: Levels = ONE_LOOK
) -> Comparison:
    """Paired comparison; position i of both is the same block, None where a boot has no value. Never raises for data.

    A pair with a None is left out. NaN, infinity, and a ratio of what is not positive are a `problem`. levels: of this
    look, where blocks are added until there is a verdict (`looks.levels`).
    """
    with np.errstate(all="ignore"):
        return replace(_compare(reference, arm, metric, levels), levels=levels)


def _compare(
    reference: Sequence[float | None], arm: Sequence[float | None], metric: Metric, levels: Levels
) -> Comparison:
    pairs = [(a, b) for a, b in zip(reference, arm, strict=False) if a is not None and b is not None]
    a, b = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    problem = _problem(a, b, metric)
    if problem:
        return Comparison(len(pairs), problem)
    shown = b - a if metric.kind != "ratio" else np.log(b) - np.log(a)
    floor = resolution_floor(a, b, metric)
    # Equal values have no spread to estimate, and need none: equality is exact.
    if bool(np.all(a == b)):
        return identical(len(pairs), floor, metric)
    if metric.kind == "exact":
        return _without_spread(shown, metric)
    spread = float(np.std(shown, ddof=1)) / math.sqrt(len(shown)) if len(shown) > 1 else 0.0
    size = np.log(np.maximum(a, b)) if metric.kind == "ratio" else np.maximum(np.abs(a), np.abs(b))
    noise = ROUNDING * max(1.0, float(np.max(np.abs(size))))
    if len(shown) < 2 or (spread <= noise and floor <= noise):
        return _without_spread(shown, metric)
    if not math.isfinite(max(spread, floor)):
        return Comparison(len(pairs), TOO_LARGE)
    return _interval(shown, max(spread, floor), floor, metric, levels)


def hodges_lehmann(d: FloatArray) -> float:
    """Median of all means of two (a value with itself included): Hodges and Lehmann, Ann. Math. Statist. 34 (1963)."""
    first, second = np.triu_indices(len(d))
    return float(np.median((d[first] + d[second]) / 2))


def sign(metric: Metric) -> float:
    """+1 where more is worse, -1 where more is better."""
    return -1.0 if metric.direction == "higher" else 1.0


def as_shown(value: float, metric: Metric) -> float | None:
    """From the scale of the differences to the shown one; None where it overflows."""
    if metric.kind != "ratio":
        return value if math.isfinite(value) else None
    return math.exp(value) if value < 700 else None


def _problem(a: FloatArray, b: FloatArray, metric: Metric) -> str:
    if len(a) == 0:
        return "no block has a value of both arms"
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return "a value is not finite"
    if metric.kind == "ratio" and not ((a > 0).all() and (b > 0).all()):
        return "a ratio needs values above zero"
    if not np.isfinite(b - a).all():
        return TOO_LARGE
    return ""


def _resolution(a: FloatArray, b: FloatArray, metric: Metric) -> float:
    """The metric's resolution on the scale of d; for a ratio relative to the smaller arm's geometric mean."""
    if metric.kind != "ratio":
        return metric.resolution
    smaller = float(np.exp(min(np.mean(np.log(a)), np.mean(np.log(b)))))
    return metric.resolution / smaller if smaller > 0 else math.inf


def detectable(error: float, df: float, metric: Metric, level: float = OVERALL) -> float | None:
    """The smallest effect seen at `level` (two-sided) with 80 % power, on the shown scale, in the direction of more.

    (t(1 - level/2) + t(0.8)) standard errors, the usual approximation. None where there is no error to tell it by.
    """
    if not (math.isfinite(error) and error > 0 and df > 0):
        return None
    return as_shown(error * float(special.stdtrit(df, 1 - level / 2) + special.stdtrit(df, POWER)), metric)


def resolution_floor(a: FloatArray, b: FloatArray, metric: Metric) -> float:
    """Least standard error of a difference, resolution / sqrt(6), on the scale of d; 0 where none is declared."""
    return _resolution(a, b, metric) / math.sqrt(6)


def _interval(shown: FloatArray, error: float, floor: float, metric: Metric, levels: Levels) -> Comparison:
    """The t interval of the mean (the one of scipy.stats.ttest_1samp), with a floor under its standard error.

    `error` is never below resolution / sqrt(6), the standard deviation of the difference of two values rounded to the
    resolution. It does not shrink with the number of blocks, for rounding may fall the same way in every one.
    """
    n, turn = len(shown), sign(metric)
    mean, robust = float(np.mean(shown)), hodges_lehmann(shown)
    tails = (levels.different / 2, levels.equivalent)
    half, half_equivalent = (float(special.stdtrit(n - 1, 1 - tail)) * error for tail in tails)
    d = turn * mean
    return Comparison(
        n=n,
        effect=as_shown(mean, metric),
        low=as_shown(mean - half, metric),
        high=as_shown(mean + half, metric),
        hodges_lehmann=as_shown(robust, metric),
        p=float(2 * special.stdtr(n - 1, -abs(mean) / error)),
        d=d,
        d_low=d - half,
        d_high=d + half,
        d_low90=d - half_equivalent,
        d_high90=d + half_equivalent,
        d_robust=turn * robust,
        error=error,
        floor=floor,
    )


def identical(n: int, floor: float, metric: Metric) -> Comparison:
    """No difference at all, exactly."""
    same = as_shown(0.0, metric)
    return Comparison(
        n=n,
        identical=True,
        effect=same,
        low=same,
        high=same,
        hodges_lehmann=same,
        p=1.0,
        d=0.0,
        d_low=0.0,
        d_high=0.0,
        d_low90=0.0,
        d_high90=0.0,
        d_robust=0.0,
        error=floor,
        floor=floor,
    )


def _without_spread(shown: FloatArray, metric: Metric) -> Comparison:
    """One block, an exact kind, or differences that are all the same: an effect, but no interval and no p."""
    mean, robust = float(np.mean(shown)), hodges_lehmann(shown)
    turn = sign(metric)
    return Comparison(
        n=len(shown),
        constant=True,
        effect=as_shown(mean, metric),
        hodges_lehmann=as_shown(robust, metric),
        d=turn * mean,
        d_robust=turn * robust,
    )
