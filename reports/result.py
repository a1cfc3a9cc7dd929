"""The result as a page shows it: verdict, key figures, one table a comparison. It shows what `analysis` decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bench.wire.metrics import METRICS
from reports import words
from reports.data import boot_median
from reports.load import Json, Run

NO_VERDICT = "no verdict"


@dataclass(frozen=True)
class Verdict:
    """word: one of the five, or "no verdict". marked: the sentence is about a time under emulation."""

    word: str
    label: str
    text: str
    marked: bool


@dataclass(frozen=True)
class Tile:
    """A key figure: a large value, what it is, and what the reference did."""

    value: str
    label: str
    beside: str
    marked: bool


@dataclass(frozen=True)
class BlockValue:
    block: str
    reference: str
    arm: str


@dataclass(frozen=True)
class Row:
    """One metric of one comparison, as text."""

    metric: str
    title: str
    definition: str
    reference: str
    arm: str
    effect: str
    change: str
    interval: str
    word: str
    label: str
    why: str
    details: str
    marked: bool
    blocks: tuple[BlockValue, ...]


@dataclass(frozen=True)
class Comparison:
    """An arm against the reference in one cell; rows under the headings of their groups."""

    host: str
    cell: str
    reference: str
    arm: str
    blocks: int
    groups: tuple[tuple[str, tuple[Row, ...]], ...]


@dataclass(frozen=True)
class Medians:
    """Medians by arm where nothing was compared; rows are (metric, title, marked, one text an arm)."""

    arms: tuple[str, ...]
    rows: tuple[tuple[str, str, bool, tuple[str, ...]], ...]


def is_marked(run: Run, metric: str) -> bool:
    """Whether this figure is one of an emulated CPU and has to say so."""
    known = METRICS.get(metric)
    named = run.analysis.get("marked")
    return run.emulated and (bool(known and known.time_like) or (isinstance(named, list) and metric in named))


def verdict(run: Run) -> Verdict:
    """The run's one sentence; says what is missing where there is none."""
    said = run.analysis.get("verdict")
    if isinstance(said, dict) and said.get("text"):
        word = str(said.get("verdict", ""))
        marked = is_marked(run, str(said.get("metric", "")))
        return Verdict(word, words.VERDICTS.get(word, word), str(said["text"]), marked)
    return Verdict(NO_VERDICT, NO_VERDICT, _why_none(run), False)


def _why_none(run: Run) -> str:
    good = sum(boot.get("status") == "ok" for boot in run.boots)
    planned = len(run.run.get("schedule") or [])
    if not run.boots:
        return f"No boot has finished yet; {planned} are planned. There is nothing to compare."
    if not good:
        return f"None of the {len(run.boots)} boots can be used: every one failed or is invalid. The reasons are below."
    return f"{good} of {planned or len(run.boots)} boots can be used, and nothing was compared yet."


def rows_of(run: Run, host: str, cell: str) -> list[Json]:
    """The comparisons of analysis.json for one cell."""
    cells = run.analysis.get("cells")
    return [item for item in cells if item.get("host") == host and item.get("cell") == cell] if cells else []


def tiles(run: Run) -> list[Tile]:
    """Four key figures of the arm that the verdict is about; those that were measured.

    Of several hosts: the median over those that the verdict is about, and the combined effect.
    """
    said = run.analysis.get("verdict") or {}
    mine = [c for c in run.analysis.get("cells") or [] if _pair(c) == _pair(said)]
    names = said.get("hosts") or [said.get("host")]
    tables = [_by_metric(c) for c in mine if c.get("host") in names] or [_by_metric(c) for c in mine[:1]]
    if not tables:
        return []
    whole = next((_by_metric(c) for c in run.analysis.get("combined") or [] if _pair(c) == _pair(said)), None)
    found = []
    for metric, label in (
        ("returned_share", "of the freed memory came back"),
        ("residual_bytes", "still resident after the free"),
        ("t90_s", "until 90 % of it had come back"),
        ("refault_s_per_gib", "the time to touch it again"),
    ):
        rows = [table[metric] for table in tables if metric in table]
        effect = (rows[0] if whole is None else whole.get(metric, {})).get("effect") if rows else None
        if any(words.is_number(row.get("value")) for row in rows):
            found.append(_tile(run, rows, effect, label, str(mine[0].get("reference"))))
    return found


def _pair(item: Json) -> tuple[Any, Any]:
    return item.get("cell"), item.get("arm")


def _by_metric(item: Json) -> dict[str, Json]:
    return {str(row.get("metric")): row for row in item.get("metrics") or []}


def _tile(run: Run, rows: Sequence[Json], effect: Any, label: str, reference: str) -> Tile:
    metric, unit = str(rows[0]["metric"]), str(rows[0].get("unit", ""))
    value, base = (
        words.number(boot_median([row.get(key) for row in rows]), unit) for key in ("value", "reference_value")
    )
    of = f", medians of {len(rows)} hosts" if len(rows) > 1 else ""
    beside = f"{reference}: {base if base != words.NOTHING else 'nothing came back'}{of}"
    if metric == "refault_s_per_gib" and words.is_number(effect):
        return Tile(words.ratio(effect), label, f"{value} against {base}{of}", is_marked(run, metric))
    return Tile(value, label, beside, is_marked(run, metric))


def comparisons(run: Run, host: str, cell: str) -> list[Comparison]:
    """Every comparison of a cell that has a complete block, in the order of analysis.json."""
    return [
        Comparison(
            host,
            cell,
            str(item.get("reference", "")),
            str(item.get("arm", "")),
            len(item.get("complete_blocks") or []),
            _groups(run, item),
        )
        for item in rows_of(run, host, cell)
        if item.get("complete_blocks")
    ]


def _groups(run: Run, item: Json) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """A metric without a value in either arm has no row: this workload, kernel or host gives it to nobody."""
    given = [
        row
        for row in item.get("metrics") or []
        if row.get("value") is not None or row.get("reference_value") is not None
    ]
    metrics = sorted(given, key=lambda row: words.place(str(row.get("metric"))))
    rows = [_row(run, row, item.get("complete_blocks") or []) for row in metrics]
    return tuple((name, tuple(part)) for name, part in groupby(rows, key=lambda row: words.group_of(row.metric)))


def _row(run: Run, row: Json, blocks: Sequence[Any]) -> Row:
    metric, unit, word = str(row.get("metric")), str(row.get("unit", "")), str(row.get("verdict", ""))
    effect = row.get("effect")
    return Row(
        metric=metric,
        title=words.title(metric),
        definition=words.definition(metric),
        reference=words.number(row.get("reference_value"), unit),
        arm=words.number(row.get("value"), unit),
        effect=words.effect(row),
        change=words.percent_change(effect) if row.get("kind") == "ratio" else "",
        interval=words.interval(row),
        # A badge without a word has no colour.
        word=word if words.label(row) != words.NOTHING else "",
        label=words.label(row),
        why=str(row.get("why") or ""),
        details=_details(row),
        marked=is_marked(run, metric),
        blocks=_blocks(row, unit, blocks),
    )


def _details(row: Json) -> str:
    """The numbers behind a verdict, in one line."""
    parts = [f"{row.get('n', 0)} blocks", f"compared as {row.get('kind')}"]
    parts += [
        f"{name} {words.probability(row[key])}"
        for key, name in (("p", "p"), ("p_holm", "p (Holm)"))
        if words.is_number(row.get(key))
    ]
    if words.is_number(row.get("hodges_lehmann")):
        parts.append(f"Hodges–Lehmann {words.effect(row, 'hodges_lehmann')}")
    if words.is_number(row.get("margin")):
        parts.append(f"margin {words.margin(row)}")
    return ", ".join(parts)


def _blocks(row: Json, unit: str, blocks: Sequence[Any]) -> tuple[BlockValue, ...]:
    ours, theirs = row.get("arm_blocks") or [], row.get("reference_blocks") or []
    longest = max(len(ours), len(theirs))
    names = [str(block) for block in blocks] if len(blocks) == longest else [str(i + 1) for i in range(longest)]
    return tuple(
        BlockValue(name, words.number(_at(theirs, i), unit), words.number(_at(ours, i), unit))
        for i, name in enumerate(names)
    )


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else None


def medians(run: Run, host: str, cell: str) -> Medians:
    """Medians over the usable boots of each arm: what can be said without a comparison."""
    arms = [arm for arm in run.arms if run.good(host, cell, arm)]
    rows = []
    for metric in sorted(METRICS, key=words.place):
        texts = []
        for arm in arms:
            found = [boot_median((boot.get("values") or {}).get(metric)) for boot in run.good(host, cell, arm)]
            texts.append(words.number(boot_median(found), METRICS[metric].unit))
        if any(text != words.NOTHING for text in texts):
            rows.append((metric, words.title(metric), is_marked(run, metric), tuple(texts)))
    return Medians(tuple(arms), tuple(rows))
