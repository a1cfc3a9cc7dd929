"""The differences of one comparison, block by block, and how coarse they are: what noise is told by."""

from __future__ import annotations

import numpy as np

from bench.analysis.compare import resolution_floor
from bench.analysis.entries import Entry
from bench.analysis.series import FloatArray


def sides(entry: Entry) -> tuple[FloatArray, FloatArray]:
    """(reference, arm) of the blocks in which both have a value."""
    both = zip(entry.reference_blocks, entry.arm_blocks, strict=True)
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    a, b = (np.array([pair[side] for pair in pairs], dtype=np.float64) for side in (0, 1))
    return a, b


def differences(entry: Entry) -> FloatArray | None:
    """d of each block on the inner scale, without its sign's meaning; None where there is no comparison."""
    a, b = sides(entry)
    if entry.comparison.problem or not len(a):
        return None
    return np.asarray(np.log(b) - np.log(a) if entry.metric.kind == "ratio" else b - a, dtype=np.float64)


def coarse(entry: Entry) -> float:
    """The least standard error that the metric's resolution leaves, on the inner scale."""
    return resolution_floor(*sides(entry), entry.metric)
