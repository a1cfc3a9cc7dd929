"""The levels of t tests that are repeated as blocks are added. Method and simulated error rates: docs/method.md.

One level at every look (Pocock, Biometrika 64, 1977), so that a look is as strict as any other. Pocock's own levels are
those of a known variance (five even looks: 0.0158); with few blocks the t statistics of two looks have less in common,
and would err in 5.3 %. So the level is the 5 % quantile of the least p of all looks, of simulated data without effect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from scipy import special

from bench.analysis.series import FloatArray

OVERALL = 0.05
# The overall error is met within 0.0003 (standard error); 0.3 s for five looks.
_RUNS = 400_000
_SEED = 1977


@dataclass(frozen=True)
class Levels:
    """Levels at each look. different: of the two-sided test. equivalent: of each of the two one-sided tests."""

    different: float
    equivalent: float


ONE_LOOK = Levels(OVERALL, OVERALL)


@cache
def levels(looks: tuple[int, ...]) -> Levels:
    """What keeps both errors at 5 % over all looks. looks: complete blocks at each, rising, 2 or more.

    ValueError: looks that do not rise, or none. The same looks have the same levels in every process.
    """
    if not looks or looks[0] < 2 or any(later <= earlier for earlier, later in pairwise(looks)):
        raise ValueError(f"looks {looks}: rising numbers of blocks, the first 2 or more")
    if len(looks) == 1:
        return ONE_LOOK
    lower, upper = least_tails(looks, np.random.default_rng(_SEED), _RUNS)
    different, equivalent = 2 * np.minimum(lower, upper), np.concatenate([lower, upper])
    return Levels(float(np.quantile(different, OVERALL)), float(np.quantile(equivalent, OVERALL)))


def least_tails(looks: Sequence[int], rng: np.random.Generator, runs: int) -> tuple[FloatArray, FloatArray]:
    """(runs,) each: the least lower and the least upper tail of the t statistic over the looks, where nothing is there.

    Draws no single blocks but what a look adds to the sum and to the sum of squared deviations of normal values.
    """
    total, squares, before = np.zeros(runs), np.zeros(runs), 0
    lower, upper = np.ones(runs), np.ones(runs)
    for blocks in looks:
        new = blocks - before
        added = rng.normal(0, math.sqrt(new), runs)
        squares += 2 * rng.standard_gamma((new - 1) / 2, runs)
        if before:
            squares += (added / new - total / before) ** 2 * (new * before / blocks)
        total += added
        tail = special.stdtr(blocks - 1, total / np.sqrt(squares * (blocks / (blocks - 1))))
        lower, upper, before = np.minimum(lower, tail), np.minimum(upper, 1 - tail), blocks
    return lower, upper
