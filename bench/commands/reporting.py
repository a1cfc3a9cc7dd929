"""`bench report` and `bench compare`: analysis, page and tables, from a run's own files."""

from __future__ import annotations

import json
from pathlib import Path

from bench.analysis.analyse import analyse
from bench.analysis.lkml import mail_table
from bench.analysis.tables import verdict_table
from bench.controller.outcome import conclude
from bench.controller.store import RunFolder


def compare(path: Path, form: str) -> str:
    """The run's comparisons: "text" for a terminal, "lkml" for a mail, "json". Changes nothing in the folder."""
    folder = RunFolder.existing(path)
    run, boots = folder.run, folder.boots()
    if form == "lkml":
        return mail_table(run, boots)
    analysis = analyse(run, boots)
    return verdict_table(analysis) if form == "text" else json.dumps(analysis, indent=1, ensure_ascii=False) + "\n"


def report(path: Path) -> Path:
    """Writes them into the run folder; answers the page."""
    from reports.page import render

    folder = RunFolder.existing(path)
    conclude(folder)
    page = render(folder.path)
    folder.seal()
    return page
