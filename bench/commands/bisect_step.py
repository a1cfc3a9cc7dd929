"""One commit of a bisection: built, measured against the good build, written down, and told to `git bisect run`."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.commands.bisect_measure import Measure, measured
from bench.commands.saying import say, tell
from bench.controller import gittree
from bench.controller.bisecting import ABORT, EXIT_CODES, SHORT, SKIP, BisectFolder, Step, sentence
from bench.errors import BenchError, Interrupted, last_lines, parts
from bench.wire.units import show_seconds

FAILURE = "failure.json"
# What a build gets to end by itself; a linker may have much to write.
GRACE_S = 5.0


def main(path: Path, *, wait: bool, measure: Measure = measured) -> int:
    """The step of the commit that is checked out, in a process of its own; its exit code is for `git bisect run`.

    Never one that git would take for a verdict when there is none. What ended it is left in FAILURE.
    """
    watch()
    try:
        folder = BisectFolder.existing(path)
        try:
            return EXIT_CODES[step(folder, gittree.head(folder.tree), measure, wait=wait).verdict]
        except BenchError as error:
            folder.write(FAILURE, {"host": getattr(error, "host", ""), **parts(error)})
            return Interrupted.exit_code if isinstance(error, Interrupted) else ABORT
    except KeyboardInterrupt:
        return Interrupted.exit_code
    except Exception:  # noqa: BLE001 - an exit code of 1 would call the commit bad
        traceback.print_exc()
        return ABORT


def watch() -> None:
    """Has this process interrupted when its stdin ends: who drives the bisection is gone, or wants it to end."""

    def until_closed() -> None:
        with suppress(OSError):
            while os.read(0, 1 << 16):
                pass
        # SIGINT may be ignored here: a shell has it so for what it starts in the background.
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=until_closed, daemon=True).start()


def step(folder: BisectFolder, commit: str, measure: Measure, *, wait: bool) -> Step:
    """What the commit in `tree/` comes to; at once where that is known."""
    known = folder.step(commit)
    if known is not None:
        return known
    asked = folder.asked
    made = Step(commit, gittree.subject_of(folder.tree, commit), SKIP)
    say(f"{commit[:SHORT]} {made.subject}: building")
    reason, evidence = build(folder, folder.tree, commit)
    if reason:
        made = replace(made, reason=reason, evidence=evidence)
    else:
        run = folder.new_run(commit)
        found = measure(asked, folder.good, folder.tree, run, wait)
        made = replace(made, **asdict(found), run=run.name)
    folder.append(made)
    gittree.clear(folder.tree)
    say(sentence(made, asked.metric))
    return made


def build(folder: BisectFolder, tree: Path, commit: str) -> tuple[str, tuple[str, ...]]:
    """Why a commit cannot be built, "" when it was, and the log's last lines."""
    asked, log = folder.asked, folder.path / "log" / f"build-{commit[:SHORT]}.txt"
    product, begun = tree / asked.file, time.monotonic()
    # What the commit before left here is not to be measured for this one.
    if gittree.asked(tree, "ls-files", "--error-unmatch", "--", asked.file).returncode != 0:
        product.unlink(missing_ok=True)
    own = {"BENCH_BISECT_REPO": asked.repo, "BENCH_BISECT_COMMIT": commit}
    with log.open("wb") as out:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": subprocess.STDOUT}
        env = {**gittree.without_repository(os.environ), **own}
        try:
            # A group of its own: make has children, and they end with it.
            process = subprocess.Popen(asked.build, cwd=tree, env=env, process_group=0, **streams)
        except OSError as error:
            return f"{asked.build[0]} cannot be run: {error.strerror}", ()
        status = _ended(process)
    evidence = last_lines(log.read_text(errors="replace"))
    if status != 0:
        return f"the build failed with exit status {status} (log: {log})", evidence
    missing = [name for name in (asked.file, asked.modules) if name and not (tree / name).exists()]
    if missing:
        return f"the build ended well, but {missing[0]} is not there (log: {log})", evidence
    say(f"{commit[:SHORT]}: built in {show_seconds(time.monotonic() - begun)}")
    return "", ()


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit status. When interrupted, its whole group is ended first."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        tell("\n")
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
