"""Shows the doctors' findings of many hosts: as a table for people, as JSON for programs, and as one exit code.

What comes from a host is untrusted: nothing of it reaches a terminal that is more than text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.controller.doctor_groups import Findings, Row, commands, for_hosts, grouped, short_names
from bench.errors import BenchError, InputError, LabError, MissingError
from bench.wire.finding import ORDER, Finding
from bench.wire.units import printable

SCHEMA = 1
# A longer cell is cut in the table; JSON has it whole.
CELL_LENGTH = 200
_STYLES = {"error": "bold red", "warn": "yellow", "info": "cyan", "ok": "green"}

# What each host's doctor found, or why there is no answer.
Reports = Mapping[str, Sequence[Finding] | BenchError]


def worst(reports: Reports) -> str:
    """The worst severity of all findings; "ok" when there are none."""
    seen = {finding.severity for findings in _findings(reports).values() for finding in findings}
    return next((severity for severity in ORDER if severity in seen), "ok")


def exit_code(reports: Reports) -> int:
    """0 without an error; 2 when each error names the command that mends it (something is missing); else 5."""
    codes = [0]
    for report in reports.values():
        if isinstance(report, BenchError):
            codes.append(2 if isinstance(report, (InputError, MissingError)) else 5)
        else:
            codes += [2 if one.command else 5 for one in report if _severity(one) == "error"]
    return max(codes)


def as_json(reports: Reports) -> dict[str, Any]:
    """Plain JSON value of all findings, hosts in the order given, worst finding of each first."""
    hosts = {
        host: [asdict(replace(one, command=for_hosts(one.command, [host]))) for one in _sorted(findings)]
        for host, findings in _findings(reports).items()
    }
    return {"schema": SCHEMA, "worst": worst(reports), "exit_code": exit_code(reports), "hosts": hosts}


def render(reports: Reports, stream: TextIO, *, everything: bool = False) -> None:
    """One table over all hosts, worst finding first, then the commands, each on a line of its own to be copied.

    What is ok is shown of a single host, of several only when `everything` is asked for.
    """
    findings = _findings(reports)
    alone = len(findings) < 2
    rows = grouped(findings, ORDER if alone or everything else ORDER[:-1])
    heads = ("state", "what", "value", "advice") if alone or not rows else ("hosts", "state", "what", "value", "advice")
    if stream.isatty():
        _table(heads, rows, list(findings), stream)
    else:
        stream.writelines(_plain([heads, *(_cells(row, list(findings))[-len(heads) :] for row in rows)]))
    if not alone:
        stream.write("\n" + _summary(findings, everything=everything))
    mending = list(commands(findings))
    if mending:
        stream.write("\nTo mend:\n" + "".join(f"  {line}\n" for line in mending))


def _findings(reports: Reports) -> Findings:
    """The reports with a finding in place of an exception, everything in them printable and of a known severity."""
    return {
        host: [_cleaned(one) for one in ([_failure(report)] if isinstance(report, BenchError) else report)]
        for host, report in reports.items()
    }


def _failure(error: BenchError) -> Finding:
    """Why a host gave no answer."""
    first, *rest = str(getattr(error, "message", error)).splitlines() or [type(error).__name__]
    if isinstance(error, MissingError):
        return Finding("error", "host side", first, "", error.command, tuple(rest))
    if not isinstance(error, LabError):
        return Finding("error", "host side", first, evidence=tuple(rest))
    ran = ["command: " + " ".join(error.command)] if error.command else []
    return Finding(
        "error", "connection", first, "nothing else is known of this host", "", (*rest, *ran, *error.evidence)
    )


def _severity(finding: Finding) -> str:
    return finding.severity if finding.severity in ORDER else "error"


def _cleaned(finding: Finding) -> Finding:
    texts = {name: printable(getattr(finding, name)) for name in ("what", "value", "advice", "command")}
    return Finding(_severity(finding), evidence=tuple(map(printable, finding.evidence)), **texts)


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def _cells(row: Row, known: Sequence[str]) -> tuple[str, ...]:
    one = row.finding
    cells = (short_names(row.hosts, known), one.severity, one.what, one.value, one.advice)
    return tuple(cell if len(cell) <= CELL_LENGTH else cell[: CELL_LENGTH - 1] + "…" for cell in cells)


def _summary(findings: Findings, *, everything: bool) -> str:
    states = [_sorted(some)[0].severity if some else "ok" for some in findings.values()]
    counts = [(states.count(state), name) for state, name in (("error", "with errors"), ("warn", "with warnings only"))]
    good = len(states) - sum(count for count, _ in counts)
    parts = [f"{count} {name}" for count, name in [*counts, (good, "fine")] if count]
    hidden = sum(one.severity == "ok" for some in findings.values() for one in some)
    words = "1 finding (--json has it)" if hidden == 1 else f"{hidden} findings (--json has them)"
    more = f"; ok and not shown: {words}" if hidden and not everything else ""
    return f"{len(findings)} hosts: {', '.join(parts)}{more}\n"


def _table(heads: Sequence[str], rows: Sequence[Row], known: Sequence[str], stream: TextIO) -> None:
    table = Table(*heads, box=None, pad_edge=False)
    for row in rows:
        cells = [Text(cell) for cell in _cells(row, known)]  # Text: brackets are no markup
        cells[1].stylize(_STYLES[row.finding.severity])
        table.add_row(*cells[-len(heads) :])
    Console(file=stream, no_color="NO_COLOR" in os.environ, highlight=False).print(table)


def _plain(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
