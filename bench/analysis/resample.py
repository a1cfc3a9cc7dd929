"""How often a gate would call the same arm worse: gates made of the blocks of an A/A run, drawn again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from bench.analysis.entries import Entry
from bench.analysis.looks import levels
from bench.analysis.pairs import coarse, differences
from bench.analysis.series import FloatArray
from bench.analysis.verdict import inner_margin

RUNS, _SEED = 4000, 1977


def false_alarms(judged: Sequence[Entry], looks: Sequence[int]) -> dict[str, Any]:
    """How many of so many gates made of these blocks would call the same arm worse: once, and again with fresh boots.

    Blocks are drawn with replacement, all metrics of one together; in each, at random, the two arms change places, so
    that nothing is there to be found. Drawn spreads are too small by (n - 1)/n, which is put back.
    """
    known = [(entry, d) for entry in judged if (d := differences(entry)) is not None and len(d) == len(entry.blocks)]
    if not known or min(len(d) for _, d in known) < 3:
        return {"runs": 0, "once": None, "twice": None}
    groups: dict[tuple[str, str, str], list[tuple[Entry, FloatArray]]] = {}
    for entry, d in known:
        groups.setdefault((*entry.cell, entry.arm), []).append((entry, d))
    rng = np.random.default_rng(_SEED)
    first, second = (_alarms(list(groups.values()), looks, rng) for _ in range(2))
    both = int(np.sum(np.any(first & second, axis=1)))
    return {"runs": RUNS, "once": int(np.sum(np.any(first, axis=1))), "twice": both}


def _alarms(groups: Sequence[Sequence[tuple[Entry, FloatArray]]], looks: Sequence[int], rng: Any) -> Any:
    """(runs, metrics) of bool: what a simulated gate called worse at any of its looks."""
    drawn, margins, floors = [], [], []
    for group in groups:
        n = len(group[0][1])
        picks = rng.integers(0, n, (RUNS, looks[-1]))
        signs = rng.choice([-1.0, 1.0], (RUNS, looks[-1]))
        for entry, d in group:
            drawn.append(d[picks] * signs * math.sqrt(n / (n - 1)))
            margins.append(inner_margin(entry.metric, entry.margin))
            floors.append(coarse(entry))
    at = levels(tuple(looks)) if len(looks) > 1 else levels((looks[0],))
    found = np.zeros((RUNS, len(drawn)), dtype=bool)
    for look in looks:
        mean = np.stack([values[:, :look].mean(axis=1) for values in drawn], axis=1)
        error = np.stack([values[:, :look].std(axis=1, ddof=1) / math.sqrt(look) for values in drawn], axis=1)
        error = np.maximum(np.maximum(error, np.array(floors)), 1e-300)
        p = 2 * special.stdtr(look - 1, -np.abs(mean / error))
        found |= (_holm(p) < at.different) & (mean >= np.array(margins))
    return found


def _holm(p: FloatArray) -> FloatArray:
    """Holm's adjustment along the last axis."""
    order = np.argsort(p, axis=1)
    ranked = np.take_along_axis(p, order, axis=1) * (p.shape[1] - np.arange(p.shape[1]))
    stepped = np.minimum(np.maximum.accumulate(ranked, axis=1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, stepped, axis=1)
    return result
