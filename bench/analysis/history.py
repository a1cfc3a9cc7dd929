"""Many runs of one plan, from run to run: a table, and a CSV in which Apache Otava finds change points.

Each run is judged by itself, in its own blocks. What moves from run to run may be the host, so nothing here is a gate.
"""

from __future__ import annotations

import csv
import fnmatch
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.analysis.shown import effect, interval, interval_title
from bench.analysis.tables import MARK, NOTHING, text_table
from bench.wire.units import show

Row = dict[str, Any]
# What a metric is of; joined by dots it is the name of its column.
KEY = ("host", "cell", "arm", "metric")


@dataclass(frozen=True)
class Dated:
    """One run: its folder's name, when it began (ISO 8601, UTC), and its analysis.json."""

    name: str
    started: str
    analysis: dict[str, Any]


def rows(runs: Sequence[Dated], wanted: Sequence[str]) -> list[Row]:
    """One row a run, host, cell, arm and metric, oldest run first. wanted: globs of metrics; none of them: all.

    Keys: run, started, host, cell, arm, reference, marked, and those of the metric in analysis.json.
    """
    found = []
    for run in sorted(runs, key=lambda run: (run.started, run.name)):
        for pair in run.analysis["cells"]:
            about = {key: pair[key] for key in ("host", "cell", "arm", "reference")}
            for metric in pair["metrics"]:
                if not wanted or any(fnmatch.fnmatchcase(metric["metric"], glob) for glob in wanted):
                    marked = metric["metric"] in (run.analysis.get("marked") or [])
                    found.append({"run": run.name, "started": run.started, **about, **metric, "marked": marked})
    return found


def terminal(found: Sequence[Row]) -> str:
    """A table for each metric of each arm, run by run; those that no run measured are left out."""
    parts = []
    for (host, cell, arm, metric), mine in _by_key(found).items():
        if all(row["value"] is None and row["reference_value"] is None for row in mine):
            continue
        mark = MARK if any(row["marked"] for row in mine) else ""
        title = f"{host}, {cell}, {arm} against {mine[0]['reference']}: {metric}{mark}"
        level, intervals = _intervals(mine)
        body = [
            [
                f"{row['started'][:16].replace('T', ' ')}  {row['run']}",
                *_sides(row),
                effect(row),
                around,
                row["verdict"],
            ]
            for row, around in zip(mine, intervals, strict=True)
        ]
        head = ("run", "reference", "arm", "effect", level, "verdict")
        parts.append("\n".join([title, *text_table(head, body)]))
    if any(row["marked"] for row in found):
        parts.append(f"{MARK} time of an emulated CPU, not of hardware")
    return "\n\n".join(parts) + "\n"


def _intervals(mine: Sequence[Row]) -> tuple[str, list[str]]:
    """A title and the intervals. Runs with and without repeated looks differ in their level: each line says its own."""
    titles = [interval_title([row]) for row in mine]
    if len(set(titles)) == 1:
        return titles[0], [interval(row) for row in mine]
    told = zip(mine, titles, strict=True)
    return "interval", [f"{interval(row)} ({title.removesuffix(' interval')})" for row, title in told]


def _sides(row: Row) -> list[str]:
    return [NOTHING if row[key] is None else show(row[key], row["unit"]) for key in ("reference_value", "value")]


def spreadsheet(found: Sequence[Row]) -> str:
    """One line a run: time, run, then a column a host, cell, arm and metric, its effect; empty where it had none.

    The effect and not the value: arms of one block share their hour of the host, and what that did to both cancels.
    """
    columns = [key for key, mine in _by_key(found).items() if any(row["effect"] is not None for row in mine)]
    lines: dict[tuple[str, str], dict[tuple[str, ...], Any]] = {}
    for row in found:
        lines.setdefault((row["started"], row["run"]), {})[_key(row)] = row["effect"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("time", "run", *(".".join(key) for key in columns)))
    for (started, run), values in lines.items():
        cells = [values.get(key) for key in columns]
        writer.writerow((started, run, *("" if value is None else f"{value:.9g}" for value in cells)))
    return text.getvalue()


def _key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)


def _by_key(found: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in found:
        groups.setdefault(_key(row), []).append(row)
    return groups


FORMS = {"text": terminal, "csv": spreadsheet}
