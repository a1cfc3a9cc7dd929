"""Two arms of one cell, compared block by block. Formulas and their simulated coverage: docs/method.md.

Everything inside is on the scale d: positive is worse. kind "ratio": d = ln(arm) - ln(reference); kind "difference":
d = arm - reference; both with the sign turned where higher is better. What is shown is the ratio arm/reference, or the
difference arm - reference, whatever the direction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from bench.analysis.series import FloatArray
from bench.wire.metrics import Metric

# d counts as constant when its spread is rounding noise of the values it was made of.
_ROUNDING = 1e-12
_TOO_LARGE = "the values are too large to be told apart"


@dataclass(frozen=True)
class Comparison:
    """One metric, one pair of arms, paired by block.

    problem: why there is no comparison ("" if there is one); then all figures but n are None. identical: every pair is
    equal. constant: every d is the same, not zero, and nothing says how coarse the values are. effect, low, high (95 %)
    and hodges_lehmann: shown scale. d_*: inner scale, d_low90 and d_high90 for the two one-sided tests. p: two-sided.
    error: standard error of d, NaN where there is no interval. floor: the part of it that is rounding, 0 without a
    declared resolution.
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


def compare(reference: Sequence[float | None], arm: Sequence[float | None], metric: Metric) -> Comparison:
    """Paired comparison; position i of both is the same block, None where a boot has no value. Never raises for data.

    A pair with a None is left out. NaN, infinity, and a ratio of what is not positive are a `problem`.
    """
    with np.errstate(all="ignore"):
        return _compare(reference, arm, metric)


def _compare(reference: Sequence[float | None], arm: Sequence[float | None], metric: Metric) -> Comparison:
    pairs = [(a, b) for a, b in zip(reference, arm, strict=False) if a is not None and b is not None]
    a, b = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    problem = _problem(a, b, metric)
    if problem:
        return Comparison(len(pairs), problem)
    shown = b - a if metric.kind != "ratio" else np.log(b) - np.log(a)
    floor = _resolution(a, b, metric) / math.sqrt(6)
    # Equal values have no spread to estimate, and need none: equality is exact.
    if bool(np.all(a == b)):
        return _identical(len(pairs), floor, metric)
    if metric.kind == "exact":
        return _without_spread(shown, metric)
    spread = float(np.std(shown, ddof=1)) / math.sqrt(len(shown)) if len(shown) > 1 else 0.0
    size = np.log(np.maximum(a, b)) if metric.kind == "ratio" else np.maximum(np.abs(a), np.abs(b))
    noise = _ROUNDING * max(1.0, float(np.max(np.abs(size))))
    if len(shown) < 2 or (spread <= noise and floor <= noise):
        return _without_spread(shown, metric)
    if not math.isfinite(max(spread, floor)):
        return Comparison(len(pairs), _TOO_LARGE)
    return _interval(shown, max(spread, floor), floor, metric)


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
        return _TOO_LARGE
    return ""


def _resolution(a: FloatArray, b: FloatArray, metric: Metric) -> float:
    """The metric's resolution on the scale of d; for a ratio relative to the smaller arm's geometric mean."""
    if metric.kind != "ratio":
        return metric.resolution
    smaller = float(np.exp(min(np.mean(np.log(a)), np.mean(np.log(b)))))
    return metric.resolution / smaller if smaller > 0 else math.inf


def _interval(shown: FloatArray, error: float, floor: float, metric: Metric) -> Comparison:
    """The t interval of the mean (the one of scipy.stats.ttest_1samp), with a floor under its standard error.

    `error` is never below resolution / sqrt(6), the standard deviation of the difference of two values rounded to the
    resolution. It does not shrink with the number of blocks, for rounding may fall the same way in every one.
    """
    n, turn = len(shown), sign(metric)
    mean, robust = float(np.mean(shown)), hodges_lehmann(shown)
    half95, half90 = (float(special.stdtrit(n - 1, q)) * error for q in (0.975, 0.95))
    d = turn * mean
    return Comparison(
        n=n,
        effect=as_shown(mean, metric),
        low=as_shown(mean - half95, metric),
        high=as_shown(mean + half95, metric),
        hodges_lehmann=as_shown(robust, metric),
        p=float(2 * special.stdtr(n - 1, -abs(mean) / error)),
        d=d,
        d_low=d - half95,
        d_high=d + half95,
        d_low90=d - half90,
        d_high90=d + half90,
        d_robust=turn * robust,
        error=error,
        floor=floor,
    )


def _identical(n: int, floor: float, metric: Metric) -> Comparison:
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
