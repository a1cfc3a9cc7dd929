"""What belongs to a process ends with it: its locks by the kernel, its children by a signal."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def owned(descriptor: int) -> int:
    """The descriptor, now with the flock of its file or folder; -1 where another one has that, and it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor


def locked(folder: Path) -> int:
    """A descriptor with the flock of a folder, -1 where somebody else has that, or the folder is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    return owned(descriptor)


def die_with(parent: int) -> None:
    """For preexec_fn: SIGKILL to this child when the parent's thread ends, and at once where it ended before.

    parent: the parent's pid, asked before the fork.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
