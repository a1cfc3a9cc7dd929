"""`bench gate RUN`: the plan's rules on a run, fresh boots for what is red, and the answer in forms that CI reads."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.analysis import gate_texts
from bench.analysis.gate import Measured, Place, Wishes, judge, red_places
from bench.analysis.junit import junit
from bench.commands import running
from bench.commands.saying import say
from bench.controller.fleet import transport_for
from bench.controller.floorstore import copy_floors
from bench.controller.lab import Connect
from bench.controller.plan import Options, load_plan
from bench.controller.store import RunFolder
from bench.controller.yamlfile import raise_problems
from bench.errors import BenchError, InputError, InvalidError, RegressionError, UndecidedError

# Beside the run's own files. A run folder of its own, with plan, seed and boots.
AGAIN = "confirmation"


def as_json(gate: dict[str, Any]) -> str:
    """gate.json."""
    return json.dumps(gate, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FORMS: dict[str, Callable[[dict[str, Any]], str]] = {
    "text": gate_texts.terminal,
    "markdown": gate_texts.markdown,
    "mail": gate_texts.mail,
    "junit": junit,
    "github": gate_texts.github,
    "gitlab": gate_texts.gitlab,
    "json": as_json,
}
# What is left in the run folder, whatever is printed.
FILES = {
    "gate.json": "json",
    "gate.junit.xml": "junit",
    "gate.md": "markdown",
    "gate.txt": "mail",
    "gate.codequality.json": "gitlab",
}
_ERRORS: Mapping[str, type[BenchError]] = {
    "regression": RegressionError,
    "unconfirmed": UndecidedError,
    "undecided": UndecidedError,
    "invalid": InvalidError,
}


@dataclass(frozen=True)
class Asked:
    """The options of `bench gate`. on_undecided "": as the plan says. connect: the road to a host."""

    confirm: bool = True
    on_undecided: str = ""
    form: str = "text"
    wait: bool = False
    connect: Connect = transport_for


def gate(path: Path, asked: Asked) -> tuple[str, BenchError | None]:
    """What to print, and the error that the gate's answer is, None for a pass. gate.json and its like are written.

    Raises InputError for no run folder and a quarantine that has expired, LabError when fresh boots cannot be had.
    """
    folder = RunFolder.existing(path)
    today = dt.datetime.now(dt.UTC).date()
    _check_quarantine(folder, today)
    measured = Measured(path.resolve().name, folder.run, folder.boots())
    wishes = Wishes(today.isoformat(), asked.on_undecided, copy_floors(folder))
    first = judge(measured, None, wishes)
    if first["verdict"] != "unconfirmed" or not asked.confirm:
        return _told(folder, first, asked)
    try:
        again = _measured_again(folder, red_places(measured), asked)
    except (BenchError, KeyboardInterrupt):
        # What is known is told before the reason why no more is.
        _told(folder, first, asked)
        raise
    return _told(folder, judge(measured, again, wishes), asked)


def _check_quarantine(folder: RunFolder, today: dt.date) -> None:
    """An entry that has expired is an error: what it hid is either mended, or nobody looked."""
    path = folder.path / "plan.yaml"
    expired = [
        (index, entry)
        for index, entry in enumerate((folder.run.get("gate") or {}).get("quarantine") or [])
        if entry["until"] < today.isoformat()
    ]
    if expired and not path.is_file():
        raise InputError(f"{path}: is not there, and a quarantine of its gate has expired; put it back")
    if expired:
        document = load_plan(str(path)).document
        raise_problems(
            document.problem(
                ("gate", "quarantine", index, "until"),
                f"expired on {entry['until']} ({entry['metric']}, {entry['owner']}: {entry['reason']}); "
                "remove the entry, or give it another day and a reason",
            )
            for index, entry in expired
        )


def _measured_again(folder: RunFolder, red: Sequence[Place], asked: Asked) -> Measured:
    """Fresh boots of the cells and arms that are red, with another seed. Those of an earlier gate are used, and
    finished where they were interrupted: asking until the answer is liked would be another test.
    """
    path = folder.path / AGAIN
    names = ", ".join(f"{metric} of {arm} in {cell}" for cell, arm, metric in red)
    with contextlib.redirect_stdout(sys.stderr):
        if not path.exists():
            say(f"worse: {names}; measuring it again with fresh boots")
            _begin(folder, red, asked, path)
        elif not (path / "manifest.json").exists():
            say(f"worse: {names}; finishing the fresh boots of an earlier gate")
            _tolerant(lambda: running.resume(path, running.How(wait=asked.wait, connect=asked.connect)))
    again = RunFolder.existing(path)
    return Measured(f"{folder.path.resolve().name}/{AGAIN}", again.run, again.boots())


def _begin(folder: RunFolder, red: Sequence[Place], asked: Asked, path: Path) -> None:
    run = folder.run
    copied = run.get("change") is not None
    arms = dict.fromkeys(arm.removeprefix("head-") if copied else arm for _, arm, _ in red)
    seed = random.SystemRandom().randrange(2**31)
    options = Options(
        sets=("looks=[]", "budget_s=null"),
        arms=tuple(arms),
        workloads=tuple(dict.fromkeys(cell for cell, _, _ in red)),
        blocks=(run.get("gate") or {}).get("confirm") or _blocks(folder),
        seed=seed + 1 if seed == run.get("seed") else seed,
    )
    how = running.How(hosts_file=folder.path / "hosts.yaml", out=path, wait=asked.wait, connect=asked.connect)
    _tolerant(lambda: running.run(str(folder.path / "plan.yaml"), options, how))


def _blocks(folder: RunFolder) -> int:
    """As many blocks as the run has."""
    return max((int(boot["block"]) for boot in folder.boots()), default=2)


def _tolerant(measure: Callable[[], None]) -> None:
    """Boots that cannot be believed are judged with all others."""
    with contextlib.suppress(InvalidError):
        measure()


def _told(folder: RunFolder, found: dict[str, Any], asked: Asked) -> tuple[str, BenchError | None]:
    """Writes every form, renews the page, and answers the one that is wanted, with the error that it is."""
    from bench.commands.reporting import report

    for name, form in FILES.items():
        folder.write_text(name, FORMS[form](found))
    report(folder.path)
    said = gate_texts.headline(found)
    more = f"; all of it: {folder.path / 'gate.md'}"
    error = _ERRORS.get(found["verdict"])
    return FORMS[asked.form](found), error(f"{said}{more}") if error else None
