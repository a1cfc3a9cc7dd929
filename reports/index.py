"""index.html of a folder of published runs: what was asked, where, when, and what came out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.errors import InputError
from reports import result
from reports.load import Run, read_run
from reports.page import PAGE, template, write

INDEX = "index.html"


@dataclass(frozen=True)
class Entry:
    """One published run. link: relative to the index."""

    name: str
    link: str
    run: Run
    verdict: result.Verdict
    hosts: str
    boots: int


def render(folder: Path) -> Path:
    """Writes the index and answers its path. Same folders, same bytes. Raises OSError where it cannot be written."""
    return write(folder / INDEX, page(folder))


def page(folder: Path) -> str:
    """The index as text: the newest run first. A folder that cannot be read as a run is named and left out."""
    entries, unread = [], []
    for path in sorted(path.parent for path in folder.glob("*/run.json") if not path.parent.name.startswith(".")):
        try:
            entries.append(entry_of(read_run(path), folder))
        except InputError as error:
            unread.append(str(error))
    entries.sort(key=lambda entry: (str(entry.run.run.get("started", "")), entry.name), reverse=True)
    text: str = template("index.html.j2").render(entries=entries, unread=unread)
    return text


def entry_of(run: Run, beside: Path) -> Entry:
    """A run for a page that lies in `beside`."""
    link = quote(os.path.relpath(run.folder / PAGE, beside))
    return Entry(run.folder.name, link, run, result.verdict(run), ", ".join(run.host_names), len(run.boots))
