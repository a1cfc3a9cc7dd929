"""Two runs compared unpaired, as text: for a terminal, for a mail, for a spreadsheet.

What is compared: `unpaired.against`.
"""

from __future__ import annotations

import csv
import io
import statistics
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bench.analysis.shown import amount, effect, interval
from bench.analysis.tables import MARK, NOTHING, WIDTH, text_table
from bench.analysis.unpaired import median
from bench.wire.units import show

NOTE = (
    "unpaired: the runs were made at different times, and whatever changed on the host between them is part of the "
    "difference"
)
CSV_COLUMNS = (
    *("design", "host", "cell", "arm", "metric", "unit", "kind", "direction", "blocking"),
    *("base", "head", "n_base", "n_head", "effect", "low", "high", "detectable", "margin", "p", "p_holm"),
    *("verdict", "why"),
)
RUN_COLUMNS = (
    *("design", "host", "cell", "reference", "arm", "metric", "unit", "kind", "direction", "blocking"),
    *("reference_value", "value", "n", "effect", "low", "high", "detectable", "margin", "p", "p_holm"),
    *("verdict", "why"),
)
Row = dict[str, Any]
MAIL_WIDTH = 75
MAIL_HEAD = f"{'base':>11} %stddev   %change {'head':>11} %stddev  metric"
_LIKE = str.maketrans({"·": "*", "µ": "u", "×": "x", "−": "-", "–": "-", "±": "+-", "†": "*", "÷": "/", "…": "..."})


def terminal(compared: dict[str, Any]) -> str:
    """At most 100 columns: what was compared and how, then a table for each arm, then what only one run has."""
    parts = ["\n".join(textwrap.wrap(line, WIDTH, break_on_hyphens=False)) for line in _head(compared)]
    emulated = compared["accel"] != "kvm"
    for (host, cell, arm), rows in _by_arm(compared):
        head = ("metric", "verdict", "effect", "95 % interval", "sees", "base", "head")
        body = [_line(row, emulated) for row in rows]
        parts.append("\n".join([f"{host}, {cell}, {arm}: head against base, unpaired", *text_table(head, body)]))
    if emulated:
        parts.append(f"{MARK} time of an emulated CPU ({compared['accel']}), not of hardware")
    return "\n\n".join(parts) + "\n"


def mail(compared: dict[str, Any]) -> str:
    """Plain ASCII, at most 75 columns: base and head with their standard deviations, and the change of the means."""
    parts = ["\n".join(textwrap.wrap(to_ascii(line), MAIL_WIDTH, break_on_hyphens=False)) for line in _head(compared)]
    for (host, cell, arm), rows in _by_arm(compared):
        lines = [f"{host}, {cell}, {arm} (unpaired)", MAIL_HEAD]
        lines += [mail_line(row) for row in rows]
        parts.append("\n".join(to_ascii(line)[:MAIL_WIDTH].rstrip() for line in lines))
    return "\n\n".join(parts) + "\n"


def spreadsheet(compared: dict[str, Any]) -> str:
    """CSV, one row a metric and arm, numbers in base units; an empty field was not to be had."""
    rows = compared["metrics"]
    sides = ({"base": median(row["base_boots"]), "head": median(row["head_boots"])} for row in rows)
    return _csv(CSV_COLUMNS, ({**row, **side} for row, side in zip(rows, sides, strict=True)))


def csv_of_run(analysis: dict[str, Any]) -> str:
    """CSV of a run's own arms, compared by block: one row a metric and pair of arms."""
    pairs = analysis["cells"]
    return _csv(RUN_COLUMNS, ({**pair, **metric, "design": "paired"} for pair in pairs for metric in pair["metrics"]))


FORMS: dict[str, Callable[[dict[str, Any]], str]] = {"text": terminal, "lkml": mail, "csv": spreadsheet}


def _head(compared: dict[str, Any]) -> Iterator[str]:
    yield f"base {compared['base']}, head {compared['head']}, accelerator {compared['accel']}"
    yield NOTE
    for side in ("base", "head"):
        if compared[f"only_{side}"]:
            yield f"only in {side}, not compared: {', '.join(compared[f'only_{side}'])}"


def _by_arm(compared: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str], list[Row]]]:
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in compared["metrics"]:
        found.setdefault((row["host"], row["cell"], row["arm"]), []).append(row)
    yield from found.items()


def _line(row: Row, emulated: bool) -> list[str]:
    values = [median(row[side]) for side in ("base_boots", "head_boots")]
    return [
        f"{row['metric']}{MARK if emulated and row['time_like'] else ''}",
        row["verdict"],
        effect(row),
        interval(row),
        amount(row["detectable"], row),
        *(NOTHING if value is None else show(value, row["unit"]) for value in values),
    ]


def mail_line(row: Row) -> str:
    """Means with their standard deviations over boots, the change of what is compared, and the metric."""
    means, deviations = [], []
    for side in ("base_boots", "head_boots"):
        known = [value for value in row[side] if value is not None]
        mean = statistics.fmean(known) if known else None
        means.append("-" if mean is None else show(mean, row["unit"]))
        spread = f"{100 * statistics.stdev(known) / abs(mean):.1f}%" if mean and len(known) > 1 else "-"
        deviations.append(spread)
    return f"{means[0]:>11} {deviations[0]:>7} {_change(row):>9} {means[1]:>11} {deviations[1]:>7}  {_named(row)}"


def _change(row: Row) -> str:
    if row["effect"] is None:
        return "-"
    return f"{100 * (row['effect'] - 1):+.1f}%" if row["kind"] == "ratio" else amount(row["effect"], row)


def _named(row: Row) -> str:
    return f"{row['metric']} {row['verdict'] if row['verdict'] in ('worse', 'better') else ''}"


def to_ascii(text: str) -> str:
    """For a mail: what has a plain likeness gets it, everything else a question mark."""
    return text.translate(_LIKE).encode("ascii", "replace").decode()


def _csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
