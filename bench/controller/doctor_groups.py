"""Findings that are equal on many hosts become one row, so that a table of forty hosts can be read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.wire.finding import ORDER, Finding

# More different values than this of one thing are one row. Errors never are.
SHOWN_VALUES = 3
SHOWN_NAMES = 3
Findings = Mapping[str, Sequence[Finding]]


@dataclass(frozen=True)
class Row:
    """A finding, and the hosts that have it in the order of the file."""

    hosts: tuple[str, ...]
    finding: Finding


def grouped(findings: Findings, severities: Sequence[str] = ORDER) -> list[Row]:
    """One row for each finding that differs in what is shown of it; worst first, else in the order of the checks."""
    rows: list[Row] = []
    for severity in severities:
        for what in _whats(findings, severity):
            rows += _rows(findings, severity, what)
    return rows


def _whats(findings: Findings, severity: str) -> list[str]:
    return list(dict.fromkeys(one.what for some in findings.values() for one in some if one.severity == severity))


def _rows(findings: Findings, severity: str, what: str) -> Iterator[Row]:
    alike: dict[tuple[str, str], list[tuple[str, Finding]]] = {}
    for host, some in findings.items():
        for one in some:
            if (one.severity, one.what) == (severity, what):
                alike.setdefault((one.value, one.advice), []).append((host, one))
    if severity != "error" and len(alike) > SHOWN_VALUES:
        first = next(iter(alike))
        advice = first[1] if len({advice for _, advice in alike}) == 1 else ""
        hosts = {host for members in alike.values() for host, _ in members}
        value = f"{len(alike)} different values, as {first[0]}"
        yield Row(tuple(host for host in findings if host in hosts), Finding(severity, what, value, advice))
        return
    for members in alike.values():
        yield Row(tuple(dict.fromkeys(host for host, _ in members)), members[0][1])


def short_names(hosts: Sequence[str], known: Sequence[str]) -> str:
    """ "all 40", "all but a, b", "a, b, c" or "12: a, b, c, …": never more than SHOWN_NAMES names."""
    if len(hosts) == len(known) > 1:
        return f"all {len(known)}"
    if len(hosts) <= SHOWN_NAMES:
        return ", ".join(hosts)
    others = [name for name in known if name not in set(hosts)]
    if len(others) < SHOWN_NAMES:
        return f"all but {', '.join(others)}"
    return f"{len(hosts)}: {', '.join(hosts[:SHOWN_NAMES])}, …"


def commands(findings: Findings) -> Iterator[str]:
    """Each command that mends something once, worst first, and behind it what it mends and where."""
    asked: dict[str, list[tuple[str, str]]] = {}
    for severity in ORDER[:-1]:
        for host, some in findings.items():
            for one in some:
                if one.severity == severity and one.command:
                    asked.setdefault(one.command, []).append((one.what, host))
    for command, places in asked.items():
        whats = dict.fromkeys(what for what, _ in places)
        hosts = [name for name in findings if name in {host for _, host in places}]
        where = f" on {short_names(hosts, list(findings))}" if len(findings) > 1 else ""
        yield f"{for_hosts(command, hosts)}  # {', '.join(whats)}{where}"


def for_hosts(command: str, hosts: Sequence[str]) -> str:
    """A command of the suite itself is run on the controller, for these hosts; any other on the host as it is."""
    return shlex.join([*command.split(), *hosts]) if command.startswith("bench ") else command
