"""Who made something holds an flock on it, which the kernel drops with the process: so a dead owner's can be told."""

from __future__ import annotations

import fcntl
import os


def owned(descriptor: int) -> int:
    """The descriptor, now with the flock of its file or folder; -1 where another one has that, and it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return -1
    return descriptor
