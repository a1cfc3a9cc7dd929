"""A bisection on disk: what was asked, and what every commit came to; and what git is told of that.

Its folder holds `bisect.json` (Asked), `steps.jsonl` (one Step a line), `good/` and `tree/` (worktrees of the
repository, while it lasts), `runs/NN-COMMIT/` (run folders), `log/` (what builds and git said), and at its end
`result.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.analysis.shown import effect, interval, interval_title
from bench.errors import InputError, LabError
from bench.wire.codec import WireError, from_json, to_json
from bench.wire.metrics import METRICS
from bench.wire.units import printable

SCHEMA = 1
# What a line says of a commit besides the words of a verdict.
BASE, SKIP = "base", "skip"
# What `git bisect run` does after each exit code: good, bad, skip this commit, end the whole of it (any from 128 on).
GOOD, BAD, SKIPPED, ABORT = 0, 1, 125, 255
EXIT_CODES = {
    BASE: GOOD,
    "equivalent": GOOD,
    "better": GOOD,
    "worse": BAD,
    "undecided": SKIPPED,
    "invalid": SKIPPED,
    SKIP: SKIPPED,
}
SHORT = 12
_SUBJECT = 34


@dataclass(frozen=True)
class Asked:
    """What a bisection was asked for, with everything that later options could change, and every path absolute.

    good, bad: commits. kind: kernel or qemu. file: what the build makes, and modules: the folder of a kernel's, "" for
    none, both from the top of the tree. margin: the smallest change of the metric that matters. folder: where the
    command was called. sets and others: as in `bench run`.
    """

    repo: str
    good: str
    bad: str
    metric: str
    margin: float
    build: tuple[str, ...]
    kind: str
    file: str
    modules: str
    plan: str
    workload: str
    arm: str
    host: str
    hosts_file: str
    folder: str
    variant: str
    sets: tuple[str, ...]
    blocks: int
    most_blocks: int
    seed: int | None


@dataclass(frozen=True)
class Step:
    """What a commit came to. verdict: a key of EXIT_CODES. effect, low, high: of the metric, against the good build.

    percent: of the interval. run: the run folder's name, "" where nothing was measured. reason: why the verdict.
    evidence: last lines of a log.
    """

    commit: str
    subject: str
    verdict: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    percent: float = 95.0
    blocks: int = 0
    run: str = ""
    reason: str = ""
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class BisectFolder:
    """The folder of one bisection. Use `create` or `existing`."""

    path: Path
    asked: Asked

    @classmethod
    def create(cls, path: Path, asked: Asked) -> BisectFolder:
        """A new one. Raises InputError when it cannot be made."""
        if path.exists():
            raise InputError(f"--out {path}: it exists already; go on with --resume {path}, or name another")
        try:
            for name in ("runs", "log"):
                (path / name).mkdir(parents=True)
            folder = cls(path.resolve(), asked)
            folder.write("bisect.json", {"schema": SCHEMA, **to_json(asked)})
        except OSError as error:
            raise InputError(f"--out {path}: {error.strerror}; name another folder") from error
        return folder

    @classmethod
    def existing(cls, path: Path) -> BisectFolder:
        """One that was begun. Raises InputError when it is none."""
        try:
            told = json.loads((path / "bisect.json").read_text())
            schema = told.pop("schema")
            if schema != SCHEMA:
                raise InputError(f"{path}: begun by another version (schema {schema}, not {SCHEMA}); begin it anew")
            return cls(path.resolve(), from_json(Asked, told))
        except OSError as error:
            what = f"no folder of a bisection ({error.strerror}: bisect.json)"
            raise InputError(f"{path}: {what}; name what `bench bisect --out` made") from error
        except (ValueError, AttributeError, TypeError, KeyError, WireError) as error:
            raise InputError(f"{path}/bisect.json: cannot be read: {error}; begin the bisection anew") from error

    @property
    def good(self) -> Path:
        return self.path / "good"

    @property
    def tree(self) -> Path:
        return self.path / "tree"

    @property
    def result(self) -> dict[str, Any] | None:
        """How it ended; None while it has not."""
        path = self.path / "result.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def write(self, name: str, value: Any) -> None:
        """A JSON file, whole or not at all. Raises LabError when the disk is full."""
        temporary = self.path / f".{name}.tmp"
        try:
            temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", errors="replace")
            temporary.replace(self.path / name)
        except OSError as error:
            raise self._unwritten(name, error) from error

    def steps(self) -> list[Step]:
        """Every step so far, oldest first. A line torn by a crash is none."""
        path = self.path / "steps.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [from_json(Step, json.loads(line)) for line in lines if line.endswith(b"\n")]

    def step(self, commit: str) -> Step | None:
        """What is known of a commit."""
        return {step.commit: step for step in self.steps()}.get(commit)

    def append(self, step: Step) -> None:
        """One line, on disk when this returns. Raises LabError when the disk is full."""
        line = json.dumps(to_json(step), ensure_ascii=False).encode(errors="replace") + b"\n"
        try:
            with (self.path / "steps.jsonl").open("a+b") as file:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritten("steps.jsonl", error) from error

    def _unwritten(self, name: str, error: OSError) -> LabError:
        return LabError("controller", f"{self.path / name} cannot be written: {error.strerror}")

    def new_run(self, commit: str) -> Path:
        """Where the next run goes: numbered in the order of time, also of runs that came to nothing."""
        numbers = [int(run.name.partition("-")[0]) for run in (self.path / "runs").glob("[0-9]*-*")]
        return self.path / "runs" / f"{max(numbers, default=0) + 1:02}-{commit[:SHORT]}"


def sentence(step: Step, metric: str) -> str:
    """A step in one line, as it is told when it was made."""
    amount, around = _amounts(step, metric)
    measured = f" {metric} {amount} ({around}), {step.blocks} blocks" if step.blocks else ""
    because = f": {step.reason}" if step.reason and step.verdict not in ("worse", "better", "equivalent") else ""
    return f"{step.commit[:SHORT]} {printable(step.subject)}: {step.verdict}{measured}{because}"


def table(steps: Sequence[Step], metric: str) -> str:
    """The steps as text, in the order in which they were made."""
    # Pandas, for which a step would wait.
    from bench.analysis.tables import text_table

    rows = []
    for step in steps:
        subject = printable(step.subject)
        shown = subject if len(subject) <= _SUBJECT else subject[: _SUBJECT - 1] + "…"
        name = f"{step.commit[:SHORT]}  {shown}"
        rows.append([name, step.verdict, *_amounts(step, metric), str(step.blocks)])
    title = interval_title([{"percent": max((step.percent for step in steps if step.blocks), default=95.0)}])
    head = (f"commit ({metric})", "verdict", "effect", title, "blocks")
    return "\n".join(text_table(head, rows)) + "\n"


def _amounts(step: Step, metric: str) -> tuple[str, str]:
    """Effect and interval as text."""
    known = METRICS[metric]
    told = {"kind": known.kind, "unit": known.unit, "effect": step.effect, "low": step.low, "high": step.high}
    return effect(told), interval(told)
