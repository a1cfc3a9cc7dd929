"""The process that a command runs in: its limits before, its streams behind."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress

FILES = 1 << 16


def allow_many_files() -> None:
    """A host takes two descriptors and more; the usual soft limit of 1024 is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))


def flushed(code: int) -> int:
    """The exit code after everything was written, also what nobody reads any more: no word of that at the very end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code
