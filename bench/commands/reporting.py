"""`bench report`: analysis and page anew, from a run's own files."""

from __future__ import annotations

from pathlib import Path

from bench.controller.outcome import conclude
from bench.controller.store import RunFolder


def report(path: Path) -> Path:
    """Writes them into the run folder; answers the page."""
    from reports.page import render

    folder = RunFolder.existing(path)
    conclude(folder)
    page = render(folder.path)
    folder.seal()
    return page
