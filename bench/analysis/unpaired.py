"""One arm in two runs made at different times, compared without pairs: Welch's t (Biometrika 34, 1947) over boots.

Two runs share nothing of the host's state, so that what drifted between them is part of the difference: a verdict here
is weaker than one on arms of one run, and is labelled "unpaired" wherever it is shown. Formulas: docs/method.md.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from bench.analysis import compare as paired
from bench.analysis.compare import Comparison, as_shown, sign
from bench.analysis.entries import adjusted, least_blocks
from bench.analysis.fingerprint import Side, groups
from bench.analysis.kinds import workload_of
from bench.analysis.series import FloatArray
from bench.analysis.summary import boot_value
from bench.analysis.values import Boot, number
from bench.analysis.verdict import Verdict, decide, default_margin
from bench.wire.metrics import Metric, metrics_of

LABEL = "unpaired"
SCHEMA = 1


@dataclass(frozen=True)
class Welch:
    """`comparison`: n is that of the smaller side. detectable: the smallest effect that such boots show with 80 %
    power, on the shown scale, in the direction of more; None where there is no interval."""

    comparison: Comparison
    n_base: int
    n_head: int
    detectable: float | None = None


def welch(base: Sequence[float | None], head: Sequence[float | None], metric: Metric) -> Welch:
    """Two independent samples of boots; a None was not measured and is left out. Never raises for data."""
    a, b = (np.array([v for v in values if v is not None], dtype=np.float64) for values in (base, head))
    with np.errstate(all="ignore"):
        return _welch(a, b, metric)


def judge(found: Welch, metric: Metric, margin: float, p_holm: float | None, least: int) -> Verdict:
    """Exactly one word, by the rules of paired verdicts; the reasons speak of boots."""
    comparison = found.comparison
    if comparison.problem:
        return Verdict("invalid", comparison.problem)
    if comparison.n < least:
        return Verdict("invalid", f"{comparison.n} of at least {least} boots in the run that has fewer")
    if comparison.identical:
        return Verdict("equivalent", "the same value in every boot of both runs")
    if comparison.constant and metric.kind != "exact":
        return Verdict("undecided", "no boot differs from others of its run, and there is no spread to judge by")
    return decide(comparison, metric, margin, p_holm, least)


def against(base: Side, head: Side) -> dict[str, Any]:
    """Every metric of every arm that both runs have, as plain JSON; margins and families are those of `head`'s plan.

    The caller has made sure that the fingerprints agree.
    """
    first, second = groups(base), groups(head)
    arms = [group for group in first if group in second]
    items = [
        (group, metric, _values(first[group], metric), _values(second[group], metric))
        for group in arms
        for metric in metrics_of(workload_of(second[group][0]))
    ]
    items = [item for item in items if any(value is not None for value in (*item[2], *item[3]))]
    found = [welch(a, b, metric) for _, metric, a, b in items]
    rules = head.run.get("metrics") or {}
    blocking = [metric.name in rules and bool(rules[metric.name].get("blocking", True)) for _, metric, _, _ in items]
    p_values = adjusted([one.comparison.p for one in found], blocking)
    rows = []
    for (group, metric, a, b), one, is_blocking, p_holm in zip(items, found, blocking, p_values, strict=True):
        margin = number((rules.get(metric.name) or {}).get("margin"))
        margin = default_margin(metric) if margin is None else margin
        verdict = judge(one, metric, margin, p_holm, least_blocks(head.run))
        facts = {"margin": margin, "blocking": is_blocking, "p_holm": p_holm, "base_boots": a, "head_boots": b}
        rows.append({**dict(zip(("host", "cell", "arm"), group, strict=True)), **_row(metric, one, verdict), **facts})
    return {
        "schema": SCHEMA,
        "design": LABEL,
        "base": base.name,
        "head": head.name,
        "accel": head.run.get("accel"),
        "only_base": ["/".join(group) for group in first if group not in second],
        "only_head": ["/".join(group) for group in second if group not in first],
        "metrics": rows,
    }


def _row(metric: Metric, one: Welch, verdict: Verdict) -> dict[str, Any]:
    comparison = one.comparison
    return {
        "metric": metric.name,
        "unit": metric.unit,
        "kind": metric.kind,
        "direction": metric.direction,
        "time_like": metric.time_like,
        "effect": comparison.effect,
        "low": comparison.low,
        "high": comparison.high,
        "hodges_lehmann": comparison.hodges_lehmann,
        "detectable": one.detectable,
        "p": comparison.p,
        "n_base": one.n_base,
        "n_head": one.n_head,
        "design": LABEL,
        "verdict": verdict.word,
        "why": verdict.why,
    }


def _values(boots: Sequence[Boot], metric: Metric) -> list[float | None]:
    return [boot_value((boot.get("values") or {}).get(metric.name) or []) for boot in boots]


def median(values: Sequence[float | None]) -> float | None:
    """Of those that were measured; None if none was."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _welch(a: FloatArray, b: FloatArray, metric: Metric) -> Welch:
    def none(problem: str) -> Welch:
        return Welch(Comparison(min(len(a), len(b)), problem), len(a), len(b))

    problem = _problem(a, b, metric)
    if problem:
        return none(problem)
    x, y = (np.log(a), np.log(b)) if metric.kind == "ratio" else (a, b)
    floor = paired.resolution_floor(a, b, metric)
    if len(set(a.tolist() + b.tolist())) == 1:
        return Welch(paired.identical(min(len(a), len(b)), floor, metric), len(a), len(b))
    shifts = np.subtract.outer(y, x)
    mean, robust = float(np.mean(y) - np.mean(x)), float(np.median(shifts))
    if metric.kind == "exact" or min(len(a), len(b)) < 2:
        return Welch(_without_spread(a, b, mean, robust, metric), len(a), len(b))
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (x, y)]
    error = math.sqrt(sum(parts))
    noise = paired.ROUNDING * max(1.0, float(np.max(np.abs(np.concatenate((x, y))))))
    if not math.isfinite(max(error, floor, abs(mean))):
        return none(paired.TOO_LARGE)
    if error <= noise and floor <= noise:
        return Welch(_without_spread(a, b, mean, robust, metric), len(a), len(b))
    return _interval(mean, robust, max(error, floor), floor, _freedom(parts, len(a), len(b)), (len(a), len(b)), metric)


def _freedom(parts: Sequence[float], n_base: int, n_head: int) -> float:
    """Welch and Satterthwaite's; of the smaller side where no variance is seen."""
    largest = max(parts)
    if largest <= 0:
        return min(n_base, n_head) - 1
    # As shares of the larger one: squares of small variances vanish.
    u, v = (part / largest for part in parts)
    return (u + v) ** 2 / (u**2 / (n_base - 1) + v**2 / (n_head - 1))


def _interval(
    mean: float, robust: float, error: float, floor: float, df: float, sizes: tuple[int, int], metric: Metric
) -> Welch:
    half95, half90 = (float(special.stdtrit(df, q)) * error for q in (0.975, 0.95))
    d = sign(metric) * mean
    comparison = Comparison(
        n=min(sizes),
        effect=as_shown(mean, metric),
        low=as_shown(mean - half95, metric),
        high=as_shown(mean + half95, metric),
        hodges_lehmann=as_shown(robust, metric),
        p=float(2 * special.stdtr(df, -abs(mean) / error)),
        d=d,
        d_low=d - half95,
        d_high=d + half95,
        d_low90=d - half90,
        d_high90=d + half90,
        d_robust=sign(metric) * robust,
        error=error,
        floor=floor,
    )
    return Welch(comparison, *sizes, paired.detectable(error, df, metric))


def _without_spread(a: FloatArray, b: FloatArray, mean: float, robust: float, metric: Metric) -> Comparison:
    return Comparison(
        n=min(len(a), len(b)),
        constant=True,
        effect=as_shown(mean, metric),
        hodges_lehmann=as_shown(robust, metric),
        d=sign(metric) * mean,
        d_robust=sign(metric) * robust,
    )


def _problem(a: FloatArray, b: FloatArray, metric: Metric) -> str:
    if not (len(a) and len(b)):
        return f"no boot of {'either run' if not len(a) and not len(b) else 'one run'} has a value"
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return "a value is not finite"
    if metric.kind == "ratio" and not ((a > 0).all() and (b > 0).all()):
        return "a ratio needs values above zero"
    if not np.isfinite(np.subtract.outer(b, a)).all():
        return paired.TOO_LARGE
    return ""
