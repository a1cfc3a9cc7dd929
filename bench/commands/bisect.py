"""`bench bisect`: the commit that made a metric worse, found by `git bisect run` in a worktree of the repository."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.commands.bisect_ask import Request, asked_of
from bench.commands.bisect_measure import Measure, measured
from bench.commands.bisect_step import FAILURE, build, step
from bench.commands.running import RESULTS
from bench.commands.saying import say
from bench.controller import gittree
from bench.controller.bisecting import (
    BAD,
    BASE,
    EXIT_CODES,
    SHORT,
    SKIP,
    SKIPPED,
    BisectFolder,
    Step,
    sentence,
    table,
)
from bench.errors import (
    BenchError,
    InputError,
    Interrupted,
    InvalidError,
    LabError,
    UndecidedError,
    last_lines,
    rebuilt,
)

# -P: the tree that is bisected must not give this program its modules.
STEP = (sys.executable, "-P", "-m", "bench", "bisect-step")


@dataclass(frozen=True)
class How:
    """wait: for a host on which another bench runs. keep: the worktrees, at the end. measure and step: how a commit is
    measured, and the command that does it for `git bisect run`, the folder behind it.
    """

    wait: bool = False
    keep: bool = False
    measure: Measure = measured
    step: Sequence[str] = STEP


def bisect(request: Request, out: Path | None, how: How) -> str:
    """The first bad commit and every step, as text. Raises UndecidedError where it cannot be told."""
    asked = asked_of(request)
    now = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S")
    folder = BisectFolder.create(out or RESULTS / f"{now}-bisect", asked)
    return _go(folder, how)


def resume(path: Path, how: How) -> str:
    """The same, from where it ended; what has a line in steps.jsonl is not measured again."""
    folder = BisectFolder.existing(path)
    result = folder.result
    if result is None:
        return _go(folder, how)
    if result["culprit"] is None:
        raise InputError(f"--resume {path}: it has ended: {result['reason']}; begin another bisection")
    return _shown(folder, result["culprit"])


def _go(folder: BisectFolder, how: How) -> str:
    """From whatever is there to the end. Raises Interrupted, with what to type to go on."""
    (folder.path / FAILURE).unlink(missing_ok=True)
    try:
        return _to_the_end(folder, how)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"interrupted; go on with: {_resume_command(folder)}") from None


def _to_the_end(folder: BisectFolder, how: How) -> str:
    """What is ended for good has a result.json, and leaves no worktree."""
    try:
        _prepare(folder)
        _check_bad(folder, how)
        culprit = _found(folder, how)
    except _Over as over:
        _end(folder, how, None, str(over.error))
        raise over.error from over.error.__cause__
    except Interrupted:
        raise
    except BenchError:
        say(f"nothing that was measured is lost; go on with: {_resume_command(folder)}")
        raise
    _end(folder, how, culprit, "")
    return _shown(folder, culprit)


class _Over(Exception):  # noqa: N818 - the way to the end, not what is told
    """The bisection has ended without a commit, and resuming it would only tell the same."""

    def __init__(self, error: BenchError) -> None:
        super().__init__(str(error))
        self.error = error


def _prepare(folder: BisectFolder) -> None:
    """Both worktrees, and the good build that all others are measured against."""
    asked = folder.asked
    repo = Path(asked.repo)
    for tree, commit in ((folder.good, asked.good), (folder.tree, asked.bad)):
        if not tree.exists():
            say(f"checking out {commit[:SHORT]} in {tree}")
            gittree.add_worktree(repo, tree, commit)
    if folder.step(asked.good) is not None and (folder.good / asked.file).is_file():
        return
    # What was interrupted while it was checked out is not whole.
    gittree.check_out(folder.good, asked.good)
    subject = gittree.subject_of(repo, asked.good)
    say(f"{asked.good[:SHORT]} {subject}: building what the others are measured against")
    reason, evidence = build(folder, folder.good, asked.good)
    if reason:
        raise _Over(_unbuilt("--good", asked.good, reason, evidence))
    folder.append(Step(asked.good, subject, BASE))


def _unbuilt(option: str, commit: str, reason: str, evidence: Sequence[str]) -> InputError:
    right = "mend --build, or name another commit"
    return InputError(
        "\n".join([f"{option} {commit[:SHORT]}: {reason}; {right}", *(f"  | {line}" for line in evidence)])
    )


def _check_bad(folder: BisectFolder, how: How) -> None:
    """Raises what says that there is nothing to bisect: the bad commit has to be worse than the good one."""
    asked = folder.asked
    if folder.step(asked.bad) is None:
        gittree.check_out(folder.tree, asked.bad)
    # Stdout is for what was found.
    with redirect_stdout(sys.stderr):
        try:
            bad = step(folder, asked.bad, how.measure, wait=how.wait)
        except InputError as error:
            raise _Over(error) from error
    if EXIT_CODES[bad.verdict] == BAD:
        return
    said = f"nothing to bisect: {sentence(bad, asked.metric)}"
    if bad.verdict == SKIP:
        raise _Over(_unbuilt("--bad", asked.bad, bad.reason, bad.evidence))
    if bad.verdict == "invalid":
        raise _Over(InvalidError(said))
    raise _Over(UndecidedError(f"{said}; a bad commit has to be worse than the good one, beyond the margin"))


def _found(folder: BisectFolder, how: How) -> str:
    """The first bad commit, by `git bisect run`."""
    asked = folder.asked
    gittree.start(folder.tree, asked.bad, asked.good)
    left, status = gittree.suspects(folder.tree), 0
    if len(left) > 1:
        say(f"{len(left)} commits, one of which made it worse: about {len(left).bit_length() - 1} to be measured")
        status = _git_bisect_run(folder, how)
        _check_marks(folder, status)
        left = gittree.suspects(folder.tree)
    if len(left) == 1:
        return left[0]
    steps = {commit: folder.step(commit) for commit in left}
    skipped = [made for made in steps.values() if made and EXIT_CODES[made.verdict] == SKIPPED]
    if len(skipped) < len(left) - 1:
        raise _failure(folder, status)
    lines = [sentence(made, asked.metric) for made in steps.values() if made]
    what = f"the first bad commit is one of these {len(left)}; all but the last bad one could not be told:"
    raise _Over(UndecidedError("\n  ".join([what, *lines])))


def _git_bisect_run(folder: BisectFolder, how: How) -> int:
    """Its exit status. The step hears by the end of its stdin that it shall end, whatever became of this process."""
    argv = [*how.step, str(folder.path), *(["--wait"] if how.wait else [])]
    with (folder.path / "log" / "git.txt").open("ab") as out:
        # A group of its own: Ctrl-C is for this process, which waits until the step has ended its guests.
        process = subprocess.Popen(
            gittree.git_argv(folder.tree, "bisect", "run", *argv),
            stdin=subprocess.PIPE,
            stdout=out,
            env=gittree.without_repository(os.environ),
            process_group=0,
        )
        assert process.stdin is not None
        try:
            with process.stdin:
                return process.wait()
        except KeyboardInterrupt:
            say("ending the step; Ctrl-C again leaves without waiting")
            try:
                process.wait()
            except KeyboardInterrupt:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            raise


def _check_marks(folder: BisectFolder, status: int) -> None:
    """Raises LabError where git took a step for good or bad that did not say so: a step that died says nothing."""
    for pattern, code in ((gittree.GOODS, EXIT_CODES[BASE]), (gittree.BAD, BAD)):
        for commit in gittree.refs(folder.tree, pattern):
            made = folder.step(commit)
            if made is None or EXIT_CODES[made.verdict] != code:
                raise _failure(folder, status)


def _failure(folder: BisectFolder, status: int) -> BenchError:
    """Why the bisection stands still: what the step left, or what git said."""
    path = folder.path / FAILURE
    if path.is_file():
        told = json.loads(path.read_text())
        return rebuilt(told["host"] or folder.asked.host, told)
    said = last_lines((folder.path / "log" / "git.txt").read_text(errors="replace"))
    return LabError("controller", f"git bisect run ended with exit status {status} before there was a result", (), said)


def _end(folder: BisectFolder, how: How, culprit: str | None, reason: str) -> None:
    """result.json; and the repository has nothing of the bisection any more."""
    asked = folder.asked
    repo = Path(asked.repo)
    if folder.tree.exists():
        gittree.asked(folder.tree, "bisect", "reset")
    if not how.keep:
        for tree in (folder.tree, folder.good):
            gittree.remove_worktree(repo, tree)
    subject = gittree.subject_of(repo, culprit) if culprit else None
    steps = len(folder.steps())
    told = {"culprit": culprit, "subject": subject, "metric": asked.metric, "steps": steps, "reason": reason}
    folder.write("result.json", told)


def _shown(folder: BisectFolder, culprit: str) -> str:
    return f"{culprit}\n\n{table(folder.steps(), folder.asked.metric)}"


def _resume_command(folder: BisectFolder) -> str:
    return f"bench bisect --resume {shlex.quote(str(folder.path))}"
