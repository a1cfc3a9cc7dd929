"""The verdict table: rows as values first, then as text for a terminal or a mail."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd

from bench.analysis import controls, pareto
from bench.analysis.shown import amount, effect, interval, interval_title
from bench.wire.units import show

WIDTH = 120
NOTHING = "–"
MARK = "†"
COLUMNS = (
    *("host", "cell", "metric", "reference", "arm", "effect", "interval", "verdict", "why", "n", "noise", "sees"),
    "blocking",
)
_SHOWN = ("effect", "interval", "n", "noise", "sees", "reference", "arm")


def verdict_rows(analysis: dict[str, Any]) -> pd.DataFrame:
    """One row a metric and pair of arms: COLUMNS as text, then reference_name, arm_name, and marked, unpaired (bool).

    unpaired: one arm has no value at all (no time to return where nothing returns), so there is nothing to compare.
    """
    rows = [
        _row(pair, metric, analysis.get("marked") or []) for pair in analysis["cells"] for metric in pair["metrics"]
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "reference_name", "arm_name", "marked", "unpaired"])


def verdict_table(analysis: dict[str, Any]) -> str:
    """The comparisons as plain text, at most 120 columns: headline, all hosts combined, each host, warnings."""
    parts = []
    if analysis.get("verdict"):
        said = analysis["verdict"]
        parts.append("\n".join(_wrapped(f"{said['verdict']}: {said['text']}")))
    parts += [_combined(pair, analysis.get("marked") or []) for pair in analysis.get("combined", [])]
    rows = _records(verdict_rows(analysis))
    parts += [_pair(pair, [row for row in rows if _belongs(row, pair)]) for pair in analysis["cells"]]
    if analysis.get("marked") and rows:
        parts.append("\n".join(_wrapped(f"{MARK} time of an emulated CPU ({analysis['accel']}), not of hardware")))
    said_of_all = [line for front in analysis.get("pareto", []) for line in pareto.sentences(front)]
    said_of_all += [text for text in (controls.sentence(analysis.get("controls", [])),) if text]
    if said_of_all:
        parts.append("\n".join(line for text in said_of_all for line in _wrapped(text, rest="  ")))
    broken = [*analysis.get("invalid_boots", []), *analysis.get("failed_boots", [])]
    notes = [f"{boot['boot']}: {boot['reason']}" for boot in broken]
    notes += [
        f"{item['cell']}/{item['arm']} on {item['host']} skipped: {item['reason']}"
        for item in analysis.get("skipped", [])
    ]
    notes += [
        f"{item['cell']}/{item['arm']} on {item['host']}: the guest ran out of memory in {item['boots']} boots"
        for item in analysis.get("out_of_memory", [])
    ]
    notes += [f"{warning['code']}: {warning['text']}" for warning in analysis.get("warnings", [])]
    if notes:
        parts.append("\n".join(line for note in notes for line in _wrapped(note, first="! ", rest="  ")))
    return "\n\n".join(parts) + "\n"


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table with columns as wide as their content; the first ones to the left, the others to the right."""
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return _cut("  ".join(padded).rstrip(), WIDTH)

    return [line(head), *(line(row) for row in rows)]


def _no_side(metric: dict[str, Any]) -> bool:
    """Neither direction is better, so that "undecided" would read like a lack of data."""
    return bool(metric["direction"] == "none" and metric["verdict"] == "undecided")


def _row(pair: dict[str, Any], metric: dict[str, Any], marked: Sequence[str]) -> dict[str, Any]:
    unpaired = metric["n"] == 0 and (metric["value"] is None or metric["reference_value"] is None)
    return {
        "host": pair["host"],
        "cell": pair["cell"],
        "metric": metric["metric"],
        "reference": _value(metric["reference_value"], metric["unit"]),
        "arm": _value(metric["value"], metric["unit"]),
        "effect": effect(metric),
        "interval": interval(metric),
        "verdict": NOTHING if (unpaired and pair["complete_blocks"]) or _no_side(metric) else metric["verdict"],
        "why": metric["why"],
        "n": str(metric["n"]),
        "noise": spread(metric.get("noise"), metric),
        "sees": amount(metric.get("detectable"), metric),
        "blocking": "yes" if metric["blocking"] else "no",
        "reference_name": pair["reference"],
        "arm_name": pair["arm"],
        "marked": metric["metric"] in marked,
        "unpaired": unpaired,
    }


def _value(value: float | None, unit: str) -> str:
    return NOTHING if value is None else show(value, unit)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _belongs(row: dict[str, Any], pair: dict[str, Any]) -> bool:
    return (row["host"], row["cell"], row["arm_name"]) == (pair["host"], pair["cell"], pair["arm"])


def _pair(pair: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    n, planned = len(pair["complete_blocks"]), pair["blocks"]
    title = (
        f"{pair['host']}, {pair['cell']}: {pair['arm']} against {pair['reference']}, {n} of {planned} blocks complete"
    )
    shown = [row for row in rows if (row["reference"], row["arm"]) != (NOTHING, NOTHING)]
    if not shown:
        return "\n".join([*_wrapped(title), "nothing was measured in both arms"])
    head = ("verdict", "metric", "effect", interval_title(pair["metrics"]), "n", "noise", "sees",
            _cut(pair["reference"], 9), _cut(pair["arm"], 9))  # fmt: skip
    body = [[row["verdict"], _name(row), *(str(row[name]) for name in _SHOWN)] for row in shown]
    return "\n".join([*_wrapped(title), *text_table(head, body, left=2)])


def spread(value: float | None, metric: dict[str, Any]) -> str:
    """A standard deviation: in per cent for a ratio, else in the metric's unit."""
    if value is None:
        return NOTHING
    return percent(value) if metric["kind"] == "ratio" else show(value, metric["unit"])


def percent(share: float) -> str:
    """Two digits, and all of those before the point."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _combined(pair: dict[str, Any], marked: Sequence[str]) -> str:
    """All hosts as one; a metric that no two hosts have is left out."""
    n = len(pair["hosts"])
    title = (
        f"{n} hosts combined, {pair['cell']}: {pair['arm']} against {pair['reference']} ({', '.join(pair['hosts'])})"
    )
    notes = [f"without {host}: {why}" for host, why in pair["left_out"].items()]
    body = [
        [
            f"{metric['metric']}{MARK if metric['metric'] in marked else ''}",
            "hosts differ" if metric["differ"] else effect(metric),
            interval(metric),
            str(metric["hosts"]),
            str(metric["n"]),
            NOTHING if _no_side(metric) else metric["verdict"],
        ]
        for metric in pair["metrics"]
        if metric["hosts"] > 1
    ]
    head = ("metric", "effect", interval_title(pair["metrics"]), "hosts", "blocks", "verdict")
    table = text_table(head, body) if body else ["no two hosts have values of both arms"]
    return "\n".join([*(line for text in (title, *notes) for line in _wrapped(text)), *table])


def _name(row: dict[str, Any]) -> str:
    return f"{row['metric']}{MARK if row['marked'] else ''}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
