"""`bench report RUN --publish NAME`: a run's folder beside other published ones, and their index.

What is published is a run folder like any other, without the logs: `bench report` makes the same page of it again, byte
for byte.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.controller.store import RunFolder
from bench.errors import InputError

PUBLISHED = Path("reports/published")
# What the analysis, the page and the exports are made of; the rest is made of it.
_FILES = ("run.json", "plan.yaml", "hosts.yaml", "boots.jsonl", "events.jsonl", "gate.json", "floors.json")
_FOLDERS = {"series": "*.csv.gz", "hosts": "*.json"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,79}\Z")


@dataclass(frozen=True)
class Published:
    """What was written: the page, the index of all published runs, and the size of the folder in bytes."""

    page: Path
    index: Path
    size: int


def publish(run: Path, name: str, into: Path = PUBLISHED) -> Published:
    """Copies a run to into/name and renews the index there. What is there under that name is replaced, whole or not.

    Raises InputError for no run folder, one without boots, a name that is none, or one that is something else's.
    """
    from bench.commands.reporting import report
    from reports import index

    folder = RunFolder.existing(run)
    target = into / name
    _check(folder, name, target)
    into.mkdir(parents=True, exist_ok=True)
    # Beside it, for a rename; with its name, which is on the page.
    stage = Path(tempfile.mkdtemp(prefix=".publish-", dir=into))
    try:
        copy = stage / "new" / name
        _copy(folder.path, copy)
        page = report(copy)
        size = sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())
        if target.exists():
            target.rename(stage / "old")
        copy.rename(target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return Published(target / page.name, index.render(into), size)


def _check(folder: RunFolder, name: str, target: Path) -> None:
    if not _NAME.match(name):
        raise InputError(
            f"--publish {name}: no name for a report; use letters, digits, -, + and _, as in overcommit-tcg"
        )
    if not folder.boots():
        raise InputError(f"{folder.path}: no boot has ended, so there is nothing to publish")
    if target.resolve() == folder.path.resolve():
        raise InputError(
            f"{folder.path}: this is the published run itself; `bench report {folder.path}` makes its page anew"
        )
    if target.exists() and not (target / "run.json").is_file():
        raise InputError(f"--publish {name}: {target} is there, and no published run; name another")


def _copy(run: Path, copy: Path) -> None:
    copy.mkdir(parents=True)
    found = [run / name for name in _FILES]
    found += [path for folder, pattern in _FOLDERS.items() for path in sorted((run / folder).glob(pattern))]
    for path in found:
        # A link would publish what it points to.
        if path.is_file() and not path.is_symlink():
            place = copy / path.relative_to(run)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place)
    (copy / "pyperf").mkdir()
    folder = RunFolder(copy)
    folder.write_json("run.json", {**folder.run, "command": _without_place(folder.run.get("command"))})


def _without_place(command: Any) -> Any:
    """What was typed, without the folder that the run was written to: that is the controller's own."""
    if not isinstance(command, list):
        return command
    given = [index for index, word in enumerate(command) if word == "--out"]
    left_out = {place for index in given for place in (index, index + 1)}
    return [word for index, word in enumerate(command) if index not in left_out and not str(word).startswith("--out=")]
