"""`bench report` and `bench compare`: analysis, page and tables, from a run's own files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis import markdown
from bench.analysis.analyse import analyse
from bench.analysis.fingerprint import Side, differences
from bench.analysis.history import FORMS, Dated, rows
from bench.analysis.lkml import mail_table
from bench.analysis.several import apart, as_one, unlike
from bench.analysis.tables import verdict_table
from bench.analysis.unpaired import against
from bench.analysis.unpaired_tables import FORMS as UNPAIRED_FORMS
from bench.analysis.unpaired_tables import csv_of_run
from bench.controller.outcome import conclude
from bench.controller.store import RunFolder
from bench.controller.yamlfile import read
from bench.errors import InputError, InvalidError


def compare(runs: Sequence[Path], form: str) -> str:
    """One run's arms, or the same arms in two runs, in one of the forms of `bench compare`. Changes nothing on disk.

    Raises InputError for no run folder, and for any number of them but one or two; InvalidError when two runs did not
    measure the same thing.
    """
    if len(runs) not in (1, 2):
        raise InputError(f"bench compare: {len(runs)} runs; name one, or two that were made at different times")
    folders = [RunFolder.existing(path) for path in runs]
    return _one(folders[0], form) if len(folders) == 1 else _two(folders[0], folders[1], form)


def report(path: Path) -> Path:
    """Writes them into the run folder, and renews the index of published runs where it is one; answers the page."""
    from reports import index
    from reports.page import render

    folder = RunFolder.existing(path)
    conclude(folder)
    page = render(folder.path)
    folder.seal()
    beside = folder.path.absolute().parent
    if (beside / index.INDEX).is_file():
        index.render(beside)
    return page


def several(paths: Sequence[Path], out: Path | None) -> Path:
    """One page of several runs of one plan: of hosts side by side and combined where each run has hosts of its own,
    else of the same hosts from run to run. out: the file, else `several.html` beside the first run.

    Raises InputError for no run folder, InvalidError when the runs did not ask the same.
    """
    from reports.load import read_run
    from reports.several import one_after_another, side_by_side

    folders = [RunFolder.existing(path) for path in paths]
    if len({folder.path.resolve() for folder in folders}) < len(folders):
        raise InputError("bench report: a run is named twice")
    sides = [_side(folder) for folder in folders]
    differ = unlike(sides)
    if differ:
        raise InvalidError("\n  ".join(["these runs did not ask the same, and are not put on one page:", *differ]))
    for folder in folders:
        conclude(folder)
    runs = [read_run(folder.path) for folder in folders]
    page = out or folders[0].path.absolute().parent / "several.html"
    if not page.parent.is_dir():
        raise InputError(f"--out {page}: {page.parent} is no folder; make it, or name another")
    if not apart(sides):
        return one_after_another(page, runs)
    run, boots = as_one(sides)
    return side_by_side(page, runs, run, analyse(run, boots))


def history(paths: Sequence[Path], wanted: Sequence[str], form: str) -> str:
    """Runs of one plan from run to run, as "text" or "csv". wanted: globs of metrics, none for those of the plan.

    Raises InputError for no run folder or a glob that no metric has, InvalidError when the runs did not ask the same.
    """
    folders = [RunFolder.existing(path) for path in paths]
    sides = [_side(folder) for folder in folders]
    differ = unlike(sides)
    if differ:
        raise InvalidError("\n  ".join(["these runs did not ask the same:", *differ]))
    dated = [
        Dated(folder.path.resolve().name, str(side.run.get("started", "")), analyse(side.run, side.boots))
        for folder, side in zip(folders, sides, strict=True)
    ]
    found = rows(dated, wanted or list(sides[0].run.get("metrics") or {}))
    if not found:
        raise InputError(f"--metric {', '.join(wanted)}: these runs have no such metric; see `bench list metrics`")
    return FORMS[form](found)


def brief(path: Path, form: str) -> str:
    """The page in short, as "text" or "markdown", from a new analysis."""
    from reports import brief as short
    from reports.load import read_run

    folder = RunFolder.existing(path)
    conclude(folder)
    return short.FORMS[form](read_run(folder.path))


def _one(folder: RunFolder, form: str) -> str:
    run, boots = folder.run, folder.boots()
    if form == "lkml":
        return mail_table(run, boots)
    analysis = analyse(run, boots)
    if form == "json":
        return _json(analysis)
    forms = {"csv": csv_of_run, "markdown": markdown.of_run, "text": verdict_table}
    return forms[form](analysis)


def _two(first: RunFolder, second: RunFolder, form: str) -> str:
    if first.path.resolve() == second.path.resolve():
        raise InputError(f"{second.path}: the same run twice; `bench compare {second.path}` compares its arms")
    base, head = (_side(folder) for folder in (first, second))
    differ = differences(base, head)
    if differ:
        lines = [f"{base.name} and {head.name} did not measure the same thing, and are not compared (base | head):"]
        raise InvalidError("\n  ".join([*lines, *map(str, differ)]))
    compared = against(base, head)
    return _json(compared) if form == "json" else {**UNPAIRED_FORMS, "markdown": markdown.of_two}[form](compared)


def _side(folder: RunFolder) -> Side:
    """A plan.yaml that cannot be read is no plan, which `differences` tells."""
    path = folder.path / "plan.yaml"
    plan = read(path).value if path.is_file() else None
    return Side(str(folder.path), folder.run, folder.boots(), plan if isinstance(plan, dict) else None)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
