"""One bench a host, whoever runs it: an flock on a file that every user can open.

The kernel drops the lock with the last descriptor of the process that took it, so a killed one leaves no lock, only its
name in the file. Children do not inherit the descriptor.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

from bench.errors import LabError
from bench.wire.holder import held_by

FILE = "fpr-bench.lock"
# `holder` takes the lock for an instant, and a new holder needs one to write its name.
_TRIES, _PAUSE_S = 5, 0.02


def default_path(root: Path = Path("/")) -> Path:
    """In /run/lock where everybody may write, else in /tmp: what it is must not depend on the user who asks."""
    folder = root / "run/lock"
    try:
        mode = folder.stat().st_mode
    except OSError:
        mode = 0
    open_to_all = mode & stat.S_ISVTX and mode & stat.S_IWOTH
    return (folder if open_to_all else root / "tmp") / FILE


class Lock:
    """The host's lock, held until `release`. taken_over: the holder that died with it, {} for none."""

    def __init__(self, descriptor: int, path: Path, taken_over: dict[str, Any]) -> None:
        self._descriptor = descriptor
        self._path = path
        self.taken_over = taken_over

    def release(self) -> None:
        """Removes the name first, so that it is not taken for that of a holder who died. Harmless when repeated."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        _write(descriptor, b"")
        # Who opened the file meanwhile finds it gone once it has the lock (`_still_there`), and makes another. In a
        # sticky folder another user's file stays, empty.
        with contextlib.suppress(OSError):
            if _still_there(descriptor, self._path):
                self._path.unlink()
        os.close(descriptor)


def acquire(owner: str, run: str, path: Optional[Path] = None) -> Lock:
    """Takes the lock. Raises LabError that names the holder, or says why the file cannot be opened."""
    lock, other = attempt(owner, run, path)
    if lock is None:
        raise LabError("", f"{held_by(other)}; wait with --wait, or end that run")
    return lock


def attempt(owner: str, run: str, path: Optional[Path] = None) -> tuple[Optional[Lock], dict[str, Any]]:
    """The lock, or None and its holder ({} when it left no name). Raises LabError when the file cannot be opened."""
    place = path or default_path()
    other: dict[str, Any] = {}
    for turn in range(_TRIES):
        if turn:
            time.sleep(_PAUSE_S)
        descriptor = _open(place)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _content(descriptor)
            os.close(descriptor)
        else:
            if _still_there(descriptor, place):
                return _named(descriptor, place, owner, run), {}
            os.close(descriptor)
    return None, other


def holder(path: Optional[Path] = None) -> Optional[dict[str, Any]]:
    """Who holds the host now: owner, run, since (UTC), pid; {} when it left no name. None: nobody. Raises LabError."""
    place = path or default_path()
    if not place.exists():
        return None
    descriptor = _open(place)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _content(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _named(descriptor: int, path: Path, owner: str, run: str) -> Lock:
    taken_over = _content(descriptor)
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    body = {"owner": owner, "run": run, "since": since, "pid": os.getpid()}
    _write(descriptor, json.dumps(body, ensure_ascii=False).encode() + b"\n")
    return Lock(descriptor, path, taken_over)


def _open(path: Path) -> int:
    """The file, made for everybody when it is missing. Raises LabError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = _open_or_make(path, flags)
    except OSError as error:
        right = "an administrator may remove it while nobody runs a benchmark"
        raise LabError("", f"the lock {path} cannot be opened: {error.strerror}; {right}") from error
    found = os.fstat(descriptor)
    # Whoever may write to the folder chose what is there: no pipe, and no second name of a file that matters.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise LabError("", f"the lock {path} is no plain file; an administrator should remove it")
    return descriptor


def _open_or_make(path: Path, flags: int) -> int:
    # With fs.protected_regular, O_CREAT fails on a file of another user in a sticky folder: open first, then make.
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            return _open_old(path, flags)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
            os.fchmod(descriptor, 0o666)  # whatever the umask
            return descriptor
    return _open_old(path, flags)


def _open_old(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags)
    except PermissionError:  # what another user closed to writers can still be locked
        return os.open(path, flags & ~os.O_RDWR | os.O_RDONLY)


def _still_there(descriptor: int, path: Path) -> bool:
    """Whether the locked file is the one that others will open: its holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _content(descriptor: int) -> dict[str, Any]:
    try:
        body = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _write(descriptor: int, content: bytes) -> None:
    # A name that cannot be written (another user's file, a full disk) takes nothing from the lock itself.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
