"""A whole run: every comparison and verdict, every warning, and the headline, as plain JSON values.

Order: boots -> complete blocks -> paired comparisons -> Holm over a family -> verdicts -> all hosts combined ->
warnings -> headline.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Container, Sequence
from dataclasses import asdict
from typing import Any

from bench.analysis import headline, suspicion
from bench.analysis.across import over_hosts
from bench.analysis.blocks import Cell, Run
from bench.analysis.compare import as_shown, detectable
from bench.analysis.controls import controls
from bench.analysis.entries import Entry, adjusted, entries, least_blocks, reference_of
from bench.analysis.pareto import fronts
from bench.analysis.values import Boot
from bench.analysis.verdict import Verdict, decide
from bench.wire.metrics import METRICS
from bench.wire.record import OUT_OF_MEMORY

SCHEMA = 1
# Of a float that is no whole number. Processors differ in the last of its 16 or 17 digits, which a difference of two
# that are nearly alike brings to the front; and an analysis that is made again has to be the same bytes.
DIGITS = 9


def analyse(run: Run, boots: Sequence[Boot]) -> dict[str, Any]:
    """The content of analysis.json from run.json and the lines of boots.jsonl. Pure; no NaN, None instead.

    run["metrics"] names the blocking metrics (unless "blocking" is false there) with their margins; the first one is
    the headline. All others of METRICS are compared too, with default margins, as a family of their own.
    """
    every = entries(run, boots)
    found, combined = by_host(run, boots, every), over_hosts(run, every)
    doubts = suspicion.of_run(run, boots, found, combined)
    result = {
        "schema": SCHEMA,
        "accel": run.get("accel"),
        "marked": marked(run.get("accel"), {metric["metric"] for cell in found for metric in cell["metrics"]}),
        "cells": found,
        "combined": combined,
        "warnings": [asdict(doubt) for doubt in doubts],
        "invalid_boots": _boots_that_are("invalid", boots),
        "failed_boots": _boots_that_are("failed", boots),
        "skipped": _skipped(boots),
        "controls": controls(boots),
        "pareto": fronts(run, boots),
        "out_of_memory": _out_of_memory(boots),
        "verdict": headline.of_run(found, combined, run, boots),
    }
    return {name: _plain(value) for name, value in result.items()}


def marked(accel: Any, compared: Container[str]) -> list[str]:
    """Names of the metrics among `compared` that are figures of an emulated CPU; none on hardware."""
    times = [metric.name for metric in METRICS.values() if metric.time_like and metric.name in compared]
    return times if accel != "kvm" else []


def by_host(run: Run, boots: Sequence[Boot], every: Sequence[Entry]) -> list[dict[str, Any]]:
    """One item a host, cell and arm, with its metrics."""
    p_values = adjusted([entry.comparison.p for entry in every], [entry.blocking for entry in every])
    metrics: dict[tuple[Cell, str], list[dict[str, Any]]] = {}
    blocks: dict[tuple[Cell, str], list[int]] = {}
    for entry, p_holm in zip(every, p_values, strict=True):
        verdict = decide(entry.comparison, entry.metric, entry.margin, p_holm, least_blocks(run))
        metrics.setdefault((entry.cell, entry.arm), []).append(_shown(entry, verdict, p_holm))
        blocks[(entry.cell, entry.arm)] = entry.blocks
    return [_cell(run, boots, cell, arm, blocks[(cell, arm)], shown) for (cell, arm), shown in metrics.items()]


def planned(run: Run, boots: Sequence[Boot], cell: Cell, complete: Sequence[int]) -> int:
    """The blocks that a cell should have: the plan's, or those that were begun where a run may end sooner."""
    if run.get("looks") or run.get("budget_s") is not None:
        return max((int(boot["block"]) for boot in boots if (boot["host"], boot["cell"]) == cell), default=0)
    return int(run.get("blocks", len(complete)))


def _cell(
    run: Run, boots: Sequence[Boot], cell: Cell, arm: str, blocks: list[int], metrics: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "host": cell[0],
        "cell": cell[1],
        "reference": reference_of(run, arm),
        "arm": arm,
        "blocks": planned(run, boots, cell, blocks),
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
        "detectable": detectable(comparison.error, comparison.n - 1, metric, comparison.levels.different),
        **_percent(comparison.percent),
        "noise": _noise(entry),
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


def _noise(entry: Entry) -> float | None:
    """Standard deviation of the differences of pairs: a share for a ratio, else in the metric's unit."""
    spread = as_shown(entry.comparison.error * math.sqrt(entry.comparison.n), entry.metric)
    if spread is None or not math.isfinite(spread):
        return None
    return spread - 1 if entry.metric.kind == "ratio" else spread


def _percent(percent: float) -> dict[str, float]:
    """Of the interval, where it is not the usual 95."""
    return {} if percent == 95 else {"percent": percent}


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


def _skipped(boots: Sequence[Boot]) -> list[dict[str, Any]]:
    """What a host, a kernel or a QEMU could not do, once for each arm of a cell."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for boot in boots:
        if boot.get("status") == "skipped":
            key = (str(boot["host"]), str(boot["cell"]), str(boot["arm"]))
            first = dict(zip(("host", "cell", "arm"), key, strict=True))
            found.setdefault(key, {**first, "reason": boot.get("reason", ""), "boots": 0})["boots"] += 1
    return list(found.values())


def _out_of_memory(boots: Sequence[Boot]) -> list[dict[str, Any]]:
    """How often a guest ran out of memory, a count for each arm of a cell that it happened to; of all attempts."""
    found: dict[tuple[str, str, str], int] = {}
    for boot in boots:
        if str(boot.get("reason", "")).startswith(OUT_OF_MEMORY):
            key = (str(boot["host"]), str(boot["cell"]), str(boot["arm"]))
            found[key] = found.get(key, 0) + 1
    return [{**dict(zip(("host", "cell", "arm"), key, strict=True)), "boots": count} for key, count in found.items()]


def _rounded(value: float) -> float:
    return value if value.is_integer() else float(f"{value:.{DIGITS}g}")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return _rounded(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
