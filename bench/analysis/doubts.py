"""Warnings as values: what makes a result doubtful, with advice. Nothing here prints, nothing here decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

# Two clusters: the empty stretch is wider than max(2, 40/n) standard deviations inside the groups. Simulated: about 1 %
# false alarms on normal data of 6 to 30 values, groups 8 sd apart found in 6 to 9 of 10 (test_analysis_doubts.py).
_EMPTY_LEAST, _EMPTY_TIMES_N = 2.0, 40.0
_FEW_VALUES = 6
_LEVEL = 0.01
_TINY = 1e-20


@dataclass(frozen=True)
class Doubt:
    """One warning: a code for programs, a sentence with advice for people."""

    code: str
    text: str


def two_clusters(values: Sequence[float]) -> tuple[list[float], list[float]] | None:
    """Two groups of the values with a wide empty stretch between them, or None. A simple check, not a test.

    Each group must hold at least a quarter of the values (and two): one stray boot is an outlier, not a second mode.
    """
    ordered = np.sort(np.asarray([value for value in values if np.isfinite(value)], dtype=np.float64))
    n = len(ordered)
    least = max(2, -(-n // 4))
    if n < _FEW_VALUES or ordered[-1] == ordered[0]:
        return None
    gaps = np.diff(ordered)[least - 1 : n - least]
    cut = int(np.argmax(gaps)) + least
    low, high = ordered[:cut], ordered[cut:]
    inside = float(np.sqrt((np.sum((low - low.mean()) ** 2) + np.sum((high - high.mean()) ** 2)) / (n - 2)))
    if gaps[cut - least] <= max(_EMPTY_LEAST, _EMPTY_TIMES_N / n) * inside:
        return None
    return [float(value) for value in low], [float(value) for value in high]


def depends_on(values: Sequence[float], position: Sequence[float]) -> float | None:
    """p of a straight line of the values over a position (order inside the block, number of the block).

    Student's t of Pearson's r with n - 2 degrees of freedom, as scipy.stats.linregress has it: importing that takes
    two seconds. None where it cannot be told: fewer than six values, all alike, or all in one place.
    """
    v, x = np.asarray(values, dtype=np.float64), np.asarray(position, dtype=np.float64)
    if len(v) < _FEW_VALUES or not np.isfinite(v).all() or np.ptp(x) == 0 or np.ptp(v) <= 1e-12 * np.max(np.abs(v)):
        return None
    x, v = x - x.mean(), v - v.mean()
    r = float(np.clip((x @ v) / np.sqrt((x @ x) * (v @ v)), -1, 1))
    df = len(v) - 2
    # A perfect line has p = 0, not a division by zero.
    t = r * np.sqrt(df / ((1 - r + _TINY) * (1 + r + _TINY)))
    p = float(2 * special.stdtr(df, -abs(t)))
    return p if np.isfinite(p) else None


def is_clear(p: float | None) -> bool:
    """Whether a side effect is worth a warning: p below 1 %, since several metrics are looked at."""
    return p is not None and p < _LEVEL


def few_blocks(n: int, where: str) -> Doubt:
    """n complete blocks are too few for more than large effects."""
    floor = f"{2 / 2**n:.2g}" if n else "1"
    return Doubt(
        "few-blocks",
        f"{where}: {n} complete blocks; an exact sign-flip test could not go below p = {floor}, and an interval from "
        "so few is wide. Only large effects can be seen: run 10 or more (--blocks 10).",
    )


def order_effect(metric: str, where: str, p: float) -> Doubt:
    return Doubt(
        "order-effect",
        f"{where}: {metric} depends on the position inside the block (p = {p:.2g}). Something is left behind by the "
        "boot before: free the host's caches, or wait longer between boots.",
    )


def drift(metric: str, where: str, p: float) -> Doubt:
    return Doubt(
        "drift",
        f"{where}: {metric} moved during the run (p = {p:.2g} over the blocks). Pairs inside a block take most of it "
        "out; look for heat, other load or growing swap use.",
    )


def bimodal(metric: str, where: str, low: Sequence[float], high: Sequence[float], shown: str) -> Doubt:
    return Doubt(
        "bimodal",
        f"{where}: {metric} falls into two groups ({len(low)} boots and {len(high)} boots, {shown}). Neither a mean "
        "nor a median describes both: look at the boots one by one.",
    )


def robust_and_mean(metric: str, where: str) -> Doubt:
    return Doubt(
        "robust-disagrees",
        f"{where}: for {metric} the mean and the Hodges-Lehmann estimate differ by more than half the margin, so the "
        "verdict is held at undecided. One or two blocks carry the effect: look at them, or run more blocks.",
    )


def unsettled(where: str, boots: Sequence[str]) -> Doubt:
    names = _some(boots)
    return Doubt(
        "unsettled",
        f"{where}: residency had not come to rest at the end of the settle phase in {len(boots)} boots ({names}). "
        "residual_bytes is then too high there: give the workload a longer settle (max_s).",
    )


def emulated() -> Doubt:
    return Doubt(
        "emulated",
        "The guests ran under software emulation (TCG). Bytes and counts are real; the figures that carry a mark are "
        "times of an emulated CPU and say nothing about hardware.",
    )


def retries(boots: Sequence[str]) -> Doubt:
    names = _some(boots)
    return Doubt(
        "retries",
        f"{len(boots)} boots were repeated after a failure ({names}). A repeated boot is no longer back to back with "
        "its block; if one arm fails more often than another, that is a result in itself.",
    )


def not_usable(status: str, boots: Sequence[str]) -> Doubt:
    names = _some(boots)
    return Doubt(
        f"{status}-boots",
        f"{len(boots)} boots are {status} and count in no comparison ({names}). "
        "Their evidence is in boots.jsonl and log/.",
    )


def changed_files(host: str, arm: str, what: str, count: int) -> Doubt:
    return Doubt(
        "files-changed",
        f"{host}: the boots of arm {arm} ran {count} different {what}; the file was replaced during the run. "
        "Its figures are of more than one configuration: run it again.",
    )


def no_block(host: str, cell: str) -> Doubt:
    return Doubt(
        "host-missing",
        f"{host}: no complete block{f' of {cell}' if cell else ''}, so that host is in no comparison. "
        "`bench run --resume` runs what is left once the host is back.",
    )


def hosts_differ(metric: str, where: str, why: str) -> Doubt:
    return Doubt(
        "hosts-differ",
        f"{where}: {metric} has no combined verdict, {why}. Read the hosts one by one, and compare their facts.",
    )


def one_sided(metric: str, where: str, missing: str) -> Doubt:
    return Doubt("not-measured", f"{where}: {metric} is a blocking metric, but has no value in arm {missing}.")


def _some(boots: Sequence[str]) -> str:
    """The first three by name."""
    return ", ".join(boots[:3]) + (" …" if len(boots) > 3 else "")


def skipped(arm: str, where: str, reason: str) -> Doubt:
    """An arm that a host, its kernel or its QEMU can do nothing with: no loss, and no result either."""
    return Doubt("skipped", f"{where}: arm {arm} was skipped: {reason}")
