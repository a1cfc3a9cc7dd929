"""A host held for one run: its lock and its settings, both given back when the controller is gone.

The settings of a run whose keeper was killed are restored by the next one, from the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import InputError, LabError
from bench.host import lock, tune
from bench.host.journal import COMMAND, Journal, default_path
from bench.host.lock import Lock
from bench.host.presence import watched
from bench.host.settingfile import writer
from bench.host.swapfile import swap_file
from bench.wire.cache import cache_folder
from bench.wire.codec import to_json
from bench.wire.job import Hold
from bench.wire.record import Held, Record, Released, Waiting
from bench.wire.setting import Setting

POLL_S = 0.5
SECOND_OPINION_DEADLINE_S = 20.0
Emit = Callable[[Record], None]


async def keep(
    hold: Hold, emit: Emit, heartbeat_s: float = 0.0, root: Path = Path("/"), removed: Sequence[str] = ()
) -> None:
    """Emits Waiting (once a holder), Held, and Released after the controller is gone. removed: as of Held.

    Raises LabError when the host is held by somebody else and the Hold does not wait, InputError for a setting that is
    none. A controller that went away while this waited gets nothing, and nothing was done.
    """
    gone = asyncio.Event()
    with watched(gone, heartbeat_s):
        taken = await _taken(hold, emit, gone, lock.default_path(root))
        if taken is None:
            return
        try:
            with swap_file(cache_folder(), hold.swap_file_bytes) as swap:
                found = Held(taken.taken_over, swap=swap, removed=tuple(removed))
                settings = await _serve(hold, emit, gone, found, root)
        finally:
            taken.release()
        left = {"problem": swap["problem"]} if "path" in swap and "problem" in swap else {}
        emit(Released(tuple(settings), left))


async def _taken(hold: Hold, emit: Emit, gone: asyncio.Event, path: Path) -> Lock | None:
    """The lock; None when the controller is gone before it is free."""
    if not hold.wait:
        return lock.acquire(hold.owner, hold.run, path)
    told: dict[str, Any] | None = None
    while not gone.is_set():
        taken, holder = lock.attempt(hold.owner, hold.run, path)
        if taken:
            return taken
        if holder != told:
            emit(Waiting(holder))
            told = holder
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(gone.wait(), POLL_S)
    return None


async def _serve(hold: Hold, emit: Emit, gone: asyncio.Event, found: Held, root: Path) -> list[Setting]:
    """The settings after they were restored. Whatever happens, they are. found: what is told without the settings."""
    names = tune.ordered([name for name in hold.tune if name != tune.HELD_ELSEWHERE])
    write = writer(hold.become)
    journal = _journal()
    by = f"run {COMMAND}" if hold.run == COMMAND else hold.run  # that word in the journal is the user's
    with _writing(journal):
        recovered = tune.recover(journal, write, root)
    try:
        settings = tune.apply(names, journal, by, write, root) if names else []
        emit(replace(found, recovered=tuple(recovered), settings=tuple(settings), swap=dict(found.swap)))
        await gone.wait()
    finally:
        with _writing(journal):
            restored = tune.restore(journal, write, root, by=by)
    return restored


def _journal() -> Journal:
    """The journal of this user, mended, for who has the lock; its problems go to the log. Raises LabError."""
    journal = Journal(default_path())
    with _writing(journal):
        journal.mend()
    for line in journal.problems:
        print(f"host side: {line}", file=sys.stderr)
    return journal


@contextlib.contextmanager
def _writing(journal: Journal) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        right = "free some space, or name another folder in BENCH_STATE"
        raise LabError("", f"the journal {journal.path} cannot be written: {error.strerror}; {right}") from error


# -- the question "tune" -------------------------------------------------------------------------------------------


def tune_answer(args: Mapping[str, Any], root: Path = Path("/")) -> dict[str, Any]:
    """args: action "show", "apply" or "restore"; names ([]: all, of apply those that are not ONLY_BY_NAME); become.

    -> settings, journal (entries that are left), problems (of the journal's file, and what a dead run had left),
    second_opinion (lines of pyperf about this host, of "show" only). apply and restore have the host's lock meanwhile.
    Restoring is of everything the journal has of these names. Raises InputError, LabError.
    """
    action, names = args["action"], args["names"]
    if action not in ("show", "apply", "restore"):
        raise InputError(f"unknown action {action!r}; known: show, apply, restore", "action")
    if action == "show":
        journal = Journal(default_path())
        settings = tune.show(names, root)
        opinion = second_opinion()
    else:
        settings, journal = _tuned(action, names, args["become"], root)
        opinion = []
    return {
        "settings": [to_json(item) for item in settings],
        "journal": [to_json(entry) for entry in journal.entries],
        "problems": journal.problems,
        "second_opinion": opinion,
    }


def _tuned(action: str, names: list[str], become: str, root: Path) -> tuple[list[Setting], Journal]:
    tune.ordered(names)  # a wrong name is said before anything is done
    write = writer(become)
    taken = lock.acquire(f"{os.environ.get('USER') or os.getuid()}@{platform.node()}", "tune", lock.default_path(root))
    try:
        journal = _journal()
        with _writing(journal):
            if action == "restore":
                return tune.restore(journal, write, root, names=names), journal
            # What a dead run left is no state to come back to.
            recovered = tune.recover(journal, write, root)
        journal.problems += [f"left by a run that died: {item.file}, {item.state}" for item in recovered]
        return tune.apply(names, journal, COMMAND, write, root), journal
    finally:
        taken.release()


def second_opinion() -> list[str]:
    """What `pyperf system show` says about this host; [] where pyperf is not installed or does not end."""
    argv = [sys.executable, "-m", "pyperf", "system", "show"]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECOND_OPINION_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()
