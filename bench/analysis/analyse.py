"""A whole run: every comparison and verdict, every warning, and the headline, as plain JSON values.

Order: boots -> complete blocks -> paired comparisons -> Holm over a family -> verdicts -> warnings -> headline.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.analysis import headline, suspicion
from bench.analysis.blocks import Cell, Run, by_block, cells, chosen, complete_blocks
from bench.analysis.compare import Comparison, compare
from bench.analysis.values import Boot, number
from bench.analysis.verdict import Verdict, decide, default_margin, holm
from bench.wire.metrics import METRICS, Metric

SCHEMA = 1
DEFAULT_MIN_BLOCKS = 3


@dataclass(frozen=True)
class Entry:
    """One metric of one pair of arms, before its family is known."""

    cell: Cell
    arm: str
    metric: Metric
    margin: float
    blocking: bool
    comparison: Comparison
    reference_blocks: list[float | None]
    arm_blocks: list[float | None]


def analyse(run: Run, boots: Sequence[Boot]) -> dict[str, Any]:
    """The content of analysis.json from run.json and the lines of boots.jsonl. Pure; no NaN, None instead.

    run["metrics"] names the blocking metrics (unless "blocking" is false there) with their margins; the first one is
    the headline. All others of METRICS are compared too, with default margins, as a family of their own.
    """
    entries = [entry for cell in cells(boots) for arm in _other_arms(run) for entry in _entries(run, boots, cell, arm)]
    verdicts = _verdicts(run, entries)
    adjusted = _adjusted(entries)
    found: list[dict[str, Any]] = []
    for cell in cells(boots):
        blocks = complete_blocks(run, boots, cell)
        for arm in _other_arms(run):
            mine = [i for i, entry in enumerate(entries) if (entry.cell, entry.arm) == (cell, arm)]
            shown = [_shown(entries[i], verdicts[i], adjusted[i]) for i in mine]
            found.append(_cell(run, cell, arm, blocks, shown))
    doubts = suspicion.of_run(run, boots, found)
    result = {
        "schema": SCHEMA,
        "accel": run.get("accel"),
        "marked": marked(run.get("accel")),
        "cells": found,
        "warnings": [asdict(doubt) for doubt in doubts],
        "invalid_boots": _boots_that_are("invalid", boots),
        "failed_boots": _boots_that_are("failed", boots),
        "verdict": headline.of_cells(found, run, boots),
    }
    return {name: _plain(value) for name, value in result.items()}


def marked(accel: Any) -> list[str]:
    """Names of the metrics that are figures of an emulated CPU; none on hardware."""
    return [metric.name for metric in METRICS.values() if metric.time_like] if accel != "kvm" else []


def _other_arms(run: Run) -> list[str]:
    return [str(arm) for arm in run["arms"] if arm != run["reference"]]


def _entries(run: Run, boots: Sequence[Boot], cell: Cell, arm: str) -> list[Entry]:
    good, blocks = chosen(boots, run.get("accel")), complete_blocks(run, boots, cell)
    found = []
    for metric in METRICS.values():
        rule = (run.get("metrics") or {}).get(metric.name)
        margin = number((rule or {}).get("margin"))
        a, b = (by_block(good, cell, name, blocks, metric.name) for name in (str(run["reference"]), arm))
        found.append(
            Entry(
                cell,
                arm,
                metric,
                default_margin(metric) if margin is None else margin,
                rule is not None and bool(rule.get("blocking", True)),
                compare(a, b, metric),
                a,
                b,
            )
        )
    return found


def _adjusted(entries: Sequence[Entry]) -> list[float | None]:
    """Holm over the blocking family of the whole run, and apart from it over all other metrics."""
    adjusted: list[float | None] = [None] * len(entries)
    for blocking in (True, False):
        family = [i for i, entry in enumerate(entries) if entry.blocking == blocking]
        for i, p in zip(family, holm([entries[i].comparison.p for i in family]), strict=True):
            adjusted[i] = p
    return adjusted


def _verdicts(run: Run, entries: Sequence[Entry]) -> list[Verdict]:
    least = max(2, int(run.get("min_blocks") or DEFAULT_MIN_BLOCKS))
    return [
        decide(entry.comparison, entry.metric, entry.margin, p, least)
        for entry, p in zip(entries, _adjusted(entries), strict=True)
    ]


def _cell(run: Run, cell: Cell, arm: str, blocks: list[int], metrics: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "host": cell[0],
        "cell": cell[1],
        "reference": run["reference"],
        "arm": arm,
        "blocks": run.get("blocks", len(blocks)),
        "complete_blocks": blocks,
        "metrics": metrics,
    }


def _shown(entry: Entry, verdict: Verdict, p_holm: float | None) -> dict[str, Any]:
    metric, comparison = entry.metric, entry.comparison
    return {
        "metric": metric.name,
        "unit": metric.unit,
        "kind": metric.kind,
        "direction": metric.direction,
        "margin": entry.margin,
        "reference_value": _median(entry.reference_blocks),
        "value": _median(entry.arm_blocks),
        "effect": comparison.effect,
        "low": comparison.low,
        "high": comparison.high,
        "p": comparison.p,
        "p_holm": p_holm,
        "n": comparison.n,
        "verdict": verdict.word,
        "why": _why(entry, verdict),
        "capped": verdict.capped,
        "hodges_lehmann": comparison.hodges_lehmann,
        "time_like": metric.time_like,
        "blocking": entry.blocking,
        "reference_blocks": entry.reference_blocks,
        "arm_blocks": entry.arm_blocks,
    }


def _why(entry: Entry, verdict: Verdict) -> str:
    """For a pair that one arm cannot give (no time to return where nothing returns) the arm is named."""
    if entry.comparison.n == 0 and entry.reference_blocks:
        sides = (("the reference", entry.reference_blocks), (f"arm {entry.arm}", entry.arm_blocks))
        without = [name for name, values in sides if all(value is None for value in values)]
        if without:
            return f"no value in {' or in '.join(without)}"
    return verdict.why


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _boots_that_are(status: str, boots: Sequence[Boot]) -> list[dict[str, Any]]:
    return [{"boot": b["boot"], "reason": b.get("reason", "")} for b in boots if b.get("status") == status]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
