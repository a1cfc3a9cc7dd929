"""Shows the doctor's findings: as a table for people, as JSON for programs, and as one exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from bench.wire.finding import ORDER, Finding

SCHEMA = 1
_STYLES = {"error": "bold red", "warn": "yellow", "info": "cyan", "ok": "green"}


Reports = Mapping[str, Sequence[Finding]]


def worst(reports: Reports) -> str:
    """The worst severity of all findings; "ok" when there are none."""
    seen = {finding.severity for findings in reports.values() for finding in findings}
    return next((severity for severity in ORDER if severity in seen), "ok")


def exit_code(reports: Reports) -> int:
    """0 without an error; 2 when every error names the command that mends it (something is missing); else 5."""
    errors = [finding for findings in reports.values() for finding in findings if finding.severity == "error"]
    if not errors:
        return 0
    return 2 if all(finding.command for finding in errors) else 5


def as_json(reports: Reports) -> dict[str, Any]:
    """Plain JSON value of all findings, hosts in the order given, worst finding of each first."""
    fields = ("severity", "what", "value", "advice", "command")
    hosts = {
        host: [{field: getattr(finding, field) for field in fields} for finding in _sorted(findings)]
        for host, findings in reports.items()
    }
    return {"schema": SCHEMA, "worst": worst(reports), "exit_code": exit_code(reports), "hosts": hosts}


def render(reports: Reports, stream: TextIO) -> None:
    """One table over all hosts, worst finding first, then the commands, each on a line of its own to be copied."""
    rows = sorted(_rows(reports), key=lambda row: ORDER.index(row[1]))
    if len(reports) < 2:
        rows = [row[1:] for row in rows]
    heads = ("host", "state", "what", "value", "advice")[-len(rows[0]) if rows else 0 :]
    if stream.isatty():
        _table(heads, rows, len(reports) < 2, stream)
    else:
        stream.writelines(_plain([heads, *rows]))
    commands = list(_commands(reports))
    if commands:
        stream.write("\nTo mend:\n" + "".join(f"  {line}\n" for line in commands))


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def _rows(reports: Reports) -> Iterator[tuple[str, ...]]:
    for host, findings in reports.items():
        for finding in findings:
            yield host, finding.severity, finding.what, finding.value, finding.advice


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], alone: bool, stream: TextIO) -> None:
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        style = _STYLES[row[0 if alone else 1]]
        table.add_row(*row[: len(row) - 4], f"[{style}]{row[-4]}[/]", *(cell.replace("[", "\\[") for cell in row[-3:]))
    Console(file=stream, no_color="NO_COLOR" in os.environ, highlight=False).print(table)


def _plain(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"


def _commands(reports: Reports) -> Iterator[str]:
    for host, findings in reports.items():
        for finding in _sorted(findings):
            if finding.command and finding.severity != "ok":
                where = f"  # {finding.what}" + (f" on {host}" if len(reports) > 1 else "")
                yield finding.command + where
