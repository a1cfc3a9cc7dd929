"""`bench` apart from what other tests have on this machine: it looks for what killed benches left below a folder.

    python tests/apart.py [ARGUMENT...]     as `python -m bench`

Tests run side by side. One that kills a bench leaves a swap file or a memory cgroup for a moment, and any other command
would remove it, and say so.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

from bench.commands import tidy

# The folder; commands look at the whole machine where it is not set.
VARIABLE = "BENCH_TESTS_ROOT"


def move() -> None:
    """For commands of this process, as its environment says."""
    folder = os.environ.get(VARIABLE)
    if folder:
        tidy.ROOT = Path(folder)


if __name__ == "__main__":
    move()
    runpy.run_module("bench", run_name="__main__", alter_sys=True)
