"""A run folder, read for a page: plain values, safe to show, however much of the run there is.

Every string is cleaned here, once: control characters, direction overrides and lone surrogates come out visible, and
very long text is cut. Escaping for HTML is the template's; nothing here trusts a name or a path found in a file.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.series import NO_CURVE, Curve
from bench.errors import InputError

Json = dict[str, Any]
LONGEST_TEXT = 4000
LONGEST_NAME = 80
# What stands under these keys is a name: it is repeated in headings, tables and figures, so it is cut short.
_NAMES = frozenset(
    ("arm", "arms", "boot", "cell", "code", "differ", "host", "hosts", "hosts_asked", "metric", "name", "plan",
     "reference", "schedule", "unfinished", "variant")
)  # fmt: skip
# Unicode categories of what is not seen, or moves or breaks the text around it: controls, formats, surrogates, private
# and unassigned signs, line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
# Lines of a series of which each row is something that happened, not a level that holds.
EVENTS = ("discard.bytes",)


@dataclass(frozen=True)
class Run:
    """What the files of a run folder say. analysis: {} when there is none. troubles: what could not be read.

    hosts: what hosts/*.json say, by name; events: the lines of events.jsonl. Older runs have neither.
    gate: gate.json, floors: floors.json, {} where no gate and no self-test was run. places: by host, the run
    folder that its boots are from, where that is
    not `folder` (a page of several runs).
    """

    folder: Path
    run: Json
    boots: list[Json]
    analysis: Json
    troubles: tuple[str, ...]
    hosts: dict[str, Json] = field(default_factory=dict)
    events: tuple[Json, ...] = ()
    gate: Json = field(default_factory=dict)
    floors: Json = field(default_factory=dict)
    places: Mapping[str, Path] = field(default_factory=dict)

    @property
    def sources(self) -> list[Path]:
        """The run folders that the page is made of."""
        return list(dict.fromkeys(self.places.values())) or [self.folder]

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
        return list(self._good.get((host, cell, arm), {}).values())

    @cached_property
    def _good(self) -> dict[tuple[Any, Any, Any], dict[Any, Json]]:
        """By (host, cell, arm), then by block. It is asked for again and again, of perhaps thousands of boots."""
        found: dict[tuple[Any, Any, Any], dict[Any, Json]] = {}
        for boot in self.boots:
            if boot.get("status") == "ok":
                place = (boot.get("host"), boot.get("cell"), boot.get("arm"))
                found.setdefault(place, {})[boot.get("block")] = boot
        return found


def read_run(folder: Path) -> Run:
    """Reads what a page shows of a run folder, the series apart. Only run.json has to be there.

    Raises InputError when run.json is missing or is no JSON object.
    """
    troubles: list[str] = []
    run = _read_object(folder / "run.json")
    analysis = _read_if_there(folder / "analysis.json", troubles)
    boots = _read_lines(folder / "boots.jsonl", troubles)
    events = _read_lines(folder / "events.jsonl", troubles)
    hosts = [_read_if_there(path, troubles) | {"name": path.stem} for path in sorted((folder / "hosts").glob("*.json"))]
    gate, floors = (_read_if_there(folder / name, troubles) for name in ("gate.json", "floors.json"))
    return Run(
        folder,
        clean(run),
        clean(boots),
        clean(analysis),
        tuple(clean(troubles)),
        {host["name"]: host for host in clean(hosts)},
        tuple(clean(events)),
        clean(gate),
        clean(floors),
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


def series(run: Run, boot: Json, names: Sequence[str]) -> tuple[dict[str, Curve], str]:
    """The named lines of a boot, as "source.name", over s since QEMU's start; "" or why there is none or only a part.

    Of a boot of several guests a name stands for all of them: levels are added up, events put in order.
    """
    name = str(boot.get("series") or "")
    folder = run.places.get(str(boot.get("host")), run.folder).resolve()
    path = (folder / name).resolve()
    if not name or not path.is_relative_to(folder):
        return {}, "no series file is named"
    data, problem = _unpack(path)
    lines = _lines_of(data, tuple(names))
    found = {name: _merged(name, lines.get(name, [])) for name in names}
    return {name: curve for name, curve in found.items() if len(curve)}, problem


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[bytes]:
    """A row of one of these lines: t, source, guest or nothing, name, value."""
    pairs = [re.escape(part.encode()) for name in names for part in name.split(".", 1)]
    either = b"|".join(b"(?:%s,(?:\\d+\\.)?%s)" % pair for pair in zip(pairs[::2], pairs[1::2], strict=True))
    return re.compile(rb"^([-+.\deE]+),(%s),([-+.\deE]+)$" % either, re.MULTILINE)


def _lines_of(data: bytes, names: tuple[str, ...]) -> dict[str, list[Curve]]:
    """By name one curve a guest. A regular expression, once over the data: a page may be made from millions of rows."""
    rows: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for t, line, value in _pattern(names).findall(data):
        rows.setdefault(line, []).append((t, value))
    found: dict[str, list[Curve]] = {}
    for line, part in rows.items():
        source, _, rest = line.decode().partition(",")
        guest, _, name = rest.partition(".")
        curve = _curve(part)
        if len(curve):
            found.setdefault(f"{source}.{name if guest.isdigit() else rest}", []).append(curve)
    return found


def _curve(rows: list[tuple[bytes, bytes]]) -> Curve:
    try:
        table = np.array(rows, dtype=np.bytes_).astype(np.float64)
    except ValueError:  # a torn number; the others are numbers
        table = np.array([pair for row in rows if (pair := _numbers(row))], dtype=np.float64).reshape(-1, 2)
    table = table[np.isfinite(table).all(axis=1)]
    table = table[np.argsort(table[:, 0], kind="stable")]
    return Curve(table[:, 0], table[:, 1])


def _numbers(row: tuple[bytes, bytes]) -> tuple[float, float] | None:
    try:
        return float(row[0]), float(row[1])
    except ValueError:
        return None


def _merged(name: str, guests: Sequence[Curve]) -> Curve:
    """Of several guests; one that has not begun yet, or has ended, is 0."""
    if len(guests) < 2:
        return guests[0] if guests else NO_CURVE
    if name in EVENTS:
        t, v = (np.concatenate([getattr(curve, axis) for curve in guests]) for axis in "tv")
        order = np.argsort(t, kind="stable")
        return Curve(t[order], v[order])
    t = np.unique(np.concatenate([curve.t for curve in guests]))
    return Curve(t, np.sum([np.nan_to_num(curve.on(t)) for curve in guests], axis=0))


def _unpack(path: Path) -> tuple[bytes, str]:
    """Content of a gzip file of one or more members, as far as it is whole, and what was wrong with it."""
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
    data = b"".join(parts)
    return (data.rpartition(b"\n")[0] if problem else data), problem


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
        # Long lists are of whole numbers, mostly: histograms.
        return [item if item.__class__ is int else clean(item, longest) for item in value]
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
    if char in "\n\t" or unicodedata.category(char) not in _HIDDEN:
        return char
    return f"\\u{ord(char):04x}"
