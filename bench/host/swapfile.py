"""A swap file that the suite makes for one run, and removes at its end. Root's only: it may hold anybody's memory.

It is its own entry in the journal: its name says what it is, and who made it holds an flock on it, which the kernel
drops with the process. So `prune` tells those of dead owners from living ones', whatever the journal's folder is. Swap
that was there before is not touched; the file is used before it, since its priority is the highest there is.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.host.owning import die_with, owned
from bench.host.swaps import active
from bench.wire.units import GIB, MIB, show_bytes

PREFIX, SUFFIX, LABEL = "fpr-bench-", ".swap", "fpr-bench"
# What the disk keeps free, for results and for whoever else needs it.
MARGIN_BYTES = GIB
_PRIORITY = 32767
# swapoff reads back what is still in use.
_DEADLINE_S = 120.0
# A login by SSH may have no /sbin on its PATH.
_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")


class RefusedError(Exception):
    """No swap file can be made; the text says why, and what would be right."""


class SwapFile:
    """A swap file in use, locked by this process."""

    def __init__(self, path: Path, size_bytes: int, descriptor: int) -> None:
        self.path, self.size_bytes = path, size_bytes
        self._descriptor = descriptor

    def remove(self) -> str:
        """Takes it out of use and away; "", or why it is still there. Harmless when repeated."""
        if self._descriptor < 0:
            return ""
        descriptor, self._descriptor = self._descriptor, -1
        try:
            return _removed(self.path, descriptor)
        finally:
            os.close(descriptor)


def make(folder: Path, size_bytes: int) -> SwapFile:
    """A new swap file in `folder`, in use. Raises RefusedError."""
    problem = refusal(folder, size_bytes)
    if problem:
        raise RefusedError(problem)
    path = folder / f"{PREFIX}{os.getpid()}{SUFFIX}"
    try:
        descriptor = _locked_new(path)
    except OSError as error:
        raise RefusedError(f"{path} cannot be made: {error.strerror}") from error
    file = SwapFile(path, size_bytes, descriptor)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        _run(descriptor, "mkswap", "-L", LABEL, str(path))
        _run(descriptor, "swapon", "-p", str(_PRIORITY), str(path))
    except BaseException as error:
        file.remove()
        if isinstance(error, (OSError, subprocess.SubprocessError)):
            advice = "a folder on ext4 or xfs would do (scratch:)"
            raise RefusedError(f"no swap file in {folder}: {_reason(error)}; {advice}") from error
        raise
    return file


def _locked_new(path: Path) -> int:
    """A descriptor of a new, empty file, locked. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # somebody's `prune` was quicker


def refusal(folder: Path, size_bytes: int) -> str:
    """Why none of this size can be made there, before anything is tried; "" when nothing speaks against it."""
    if os.geteuid() != 0:
        by_hand = (
            f"fallocate -l {size_bytes // MIB}M /swapfile, chmod 600 /swapfile, mkswap /swapfile, swapon /swapfile"
        )
        return f"a swap file is made by root only: log in as root (user: root), or have one made there: sudo {by_hand}"
    free = shutil.disk_usage(folder).free
    if size_bytes + MARGIN_BYTES > free:
        sizes = f"{show_bytes(size_bytes)} + {show_bytes(MARGIN_BYTES)} that stay free"
        needed = show_bytes(size_bytes + MARGIN_BYTES)
        return f"{sizes} = {needed}, but {folder} has {show_bytes(free)}; make it smaller, or name another (scratch:)"
    return ""


@contextlib.contextmanager
def swap_file(folder: Path, size_bytes: int) -> Iterator[dict[str, Any]]:
    """A swap file meanwhile, 0 bytes for none: path and bytes of it, or problem; {} for none.

    What could not be removed at the end is `problem` of the same mapping then.
    """
    told: dict[str, Any] = {}
    if not size_bytes:
        yield told
        return
    try:
        file = make(folder, size_bytes)
    except RefusedError as refused:
        yield {"problem": str(refused)}
        return
    told.update(path=str(file.path), bytes=size_bytes)
    try:
        yield told
    finally:
        problem = file.remove()
        if problem:
            told["problem"] = problem


def there(folders: Iterable[Path], root: Path = Path("/")) -> set[Path]:
    """The swap files of all host sides: those in use, wherever they lie, and those in `folders`."""
    in_use = [Path(item.name) for item in active(root)]
    mine = {path for path in in_use if path.name.startswith(PREFIX) and path.name.endswith(SUFFIX)}
    return mine.union(*(folder.glob(f"{PREFIX}*{SUFFIX}") for folder in folders))


def prune(folders: Iterable[Path], root: Path = Path("/")) -> list[tuple[Path, str]]:
    """Removes swap files of owners that died, in use or not: each with "", or why it is still there."""
    found = []
    for path in there(folders, root):
        descriptor = _orphan(path)
        if descriptor >= 0:
            try:
                found.append((path, _removed(path, descriptor)))
            finally:
                os.close(descriptor)
    return found


def _orphan(path: Path) -> int:
    """A descriptor with the lock of a swap file of this user that nobody else holds, -1 for any other file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        return owned(descriptor)
    os.close(descriptor)
    return -1


def _removed(path: Path, descriptor: int) -> str:
    try:
        if any(item.name == str(path) for item in active()):
            _run(descriptor, "swapoff", str(path))
        path.unlink(missing_ok=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"the swap file {path} is left: {_reason(error)}; run: sudo swapoff {path} && sudo rm {path}"
    return ""


def _run(descriptor: int, program: str, *args: str) -> None:
    """Raises OSError, subprocess.SubprocessError. descriptor: has the file's lock.

    The program dies with this process, and has the lock until it did: nobody takes the file away meanwhile.
    """
    path = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), *_FOLDERS)))
    argv: Sequence[str] = (path or program, *args)
    subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_DEADLINE_S,
        check=True,
        pass_fds=(descriptor,),
        preexec_fn=functools.partial(die_with, os.getpid()),
        env={**os.environ, "LC_ALL": "C"},
    )


def _reason(error: BaseException) -> str:
    told = error.stderr.strip().splitlines() if isinstance(error, subprocess.CalledProcessError) else []
    return told[-1] if told else str(error)
