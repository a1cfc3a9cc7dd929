"""The raw data of a page: downloads that lie in the page itself, and the files of the run with their checksums."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
from base64 import b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bench.wire.units import show
from reports.load import Json, Run, clean

# Written after the page, or the page itself: listing them would make a second rendering differ from the first.
_NOT_LISTED = ("report.html", "manifest.json")
_MANY_FILES = 400
# Longer than this, a download is packed: the page of a large run would be made of it.
_PLAIN_BYTES = 256 << 10
_BOOT = ("boot", "host", "cell", "arm", "block", "order", "attempt", "status")
# Values of each block are in values.csv.
_BLOCKS = ("arm_blocks", "reference_blocks")


@dataclass(frozen=True)
class Download:
    """A file inside the page. link: a data URL."""

    name: str
    said: str
    link: str
    size: str
    sha256: str


@dataclass(frozen=True)
class File:
    """A file of the run folder. name: for people. link: relative to the page."""

    name: str
    link: str
    size: str
    sha256: str


def downloads(run: Run) -> list[Download]:
    found = [
        _download("values.csv", "text/csv", "every value of every boot, one row an iteration", values_csv(run)),
        _download("analysis.json", "application/json", "every comparison and warning", _analysis(run)),
    ]
    plan = run.sources[0] / "plan.yaml"
    if plan.is_file():
        found.append(_download(plan.name, "text/plain", "the plan, resolved", plan.read_text("utf-8", "replace")))
    return found if run.boots else found[2:]


def _download(name: str, kind: str, said: str, text: str) -> Download:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > _PLAIN_BYTES:
        # mtime=0: the same values give the same bytes.
        name, kind, data = f"{name}.gz", "application/gzip", gzip.compress(data, 9, mtime=0)
    else:
        kind = f"{kind};charset=utf-8"
    link = f"data:{kind};base64,{b64encode(data).decode()}"
    return Download(name, said, link, show(len(data), "byte"), hashlib.sha256(data).hexdigest())


def values_csv(run: Run) -> str:
    """Columns: what the boot was, iteration (from 1), then a metric each in its base unit; empty: not measured."""
    names = metrics_of(run)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_BOOT, "iteration", *names))
    for boot in run.boots:
        values = _values(boot)
        about = [boot.get(key, "") for key in _BOOT]
        for number in range(max((len(column) for column in values.values()), default=1)):
            writer.writerow((*about, number + 1, *(_value(values.get(name) or [], number) for name in names)))
    return text.getvalue()


def _values(boot: Json) -> dict[str, list[Any]]:
    values = boot.get("values")
    return {name: column for name, column in values.items() if isinstance(column, list)} if values else {}


def _value(column: list[Any], number: int) -> str:
    value = column[number] if number < len(column) else None
    return "" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)


def _analysis(run: Run) -> str:
    return json.dumps(_without(run.analysis), ensure_ascii=False, separators=(",", ":")) + "\n"


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in _BLOCKS}
    return [_without(item) for item in value] if isinstance(value, list) else value


def files(run: Run) -> tuple[list[File], int]:
    """The files in the run folders by name, the pages left out; of very many the first, and how many there are."""
    found = [path for folder in run.sources for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [path for path in found if path.name not in _NOT_LISTED and not path.name.endswith((".tmp", ".part"))]
    names = [(os.path.relpath(path, run.folder), path.read_bytes()) for path in found[:_MANY_FILES]]
    return [_file(name, data) for name, data in names], len(found)


def _file(name: str, data: bytes) -> File:
    return File(clean(name), quote(os.fsencode(name)), show(len(data), "byte"), hashlib.sha256(data).hexdigest())


def metrics_of(run: Run) -> list[str]:
    """Names of all metrics that some boot of the run has a value of, in their order."""
    every = [(name, column) for boot in run.boots for name, column in _values(boot).items()]
    measured = {name for name, column in every if any(value is not None for value in column)}
    return [name for name in dict.fromkeys(name for name, _ in every) if name in measured]
