"""Shows the settings of a host: as a table for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import BenchError
from bench.wire.setting import Setting
from bench.wire.units import printable

SCHEMA = 1
_SAID = {
    "found": "",
    "kept": "as wanted already",
    "set": "set",
    "refused": "could not be touched",
    "absent": "this host does not have it",
    "restored": "restored",
    "foreign": "changed by somebody else, left alone",
}


def as_json(told: Mapping[str, Mapping[str, Any]], failed: Mapping[str, BenchError]) -> dict[str, Any]:
    """All hosts' answers to `tune`, as they came; a failed host has "error" instead."""
    errors = {name: {"error": str(error)} for name, error in failed.items()}
    return {"schema": SCHEMA, "hosts": {**{name: dict(answer) for name, answer in told.items()}, **errors}}


def text(host: str, action: str, settings: Sequence[Setting], journal: Sequence[Any], opinion: Sequence[str]) -> str:
    """One host's table; files of one setting that are in the same state are one line."""
    lines = [f"{host}: {len(settings)} files of settings" if settings else f"{host}: {_NOTHING[action]}"]
    rows = [("setting", "before", "wanted", "now", "")] + [_row(group) for group in _groups(settings)]
    if settings:
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  " + "  ".join(cells).rstrip())
    if journal:
        lines.append(f"  {len(journal)} files are still changed; put them back with: bench tune restore {host}")
    if opinion:
        lines += ["  second opinion (pyperf system show):", *(f"  | {printable(line)}" for line in opinion)]
    return "".join(f"{line}\n" for line in lines)


_NOTHING = {
    "show": "no setting can be read here",
    "apply": "nothing to set",
    "restore": "nothing to restore",
}


def _groups(settings: Sequence[Setting]) -> list[list[Setting]]:
    found: dict[tuple[str, ...], list[Setting]] = {}
    for row in settings:
        key = (row.name, row.before, row.wanted, row.now, row.state, row.problem)
        found.setdefault(key, []).append(row)
    return list(found.values())


def _row(group: Sequence[Setting]) -> tuple[str, str, str, str, str]:
    first = group[0]
    name = first.name if len(group) == 1 else f"{first.name} ({len(group)} files)"
    said = ": ".join(filter(None, (_SAID.get(first.state, first.state), first.problem)))
    return tuple(printable(cell) for cell in (name, first.before, first.wanted, first.now, said))  # type: ignore[return-value]
