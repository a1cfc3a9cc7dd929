"""A process that takes memory as fast as it gets it, and keeps it until its stdin closes: what a host needs memory for.

    python -m bench.host.newcomer BYTES

One JSON line as it begins ({"t": …, "locked": …}), one for each tenth that it has ({"t": …}); t is the monotonic clock,
which all processes of a host share. What it has touched is locked, where this user may do that: memory of somebody who
uses it does not go to swap for others' sake. Standard library only, Python 3.9.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PARTS = 10
_STEP_BYTES = 1 << 20
_MLOCK_ONFAULT = 1  # mlock2(2), Linux 4.4


def main(argv: Sequence[str]) -> int:
    """0 when it was told to go."""
    size = int(argv[0])
    _first_to_be_killed()
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    locked = _locked(memory)
    _say(t=time.monotonic(), locked=locked)
    _touch(memory, size)
    sys.stdin.buffer.read()
    return 0


def _touch(memory: mmap.mmap, size: int) -> None:
    done = 0
    for part in range(1, PARTS + 1):
        end = size * part // PARTS
        while done < end:
            stop = min(done + _STEP_BYTES, end)
            pages = range(done, stop, mmap.PAGESIZE)
            memory[done : stop : mmap.PAGESIZE] = b"\1" * len(pages)
            done = stop
        _say(t=time.monotonic())


def _first_to_be_killed() -> None:
    """Where there is neither memory nor swap left the kernel ends this, and no guest (proc(5), oom_score_adj)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _locked(memory: mmap.mmap) -> bool:
    """Pages of it are locked as they come; False where this user may not, or the C library has no mlock2."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mlock2"):
        return False
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    found = libc.mlock2(ctypes.c_void_p(address), ctypes.c_size_t(len(memory)), ctypes.c_int(_MLOCK_ONFAULT))
    return bool(found == 0)


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
