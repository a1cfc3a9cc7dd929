"""Curves made small for a drawing, with their extremes kept: a spike of one sample is still there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.analysis.series import Curve, FloatArray

# First, lowest, highest and last sample of each part.
_KEPT = 4


@dataclass(frozen=True)
class Envelope:
    """Several boots on one time grid: arrays of shape (n,) over the n parts between n + 1 edges.

    t: middle of each part, s. low, high: the extremes of all samples in it. median: over the boots, of the value that
    each holds at the part's end. boots: how many have any. All but t and boots are NaN where no boot has a sample.
    """

    t: FloatArray
    low: FloatArray
    median: FloatArray
    high: FloatArray
    boots: FloatArray


def reduced(curve: Curve, start_s: float, end_s: float, parts: int) -> Curve:
    """The curve with at most four samples in each of `parts` equal stretches of [start_s, end_s]."""
    if len(curve) <= _KEPT * parts or end_s <= start_s:
        return curve
    place = _places(curve.t, start_s, end_s, parts)
    # By part, and in it by value: the ends of each run are its extremes. `lexsort` sorts by the last key first.
    by_value = np.lexsort((curve.v, place))
    first = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    last = np.r_[first[1:], len(place)] - 1
    kept = np.unique(np.concatenate((first, last, by_value[first], by_value[last])))
    return Curve(curve.t[kept], curve.v[kept])


def envelope(boots: Sequence[Curve], start_s: float, end_s: float, parts: int) -> Envelope:
    """All boots together. A boot counts in a part between its first sample and its last; it holds its value between."""
    edges = np.linspace(start_s, end_s, parts + 1)
    low, high, held = (np.full((len(boots), parts), np.nan) for _ in range(3))
    for row, curve in enumerate(boots):
        held[row] = curve.on(edges[1:])
        _extremes(curve, edges, low[row], high[row])
    low, high = np.fmin(low, held), np.fmax(high, held)
    seen = np.isfinite(held)
    return Envelope(
        (edges[:-1] + edges[1:]) / 2,
        _over(np.nanmin, low),
        _over(np.nanmedian, np.where(seen, held, np.nan)),
        _over(np.nanmax, high),
        np.sum(seen, axis=0).astype(np.float64),
    )


def _places(t: FloatArray, start_s: float, end_s: float, parts: int) -> FloatArray:
    return np.clip(((t - start_s) / (end_s - start_s) * parts).astype(np.int64), 0, parts - 1)


def _extremes(curve: Curve, edges: FloatArray, low: FloatArray, high: FloatArray) -> None:
    """Writes lowest and highest sample of each part that has one."""
    inside = curve.between(float(edges[0]), float(edges[-1]))
    if not len(inside):
        return
    place = _places(inside.t, float(edges[0]), float(edges[-1]), len(low))
    first = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
    low[place[first]] = np.minimum.reduceat(inside.v, first)
    high[place[first]] = np.maximum.reduceat(inside.v, first)


def _over(how: Callable[..., Any], table: FloatArray) -> FloatArray:
    """A nan-function over the boots; NaN, without a warning, where no boot has a value."""
    result = np.full(table.shape[1], np.nan)
    some = np.isfinite(table).any(axis=0)
    if some.any():
        result[some] = how(table[:, some], axis=0)
    return result
