"""What the plan asked for: every metric that it names, arm by arm, with its interval and its margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports import words
from reports.load import Json, Run
from reports.result import is_marked


@dataclass(frozen=True)
class Estimate:
    """One metric of one arm against its reference. Texts are for the table, numbers for the picture.

    reference_value, value: "" for all hosts together. better: "lower is better", "higher is better" or "".
    """

    metric: str
    title: str
    arm: str
    reference: str
    reference_value: str
    value: str
    effect: float | None
    low: float | None
    high: float | None
    margin: float | None
    kind: str
    shown: str
    change: str
    interval: str
    margin_shown: str
    word: str
    label: str
    why: str
    better: str
    marked: bool


@dataclass(frozen=True)
class Answer:
    """The plan's metrics in one cell, on one host or (host "") on all of them together."""

    host: str
    cell: str
    estimates: tuple[Estimate, ...]

    @property
    def values(self) -> bool:
        """Whether there are values beside the effects: not for several hosts, which differ in them."""
        return any(estimate.value for estimate in self.estimates)


def answers(run: Run) -> list[Answer]:
    """Over all hosts where they were combined, else host by host; by cell, in the order of analysis.json."""
    pairs = [pair for pair in run.analysis.get("combined") or [] if any(map(_several, pair.get("metrics") or []))]
    if not pairs:
        pairs = [pair for pair in run.analysis.get("cells") or [] if pair.get("complete_blocks")]
    wanted = metrics(run)
    found: dict[tuple[str, str], list[Estimate]] = {}
    for pair in pairs:
        by_name = {str(row.get("metric")): row for row in pair.get("metrics") or []}
        place = (str(pair.get("host", "")), str(pair.get("cell", "")))
        found.setdefault(place, []).extend(_estimate(run, pair, by_name[name]) for name in wanted if name in by_name)
    return [
        Answer(host, cell, tuple(sorted(estimates, key=lambda one: wanted.index(one.metric))))
        for (host, cell), estimates in found.items()
        if estimates
    ]


def metrics(run: Run) -> list[str]:
    """Those that the plan names; where it names none, those that its verdict counts."""
    named = [str(name) for name in run.run.get("metrics") or {}]
    if named:
        return named
    rows = [row for pair in run.analysis.get("cells") or [] for row in pair.get("metrics") or []]
    verdict = run.analysis.get("verdict") or {}
    first = [str(verdict["metric"])] if verdict.get("metric") else []
    return list(dict.fromkeys([*first, *(str(row.get("metric")) for row in rows if row.get("blocking"))]))


def _several(row: Json) -> bool:
    return int(row.get("hosts") or 0) > 1


def _estimate(run: Run, pair: Json, row: Json) -> Estimate:
    metric, unit, kind = str(row.get("metric")), str(row.get("unit", "")), str(row.get("kind", ""))
    effect = row.get("effect")
    direction = str(row.get("direction", ""))
    return Estimate(
        metric=metric,
        title=words.title(metric),
        arm=str(pair.get("arm", "")),
        reference=str(pair.get("reference", "")),
        reference_value=words.number(row.get("reference_value"), unit) if "reference_value" in row else "",
        value=words.number(row.get("value"), unit) if "value" in row else "",
        effect=_number(effect),
        low=_number(row.get("low")),
        high=_number(row.get("high")),
        margin=_number(row.get("margin")),
        kind=kind,
        shown="hosts differ" if row.get("differ") else words.effect(row),
        change=words.percent_change(effect) if kind == "ratio" else "",
        interval=words.interval(row),
        margin_shown=f"±{words.margin(row)}" if words.is_number(row.get("margin")) else words.NOTHING,
        word=str(row.get("verdict", "")) if words.label(row) != words.NOTHING else "",
        label=words.label(row),
        why=str(row.get("why") or ""),
        better=f"{direction} is better" if direction in ("lower", "higher") else "",
        marked=is_marked(run, metric),
    )


def _number(value: Any) -> float | None:
    return float(value) if words.is_number(value) else None


def by_metric(estimates: Sequence[Estimate]) -> dict[str, list[Estimate]]:
    """Those that have a factor to draw, in their order."""
    found: dict[str, list[Estimate]] = {}
    for estimate in estimates:
        if estimate.kind == "ratio" and estimate.effect is not None and estimate.effect > 0:
            found.setdefault(estimate.metric, []).append(estimate)
    return found
