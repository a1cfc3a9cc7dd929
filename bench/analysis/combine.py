"""One metric over several hosts: each host's own comparison, combined. Formulas and simulated coverage: docs/method.md.

The estimate is the hosts' mean, weighted by inverse variance (Graybill and Deal, Biometrics 15, 1959). Its own standard
error is far too small when each variance comes from a few blocks, so the interval is taken from the hosts' t statistics
instead: as normal scores they can be added, and the sum is normal whatever the noise of each host (Lipták, 1958; the
interval holds the effects that this test does not refuse). Nothing is combined where the hosts disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from scipy import optimize, special

from bench.analysis.compare import Comparison, as_shown, sign
from bench.analysis.series import FloatArray
from bench.analysis.verdict import LEVEL
from bench.wire.metrics import Metric

Z95 = float(special.ndtri(0.975))
# A tail below this has a score of about 37 already; 0 would give infinities, and their differences no number.
_LEAST_TAIL = 1e-300


@dataclass(frozen=True)
class Combined:
    """One metric of one pair of arms over the hosts.

    comparison: all hosts as one, as `verdict.decide` takes it; n counts the blocks of all. hosts: those that count.
    left_out: host -> why it does not. heterogeneity_p: of one effect on all hosts (None: cannot be told). differ: the
    two hosts farthest apart, where they disagree. why_not: another reason for having no combined figure.
    """

    comparison: Comparison
    hosts: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    heterogeneity_p: float | None = None
    differ: tuple[str, ...] = ()
    why_not: str = ""


def combine(found: Mapping[str, Comparison], metric: Metric, least: int) -> Combined:
    """host -> its comparison, to one. A host counts with `least` pairs; two hosts have to. Never raises for data."""
    left_out = {host: f"{c.n} of at least {least} blocks with values" for host, c in found.items() if c.n < least}
    kept = {host: c for host, c in found.items() if host not in left_out}
    whole = Combined(Comparison(sum(c.n for c in kept.values())), tuple(kept), left_out)
    problem = next((f"{host}: {c.problem}" for host, c in kept.items() if c.problem), "")
    if not kept:
        problem = "no host has enough blocks with values of both arms"
    elif not problem and len(kept) < 2:
        problem = f"only {next(iter(kept))} has enough blocks with values of both arms"
    if problem:
        return replace(whole, comparison=replace(whole.comparison, problem=problem))
    if all(c.identical for c in kept.values()):
        return replace(whole, comparison=replace(next(iter(kept.values())), n=whole.comparison.n))
    why_not = _no_weight(kept, metric)
    if why_not:
        return replace(whole, why_not=why_not)
    with np.errstate(all="ignore"):
        return _combined(whole, kept, metric)


def shares(error: FloatArray) -> FloatArray:
    """Inverse variances that add up to 1, over the last axis."""
    relative = (np.min(error, axis=-1, keepdims=True) / error) ** 2
    return cast("FloatArray", relative / np.sum(relative, axis=-1, keepdims=True))


def score(d: FloatArray, error: FloatArray, df: FloatArray) -> FloatArray:
    """The hosts' t statistics as one standard normal value, over the last axis; more positive d, more positive value.

    A host with more blocks weighs more, by the root of their number: this must not depend on the data.
    """
    t = d / error
    tail = np.maximum(special.stdtr(df, -np.abs(t)), _LEAST_TAIL)
    weight = np.sqrt(df + 1)
    total = np.sum(weight * -np.sign(t) * special.ndtri(tail), axis=-1)
    return cast("FloatArray", total / math.sqrt(float(np.sum(weight**2))))


def interval(d: FloatArray, error: FloatArray, df: FloatArray, z: float) -> tuple[float, float]:
    """The effects whose score lies within -z and z. d, error, df: one number a host."""
    half = special.stdtrit(df, special.ndtr(z)) * error
    # Beyond these every host alone is out by z or more, and so is their sum.
    outer = float(np.min(d - half)), float(np.max(d + half))

    def beyond(effect: float, limit: float) -> float:
        return float(score(d - effect, error, df)) - limit

    low, high = (float(optimize.brentq(beyond, *outer, args=(limit,))) for limit in (z, -z))
    return low, high


def heterogeneity(d: FloatArray, error: FloatArray, df: FloatArray) -> FloatArray:
    """p of Cochran's Q over the last axis, by Welch's F for estimated variances (Biometrika 38, 1951).

    Against chi square, as for known variances, Q would call hosts different far too often.
    """
    k = d.shape[-1]
    share = shares(error)
    mean = np.sum(share * d, axis=-1, keepdims=True)
    q = np.sum(((d - mean) / error) ** 2, axis=-1)
    spread = np.sum((1 - share) ** 2 / df, axis=-1)
    f = q / (k - 1) / (1 + 2 * (k - 2) / (k * k - 1) * spread)
    return cast("FloatArray", special.fdtrc(k - 1, (k * k - 1) / (3 * spread), f))


def _no_weight(kept: Mapping[str, Comparison], metric: Metric) -> str:
    """Why these comparisons cannot be weighed against each other, "" when they can."""
    if metric.kind == "exact":
        other = [host for host, c in kept.items() if not c.identical]
        return f"the values differ on {some(other)}; an exact metric knows no better or worse"
    flat = [host for host, c in kept.items() if not (c.error > 0 and math.isfinite(c.error) and math.isfinite(c.d))]
    return f"the blocks of {some(flat)} have no spread to be weighed by" if flat else ""


def _combined(whole: Combined, kept: Mapping[str, Comparison], metric: Metric) -> Combined:
    d, error, robust, floor = (
        np.array([getattr(c, name) for c in kept.values()], dtype=np.float64)
        for name in ("d", "error", "d_robust", "floor")
    )
    df = np.array([c.n - 1 for c in kept.values()], dtype=np.float64)
    p = float(heterogeneity(d, error, df))
    whole = replace(whole, heterogeneity_p=p)
    # Opposite signs count as soon as both are clear, also where so few blocks leave p above the level.
    opposed = any(c.d_low > 0 for c in kept.values()) and any(c.d_high < 0 for c in kept.values())
    if opposed or not p >= LEVEL:
        return replace(whole, differ=(whole.hosts[int(np.argmin(d))], whole.hosts[int(np.argmax(d))]))
    share = shares(error)
    mean = float(np.sum(share * d))
    levels = next(iter(kept.values())).levels
    tails = (levels.different / 2, levels.equivalent)
    scores = [float(special.ndtri(1 - tail)) for tail in tails]
    wide, narrow = (interval(d, error, df, z) for z in scores)
    if not wide[0] <= mean <= wide[1]:
        return replace(whole, why_not="weighted mean and interval contradict each other: too few blocks to weigh by")
    p_zero = 2 * float(special.ndtr(-abs(float(score(d, error, df)))))
    rounding = float(np.sum(share * floor))
    return replace(
        whole,
        comparison=replace(
            _comparison(whole.comparison.n, mean, float(np.sum(share * robust)), p_zero, rounding, metric,
                        *_floored(mean, wide, scores[0] * rounding), *_floored(mean, narrow, scores[1] * rounding)),
            levels=levels,
        ),
    )  # fmt: skip


def _floored(d: float, ends: tuple[float, float], least: float) -> tuple[float, float]:
    """With the floor of rounding under the interval: it may fall the same way on every host, so it does not shrink."""
    return min(ends[0], d - least), max(ends[1], d + least)


def _comparison(n: int, d: float, robust: float, p: float, rounding: float, metric: Metric, low: float, high: float,
                low90: float, high90: float) -> Comparison:  # fmt: skip
    turn = sign(metric)
    ends = sorted((turn * low, turn * high))
    return Comparison(
        n=n,
        effect=as_shown(turn * d, metric),
        low=as_shown(ends[0], metric),
        high=as_shown(ends[1], metric),
        hodges_lehmann=as_shown(turn * robust, metric),
        p=max(p, 2 * float(special.ndtr(-abs(d) / rounding)) if rounding > 0 else 0.0),
        d=d,
        d_low=low,
        d_high=high,
        d_low90=low90,
        d_high90=high90,
        d_robust=robust,
        floor=rounding,
    )


def some(hosts: Sequence[str]) -> str:
    """The first three by name."""
    return ", ".join(hosts[:3]) + (" …" if len(hosts) > 3 else "")
