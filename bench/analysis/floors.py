"""The noise floor of a host: the same arm against itself, and what a gate can see through that noise.

Of the differences of pairs d (bench.analysis.compare) of an A/A run: their standard deviation, the blocks that a change
of 1, 2, 5 and 10 % needs, the least margin that the planned blocks can carry, and the share of gates that would call it
worse. Formulas: docs/method.md.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from bench.analysis.blocks import Run, cells
from bench.analysis.compare import POWER, as_shown
from bench.analysis.entries import Entry, entries, reference_of
from bench.analysis.looks import Levels, levels
from bench.analysis.pairs import coarse, differences
from bench.analysis.resample import false_alarms
from bench.analysis.rules import rules_of, under_rules
from bench.analysis.tables import WIDTH, percent, text_table
from bench.analysis.values import Boot
from bench.analysis.verdict import inner_margin
from bench.wire.metric import Metric
from bench.wire.units import show

SHARES = (0.01, 0.02, 0.05, 0.10)
MOST_BLOCKS = 200
# The upper end of a one-sided 80 % interval of the standard deviation: what few blocks saw may be luck.
_SURE = 0.2
# Points of the chi square distribution of the variance, at which the power of two one-sided tests is averaged.
_POINTS = (np.arange(400) + 0.5) / 400


@dataclass(frozen=True)
class Noise:
    """Of one metric: sd of the differences of pairs on the inner scale, sure: the upper end of what it may be."""

    sd: float
    sure: float
    n: int


def floors(run: Run, boots: Sequence[Boot], looks: Sequence[int] = ()) -> dict[str, dict[str, Any]]:
    """host -> {"cells": cell -> metric -> figures, "false_alarms": …} of every arm that repeats another one.

    looks: of the gate that is planned for this host; the last one is the most blocks that it takes.
    """
    planned = tuple(looks) or (max(2, int(run.get("blocks") or 2)),)
    repeated = run.get("same_as") or {}
    found: dict[str, dict[str, Any]] = {}
    pairs = [entry for entry in entries(run, boots) if entry.arm in repeated]
    for host in dict.fromkeys(host for host, _ in cells(boots)):
        mine = [entry for entry in pairs if entry.cell[0] == host]
        by_cell: dict[str, dict[str, Any]] = {}
        for entry in mine:
            figures = figures_of(entry, planned)
            if figures:
                by_cell.setdefault(entry.cell[1], {})[entry.metric.name] = figures
        judged = [
            one.entry
            for one in under_rules(run, mine, [replace(rule, arm="*") for rule in rules_of(run)])
            if one.entry.blocking
        ]
        arms = sorted({(entry.arm, reference_of(run, entry.arm)) for entry in mine})
        found[host] = {
            "cells": by_cell,
            "looks": list(planned),
            "arms": [list(pair) for pair in arms],
            "false_alarms": false_alarms(judged, planned),
        }
    return found


def figures_of(entry: Entry, looks: Sequence[int]) -> dict[str, Any] | None:
    """One metric's noise and what can be seen through it; None where there are no pairs to tell it by."""
    metric, noise = entry.metric, noise_of(entry)
    if noise is None or metric.kind == "exact":
        return None
    at = levels(tuple(looks)) if len(looks) > 1 else levels((looks[0],))
    floor = coarse(entry)
    least = least_margin(noise.sure, floor, looks[-1], at)
    shown = {
        f"{100 * share:g} %": blocks_needed(noise.sd, floor, math.log1p(share), at)
        for share in SHARES
        if metric.kind == "ratio"
    }
    m = inner_margin(metric, entry.margin)
    return {
        "kind": metric.kind,
        "unit": metric.unit,
        "n": noise.n,
        "sd": _shown(noise.sd, metric),
        "sure": _shown(noise.sure, metric),
        "blocks": shown,
        "margin": entry.margin,
        "blocks_for_margin": blocks_needed(noise.sd, floor, m, at),
        "least_margin": None if least is None else _shown(least, metric),
    }


def _shown(value: float, metric: Metric) -> float:
    """A spread as a share for a ratio, in the metric's unit for a difference."""
    shown = as_shown(value, metric)
    return math.inf if shown is None else (shown - 1 if metric.kind == "ratio" else shown)


def noise_of(entry: Entry) -> Noise | None:
    """None for fewer than three pairs, or values that cannot be compared."""
    d = differences(entry)
    if d is None or len(d) < 3:
        return None
    sd = float(np.std(d, ddof=1))
    df = len(d) - 1
    return Noise(sd, sd * math.sqrt(df / float(special.chdtri(df, 1 - _SURE))), len(d))


def power_of_equivalence(sd: float, floor: float, margin: float, blocks: int, at: Levels) -> float:
    """Chance that two one-sided t tests show that there is no change, where there is none.

    P(|mean| + t·s/√n < margin), averaged over the distribution of s: the mean is normal and independent of it.
    """
    df = blocks - 1
    t = float(special.stdtrit(df, 1 - at.equivalent))
    variance = special.chdtri(df, 1 - _POINTS) / df
    error = np.maximum(sd * np.sqrt(variance / blocks), floor)
    room = margin - t * error
    true_error = sd / math.sqrt(blocks)
    if true_error == 0:
        return float(np.mean(room > 0))
    inside = np.where(room > 0, 2 * special.ndtr(np.maximum(room, 0) / true_error) - 1, 0.0)
    return float(np.mean(inside))


def blocks_needed(sd: float, floor: float, margin: float, at: Levels) -> int | None:
    """The fewest blocks that show with 80 % power that nothing changed by `margin` (inner scale); None for too many."""
    low, high = 2, MOST_BLOCKS
    if power_of_equivalence(sd, floor, margin, high, at) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        if power_of_equivalence(sd, floor, margin, middle, at) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low


def least_margin(sd: float, floor: float, blocks: int, at: Levels) -> float | None:
    """The smallest margin (inner scale) that so many blocks can carry with 80 % power; None beyond any sense."""
    low, high = 0.0, 3.0 * max(sd, floor, 1e-12)
    for _ in range(60):
        if power_of_equivalence(sd, floor, high, blocks, at) >= POWER:
            break
        high *= 2
    else:
        return None
    for _ in range(50):
        middle = (low + high) / 2
        if power_of_equivalence(sd, floor, middle, blocks, at) >= POWER:
            high = middle
        else:
            low = middle
    return high


def table(found: dict[str, dict[str, Any]], names: Sequence[str], title: str) -> str:
    """The floor of each host as text: metrics of the gate first (names), then what the gate itself would get wrong."""
    parts = []
    for host, floor in found.items():
        rows = [
            [metric, *_cells(figures)]
            for cell in floor["cells"].values()
            for metric, figures in sorted(cell.items(), key=lambda item: _rank(item[0], names))
        ]
        head = ("metric", "sd", "at most", *(f"{100 * share:g} %" for share in SHARES), "least", "margin", "gates")
        parts.append("\n".join([f"{host}: {title}", *text_table(head, rows), *_alarms_said(floor)]))
    return "\n\n".join(parts) + "\n"


def _rank(metric: str, names: Sequence[str]) -> tuple[int, str]:
    return (list(names).index(metric) if metric in names else len(names)), metric


def _cells(figures: dict[str, Any]) -> list[str]:
    blocks = [str(figures["blocks"].get(f"{100 * share:g} %") or "-") for share in SHARES]
    least, margin = figures["least_margin"], figures["margin"]
    gates = "yes" if least is not None and least <= margin else "no"
    first, rest = (
        [spread_of(value, figures) for value in values]
        for values in ((figures["sd"], figures["sure"]), (least, margin))
    )
    return [*first, *blocks, *rest, gates]


def spread_of(value: float | None, figures: dict[str, Any]) -> str:
    """A spread or a margin as text; a dash for one that there is none of."""
    if value is None or not math.isfinite(value):
        return "–"
    return percent(value) if figures["kind"] == "ratio" else show(value, figures["unit"])


def _alarms_said(floor: dict[str, Any]) -> list[str]:
    alarms = floor["false_alarms"]
    looks = ", ".join(map(str, floor["looks"]))
    if not alarms["runs"]:
        return ["too few blocks to tell how often a gate would be wrong"]
    once, twice = (100 * alarms[key] / alarms["runs"] for key in ("once", "twice"))
    said = f"looks at {looks} blocks; of {alarms['runs']} gates drawn from these blocks {once:.2g} % call the same arm"
    return textwrap.wrap(f"{said} worse, {twice:.2g} % again with fresh boots", WIDTH)
