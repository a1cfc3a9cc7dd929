"""Comparisons as Markdown, for a merge request. What was found in a run's files is text in it, and no markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bench.analysis.shown import amount, effect, interval
from bench.analysis.tables import MARK, NOTHING
from bench.analysis.unpaired import median
from bench.analysis.unpaired_tables import NOTE
from bench.wire.units import show

# What Markdown, or HTML in it, would take for its own.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")
_HEAD = ("metric", "verdict", "effect", "95 % interval", "could have seen")


def plain(text: str) -> str:
    """One line of text, with nothing in it that Markdown or HTML would read as its own."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are text."""
    lines = [[plain(cell) or " " for cell in line] for line in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def of_run(analysis: dict[str, Any]) -> str:
    """A run's own arms: the verdict, then a table for each arm in each cell, then the warnings."""
    said = analysis.get("verdict") or {}
    parts = [f"**{plain(said['verdict'])}**: {plain(said['text'])}"] if said else []
    for pair in analysis["cells"]:
        n, blocks = len(pair["complete_blocks"]), pair["blocks"]
        title = f"{pair['host']}, {pair['cell']}: {pair['arm']} against {pair['reference']}, {n} of {blocks} blocks"
        given = [row for row in pair["metrics"] if (row["value"], row["reference_value"]) != (None, None)]
        rows = [
            [
                *_judged(row, analysis.get("marked") or []),
                str(row["n"]),
                _value(row, "reference_value"),
                _value(row, "value"),
            ]
            for row in given
        ]
        head = (*_HEAD, "n", pair["reference"], pair["arm"])
        parts += [f"### {plain(title)}", table(head, rows) if rows else "Nothing was measured."]
    notes = [f"* {plain(warning['text'])}" for warning in analysis.get("warnings") or []]
    return _joined([*parts, *_mark(analysis), *(["\n".join(notes)] if notes else [])])


def of_two(compared: dict[str, Any]) -> str:
    """The same arms in two runs, unpaired: a table for each arm in each cell."""
    parts = [plain(f"base {compared['base']}, head {compared['head']}"), plain(NOTE)]
    marked = [row["metric"] for row in compared["metrics"] if row["time_like"]] if compared["accel"] != "kvm" else []
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in compared["metrics"]:
        found.setdefault((row["host"], row["cell"], row["arm"]), []).append(row)
    for (host, cell, arm), rows in found.items():
        body = [[*_judged(row, marked), *(_side(row, side) for side in ("base_boots", "head_boots"))] for row in rows]
        parts += [f"### {plain(f'{host}, {cell}, {arm}: head against base, unpaired')}"]
        parts += [table((*_HEAD, "base", "head"), body)]
    return _joined([*parts, *_mark({"marked": marked, "accel": compared["accel"]})])


def _judged(row: dict[str, Any], marked: Sequence[str]) -> list[str]:
    name = f"{row['metric']}{MARK if row['metric'] in marked else ''}"
    return [name, str(row["verdict"]), effect(row), interval(row), amount(row["detectable"], row)]


def _value(row: dict[str, Any], key: str) -> str:
    return NOTHING if row[key] is None else show(row[key], row["unit"])


def _side(row: dict[str, Any], side: str) -> str:
    value = median(row[side])
    return NOTHING if value is None else show(value, row["unit"])


def _mark(analysis: dict[str, Any]) -> list[str]:
    return (
        [f"{MARK} time of an emulated CPU ({plain(analysis['accel'])}), not of hardware"] if analysis["marked"] else []
    )


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"
