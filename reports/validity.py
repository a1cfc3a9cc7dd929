"""Why the result can be trusted, or not: mechanism seen, controls, noise, drift and order, boots that were lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.analysis.controls import sentence
from bench.analysis.doubts import is_clear
from bench.analysis.side_effects import SideEffects, side_effects
from bench.wire.metrics import METRICS
from bench.wire.units import show
from reports import words
from reports.context import Doubts, doubts
from reports.data import boot_median
from reports.load import Json, Run


@dataclass(frozen=True)
class Mechanism:
    """Whether reporting was seen at work in an arm: boots that count, and those that had to show it and did not."""

    host: str
    cell: str
    arm: str
    boots: str
    discarded: str
    said: str


@dataclass(frozen=True)
class NoiseRow:
    """One metric in one cell. spread: of the reference's boots. order, drift: p, and whether that is clear."""

    host: str
    cell: str
    metric: str
    title: str
    spread: str
    smallest: str
    margin: str
    order: str
    drift: str
    marked: bool


@dataclass(frozen=True)
class Validity:
    mechanism: tuple[Mechanism, ...]
    controls: str
    noise: tuple[NoiseRow, ...]
    doubts: Doubts


def validity(run: Run, unread: Sequence[str]) -> Validity:
    """unread: what could not be read while the figures were made."""
    controls = run.analysis.get("controls") or []
    return Validity(
        tuple(_mechanism(run, host, cell, arm) for host, cell in run.cells() for arm in _arms(run, host, cell)),
        sentence(controls),
        tuple(_noise(run, one) for one in side_effects(_plan(run), _whole(run.boots))),
        doubts(run, unread),
    )


def _plan(run: Run) -> Json:
    """Of run.json what the analysis asks for; a run of an older version, or one that was damaged, may lack it."""
    metrics = run.run.get("metrics")
    accel = run.accel if run.accel != "unknown" else None
    return {"arms": run.arms, "accel": accel, "metrics": metrics if isinstance(metrics, dict) else {}}


def _whole(boots: Sequence[Json]) -> list[Json]:
    named = [boot for boot in boots if all(isinstance(boot.get(key), str) for key in ("host", "cell", "arm"))]
    return [boot for boot in named if isinstance(boot.get("block"), int) and isinstance(boot.get("values"), dict)]


def _arms(run: Run, host: str, cell: str) -> list[str]:
    here = {str(boot.get("arm")) for boot in run.boots if (boot.get("host"), boot.get("cell")) == (host, cell)}
    return [arm for arm in run.arms if arm in here]


def _mechanism(run: Run, host: str, cell: str, arm: str) -> Mechanism:
    place = (host, cell, arm)
    boots = [boot for boot in run.boots if (boot.get("host"), boot.get("cell"), boot.get("arm")) == place]
    good = run.good(*place)
    found = [boot_median((boot.get("values") or {}).get("discarded_bytes")) for boot in good]
    known = [value for value in found if value is not None]
    discarded = f"{show(median(known), 'byte')} a boot" if known else words.NOTHING
    return Mechanism(host, cell, arm, f"{len(good)} of {len(boots)}", discarded, _said(boots, good))


def _said(boots: Sequence[Json], good: Sequence[Json]) -> str:
    if any(boot.get("expect") == "nothing" for boot in boots):
        return "a control: reports must do nothing"
    if any(boot.get("must_discard") for boot in boots):
        # A boot of such an arm counts only if it was seen.
        return f"seen in {len(good)} of {len(good)} boots that count" if good else "not seen in any boot"
    return "not asked for" if good else "no boot that counts"


def _noise(run: Run, one: SideEffects) -> NoiseRow:
    host, cell = one.cell
    metric = METRICS[one.metric]
    row = _compared(run, host, cell, one.metric)
    return NoiseRow(
        host,
        cell,
        one.metric,
        words.title(one.metric),
        _amount(one.spread.get(run.reference), one.kind, metric.unit),
        _amount(_half(row), one.kind, metric.unit),
        _amount(row.get("margin"), one.kind, metric.unit),
        _p(one.p_order),
        _p(one.p_drift),
        run.emulated and metric.time_like,
    )


def _compared(run: Run, host: str, cell: str, metric: str) -> Json:
    """The row of the first arm whose interval is known."""
    pairs = [pair for pair in run.analysis.get("cells") or [] if (pair.get("host"), pair.get("cell")) == (host, cell)]
    rows = [row for pair in pairs for row in pair.get("metrics") or [] if row.get("metric") == metric]
    return next((row for row in rows if _half(row) is not None), rows[0] if rows else {})


def _half(row: Json) -> float | None:
    """Half of the interval, as a share of the effect for a ratio: an effect smaller than that is none to this run."""
    low, high, effect = (row.get(key) for key in ("low", "high", "effect"))
    if not (words.is_number(low) and words.is_number(high)):
        return None
    half = (float(high or 0) - float(low or 0)) / 2
    if row.get("kind") != "ratio":
        return half
    return half / float(effect) if words.is_number(effect) and effect else None


def _amount(value: Any, kind: str, unit: str) -> str:
    if not words.is_number(value):
        return words.NOTHING
    return f"±{show(float(value), 'share' if kind == 'ratio' else unit)}"


def _p(p: float | None) -> str:
    if p is None:
        return "too few boots"
    return f"{'yes' if is_clear(p) else 'not seen'}, p {words.probability(p)}"
