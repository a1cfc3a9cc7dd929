"""All hosts as one, as a page shows it: the table of each pair of arms, and what its forest picture is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.analysis.shown import amount
from reports import words
from reports.load import Json, Run
from reports.result import is_marked


@dataclass(frozen=True)
class Row:
    """One metric over all hosts, as text. per_host: (host, effect)."""

    metric: str
    title: str
    definition: str
    effect: str
    change: str
    interval: str
    hosts: str
    blocks: str
    word: str
    label: str
    why: str
    details: str
    marked: bool
    differ: bool
    per_host: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Line:
    """One line of a forest: an effect and its interval; None where there is none. host "" is all of them."""

    host: str
    effect: float | None
    low: float | None
    high: float | None
    text: str


@dataclass(frozen=True)
class Forest:
    """The plan's first metric, host by host. none: the effect that means no difference."""

    metric: str
    title: str
    kind: str
    unit: str
    none: float
    marked: bool
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Combined:
    """An arm against the reference over all hosts. left_out: (host, why)."""

    cell: str
    reference: str
    arm: str
    hosts: tuple[str, ...]
    asked: int
    left_out: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    forest: Forest | None


def combined(run: Run) -> list[Combined]:
    """What analysis.json says of all hosts together; [] for one host, and for older runs."""
    items = run.analysis.get("combined")
    return [
        Combined(
            str(item.get("cell", "")),
            str(item.get("reference", "")),
            str(item.get("arm", "")),
            tuple(map(str, item.get("hosts") or [])),
            len(item.get("hosts_asked") or []),
            tuple((str(host), str(why)) for host, why in (item.get("left_out") or {}).items()),
            _groups(run, item),
            _forest(run, item),
        )
        for item in (items if isinstance(items, list) else [])
    ]


def _groups(run: Run, item: Json) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """Metrics that at least two hosts have, under their headings."""
    metrics = [row for row in item.get("metrics") or [] if int(row.get("hosts") or 0) > 1]
    rows = [_row(run, row) for row in sorted(metrics, key=lambda row: words.place(str(row.get("metric"))))]
    return tuple((name, tuple(part)) for name, part in groupby(rows, key=lambda row: words.group_of(row.metric)))


def _row(run: Run, row: Json) -> Row:
    metric, word = str(row.get("metric")), str(row.get("verdict", ""))
    per_host = row.get("per_host") or {}
    return Row(
        metric=metric,
        title=words.title(metric),
        definition=words.definition(metric),
        effect=words.effect(row),
        change=words.percent_change(row.get("effect")) if row.get("kind") == "ratio" else "",
        interval=words.interval(row),
        hosts=str(row.get("hosts", "")),
        blocks=str(row.get("n", "")),
        word=word if words.label(row) != words.NOTHING else "",
        label=words.label(row),
        why=str(row.get("why") or ""),
        details=_details(row),
        marked=is_marked(run, metric),
        differ=bool(row.get("differ")),
        per_host=tuple((str(host), words.effect({**row, "effect": value})) for host, value in per_host.items()),
    )


def _details(row: Json) -> str:
    """The numbers behind a verdict, in one line."""
    parts = [f"{row.get('n', 0)} blocks of {row.get('hosts', 0)} hosts", f"combined as {row.get('kind')}"]
    named = (("p", "p"), ("p_holm", "p (Holm)"), ("heterogeneity_p", "heterogeneity p"))
    parts += [f"{name} {words.probability(row[key])}" for key, name in named if words.is_number(row.get(key))]
    if words.is_number(row.get("margin")):
        parts.append(f"margin {words.margin(row)}")
    left_out = row.get("left_out")
    parts += [f"without {host}: {why}" for host, why in left_out.items()] if isinstance(left_out, dict) else []
    return ", ".join(parts)


def _forest(run: Run, item: Json) -> Forest | None:
    """The plan's first metric that two hosts have."""
    wanted = [*(run.run.get("metrics") or {}), *(str(row.get("metric")) for row in item.get("metrics") or [])]
    able = {str(row.get("metric")): row for row in item.get("metrics") or [] if int(row.get("hosts") or 0) > 1}
    metric = next((name for name in wanted if name in able), None)
    if metric is None:
        return None
    row = able[metric]
    each = _each(run, item, metric)
    lines = tuple(_line(host, each.get(host, {}), row) for host in row.get("per_host") or {})
    whole = () if row.get("effect") is None else (_line("", row, row),)
    if not any(line.effect is not None for line in lines):
        return None
    kind = str(row.get("kind"))
    none = 1.0 if kind == "ratio" else 0.0
    return Forest(
        metric, words.title(metric), kind, str(row.get("unit", "")), none, is_marked(run, metric), lines + whole
    )


def _each(run: Run, item: Json, metric: str) -> Mapping[str, Json]:
    """The metric's row of each host."""
    cells: Sequence[Any] = run.analysis.get("cells") or []
    mine = [cell for cell in cells if (cell.get("cell"), cell.get("arm")) == (item.get("cell"), item.get("arm"))]
    return {
        str(cell.get("host")): row for cell in mine for row in cell.get("metrics") or [] if row.get("metric") == metric
    }


def _line(host: str, row: Json, shown: Json) -> Line:
    effect, low, high = (
        float(row[key]) if words.is_number(row.get(key)) else None for key in ("effect", "low", "high")
    )
    return Line(host, effect, low, high, amount(effect, {**shown}))
