"""Whether a guest ran out of memory, from what its kernel printed (mm/oom_kill.c). Pure."""

from __future__ import annotations

import re
from typing import Optional

from bench.wire.record import OUT_OF_MEMORY

# What begins a report, and what the kernel says at its end: whom it killed, or that there is nobody to kill.
_MARKS = re.compile(
    r"invoked oom-killer|Out of memory|oom-kill:|Memory cgroup out of memory|System is deadlocked on memory"
)
_WORST = re.compile(r"Kernel panic.*System is deadlocked on memory|Out of memory[:,].*|invoked oom-killer.*")
_MOST_LINES = 60


def report(text: str) -> list[str]:
    """The lines of the kernel's report on a guest out of memory, from its first to its last mark; [] without one."""
    lines = text.splitlines()
    marked = [index for index, line in enumerate(lines) if _MARKS.search(line)]
    return lines[marked[0] : marked[-1] + 1][-_MOST_LINES:] if marked else []


def reason(lines: list[str]) -> Optional[str]:
    """The boot's reason in words, None where the report is empty."""
    if not lines:
        return None
    said = next((found.group(0) for line in reversed(lines) for found in (_WORST.search(line),) if found), lines[-1])
    return f"{OUT_OF_MEMORY}: {said.strip()}"
