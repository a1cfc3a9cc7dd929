"""report.html of a run folder: one self-contained page that works without network and script. It decides nothing."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import context, primary, raw, result, words
from reports.cell import Cell, cell_of
from reports.combined import Combined, combined
from reports.floor import floor
from reports.forest import forest
from reports.gate import gate
from reports.glossary import glossary
from reports.lab import lab
from reports.load import Run, read_run
from reports.pareto import fronts
from reports.ratios import ratios
from reports.svg import ARM_COLOURS, Picture
from reports.validity import validity

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "report.html"
USUAL = "95 % interval"


@dataclass(frozen=True)
class Script:
    """The page's only script. digest: what the content security policy allows, and nothing else."""

    text: Markup
    digest: str


def render(run_dir: Path) -> Path:
    """Writes report.html into the run folder, whole or not at all, and answers its path. Same files, same bytes.

    Raises InputError when there is no run.json to be read, OSError when the folder cannot be written.
    """
    return write(run_dir / PAGE, page(read_run(run_dir)))


def write(path: Path, text: str) -> Path:
    """The file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    return part.replace(path)


def page(run: Run) -> str:
    """The page as text."""
    unread: list[str] = []
    cells = [cell_of(run, number, host, cell, unread) for number, (host, cell) in enumerate(run.cells(), start=1)]
    shown = {**_result(run), **_trust(run, unread), **_cells(cells), "run": run, "plan": run.run}
    text: str = template("report.html.j2").render(**shown)
    return named_interval(text, run)


def named_interval(text: str, run: Run) -> str:
    """A run that was looked at several times has intervals of more than 95 %; its page says so wherever it says 95 %.

    One place for all of them: tables, figures, the glossary. The term stands nowhere else.
    """
    percent = next((row["percent"] for pair in run.analysis.get("cells", []) for row in pair["metrics"]
                    if "percent" in row), None)  # fmt: skip
    if percent is None:
        return text
    return text.replace(USUAL, f"{percent:.3g} % interval").replace("in 95 of 100", f"in {percent:.3g} of 100")


def template(name: str) -> Any:
    """A template that knows the script, and escapes what it is given."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"slug": _slug, "when": words.when}
    return environment.get_template(name, globals={"script": _script()})


def _script() -> Script:
    text = (TEMPLATES / "tables.js").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"sha256-{digest}")  # noqa: S704 - a file of this program


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def _result(run: Run) -> dict[str, Any]:
    """What was found."""
    answers = primary.answers(run)
    return {
        "verdict": result.verdict(run),
        "tiles": result.tiles(run),
        "answers": [(answer, ratios(f"a{n}-ratios", answer, run.arms)) for n, answer in enumerate(answers, start=1)],
        "combined": [(item, _forest(run, number, item)) for number, item in enumerate(combined(run), start=1)],
        "arm_class": {arm: f"arm-{index % ARM_COLOURS}" for index, arm in enumerate(run.arms)},
        "fronts": fronts(run),
        "gate": gate(run),
        "out_of_memory": run.analysis.get("out_of_memory") or [],
    }


def _trust(run: Run, unread: list[str]) -> dict[str, Any]:
    """Why it can be believed, where it comes from, and what is needed to do it again."""
    listed, files = raw.files(run)
    return {
        "validity": validity(run, unread),
        "lab": lab(run),
        "floors": floor(run),
        "hosts": context.host_facts(run),
        "guests": context.guest_facts(run),
        "guest_files": context.file_facts(run),
        "versions": context.versions(run),
        "commands": context.command_lines(run),
        "order": context.order(run),
        "downloads": raw.downloads(run),
        "listed": listed,
        "files": files,
        "plan_text": context.plan_text(run),
        "command": context.command(run),
        "glossary": glossary(run),
    }


def _cells(cells: list[Cell]) -> Mapping[str, Any]:
    """The cells, and for each section those that have something to show in it."""
    return {
        "cells": cells,
        "with_memory": [cell for cell in cells if cell.memory],
        "with_latency": [cell for cell in cells if cell.latency],
        "with_pressure": [cell for cell in cells if cell.pressure],
    }


def _forest(run: Run, number: int, item: Combined) -> Picture | None:
    place = run.arms.index(item.arm) if item.arm in run.arms else 1
    return forest(f"f{number}-hosts", item.forest, place) if item.forest else None
