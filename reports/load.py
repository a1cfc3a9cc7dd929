"""A run folder, read for a page: plain values, safe to show, however much of the run there is.

Every string is cleaned here, once: control characters, direction overrides and lone surrogates come out visible, and
very long text is cut. Escaping for HTML is the template's; nothing here trusts a name or a path found in a file.
"""

from __future__ import annotations

import json
import unicodedata
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.series import COLUMNS, NO_CURVE, Curve, curves
from bench.errors import InputError

Json = dict[str, Any]
LONGEST_TEXT = 4000
LONGEST_NAME = 80
# What stands under these keys is a name: it is repeated in headings, tables and figures, so it is cut short.
_NAMES = frozenset(
    ("arm", "arms", "boot", "cell", "code", "differ", "host", "hosts", "hosts_asked", "metric", "name", "plan",
     "reference", "schedule", "unfinished", "variant")
)  # fmt: skip
RAM = "ram.resident_bytes"


@dataclass(frozen=True)
class Run:
    """What the files of a run folder say. analysis: {} when there is none. troubles: what could not be read.

    hosts: what hosts/*.json say, by name; events: the lines of events.jsonl. Older runs have neither.
    """

    folder: Path
    run: Json
    boots: list[Json]
    analysis: Json
    troubles: tuple[str, ...]
    hosts: dict[str, Json] = field(default_factory=dict)
    events: tuple[Json, ...] = ()

    @property
    def accel(self) -> str:
        return str(self.run.get("accel") or self.analysis.get("accel") or "unknown")

    @property
    def emulated(self) -> bool:
        return self.accel == "tcg"

    @property
    def arms(self) -> list[str]:
        """The arms in the plan's order, the reference first; names only seen in boots come last."""
        named = [str(arm) for arm in self.run.get("arms", [])]
        seen = dict.fromkeys(named + [str(boot.get("arm", "")) for boot in self.boots])
        return sorted(seen, key=lambda arm: arm != self.reference)

    @property
    def reference(self) -> str:
        return str(self.run.get("reference", ""))

    @property
    def host_names(self) -> list[str]:
        """The hosts that the run asked for, then others that left something; older runs name one host, or none."""
        asked = self.run.get("hosts") or [self.run.get("host")]
        seen = [*asked, *self.hosts, *(event.get("host") for event in self.events)]
        seen += [boot.get("host") for boot in self.boots]
        return list(dict.fromkeys(str(host) for host in seen if host))

    def cells(self) -> list[tuple[str, str]]:
        """(host, cell) pairs in the order in which they first appear."""
        return list(dict.fromkeys((str(boot.get("host", "")), str(boot.get("cell", ""))) for boot in self.boots))

    def good(self, host: str, cell: str, arm: str) -> list[Json]:
        """Boots with status ok, one a block: the last attempt counts."""
        chosen = {
            boot.get("block"): boot
            for boot in self.boots
            if boot.get("status") == "ok" and (boot.get("host"), boot.get("cell"), boot.get("arm")) == (host, cell, arm)
        }
        return list(chosen.values())


def read_run(folder: Path) -> Run:
    """Reads run.json, boots.jsonl, analysis.json, hosts/*.json and events.jsonl. Only run.json has to be there.

    Raises InputError when run.json is missing or is no JSON object.
    """
    troubles: list[str] = []
    run = _read_object(folder / "run.json")
    analysis = _read_if_there(folder / "analysis.json", troubles)
    boots = _read_lines(folder / "boots.jsonl", troubles)
    events = _read_lines(folder / "events.jsonl", troubles)
    hosts = [_read_if_there(path, troubles) | {"name": path.stem} for path in sorted((folder / "hosts").glob("*.json"))]
    return Run(
        folder,
        clean(run),
        clean(boots),
        clean(analysis),
        tuple(clean(troubles)),
        {host["name"]: host for host in clean(hosts)},
        tuple(clean(events)),
    )


def _read_if_there(path: Path, troubles: list[str]) -> Json:
    """{} where there is no such file, or where it is none that can be read, which is noted."""
    try:
        return _read_object(path) if path.exists() else {}
    except InputError as error:
        troubles.append(str(error))
        return {}


def _read_object(path: Path) -> Json:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}; a run folder has it from its start") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: an object was expected")
    return value


def _read_lines(path: Path, troubles: list[str]) -> list[Json]:
    """The objects of all whole lines; a run that was killed may end in half a line."""
    objects = []
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else [], start=1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            objects.append(value)
        else:
            troubles.append(f"{path.name}, line {number}: not a whole line, left out")
    return objects


def residency(run: Run, boot: Json) -> tuple[Curve, str]:
    """The boot's residency in bytes over s since QEMU's start, and "" or why there is none or only a part of it."""
    name = str(boot.get("series") or "")
    path = (run.folder / name).resolve()
    if not name or not path.is_relative_to(run.folder.resolve()):
        return NO_CURVE, "no series file is named"
    data, problem = _unpack(path)
    rows = [line.split(",") for line in data.splitlines()[1:]]
    kept = [row for row in rows if len(row) == len(COLUMNS) and row[1] == "ram" and row[2] == "resident_bytes"]
    table = pd.DataFrame(kept, columns=list(COLUMNS))
    for column in ("t_s", "value"):
        table[column] = pd.to_numeric(table[column], errors="coerce").astype("float64")
    return curves(table).get(RAM, NO_CURVE), problem


def _unpack(path: Path) -> tuple[str, str]:
    """Text of a gzip file of one or more members, as far as it is whole, and what was wrong with it."""
    parts: list[bytes] = []
    problem = ""
    try:
        rest = path.read_bytes()
        while rest:
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(rest))
            if not member.eof:
                raise zlib.error("ends early")
            rest = member.unused_data
    except (OSError, zlib.error) as error:
        problem = f"{path.name}: {error}"
    text = b"".join(parts).decode("utf-8", "replace")
    return (text.rpartition("\n")[0] if problem else text), problem


def clean(value: Any, longest: int = LONGEST_TEXT) -> Any:
    """The same value with every string in it safe to show; keys too. Numbers that are not finite become None."""
    if isinstance(value, str):
        return _clean_text(value, longest)
    if isinstance(value, dict):
        return {
            _clean_text(str(key), LONGEST_NAME): clean(item, LONGEST_NAME if key in _NAMES else longest)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [clean(item, longest) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def _clean_text(text: str, longest: int) -> str:
    """Cut and visible. The checksum keeps two long names that begin alike apart."""
    digest = f"{zlib.crc32(text.encode('utf-8', 'backslashreplace')):08x}" if len(text) > longest else ""
    cut = f"{text[:longest]}… ({len(text)} characters, {digest})" if digest else text
    return "".join(map(_visible, cut)) if not cut.isascii() or not cut.isprintable() else cut


def _visible(char: str) -> str:
    """Newline and tab stay; control characters, direction marks and surrogates become their code, as in \\u202e."""
    if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return char
    return f"\\u{ord(char):04x}"
