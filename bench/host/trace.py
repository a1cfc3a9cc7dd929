"""QEMU's stderr: discards, failed discards, and everything else, told apart line by line (pure).

Mechanism: the trace event ram_block_discard_range (QEMU system/physmem.c) fires after a successful discard; a failing
one prints "Failed to discard range" instead (seen with QEMU 7.2 and `-overcommit mem-lock=on`: -22 each).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

_DISCARD = re.compile(
    r"^\d+@(?P<time>\d+\.\d+):ram_block_discard_range (?P<block>\S*)@0x[0-9a-f]+ \+ 0x(?P<length>[0-9a-f]+): "
    r"madvise: \d fallocate: \d ret: (?P<ret>-?\d+)"
)
_FAILED = re.compile(r"Failed to discard range \S+:[0-9a-f]+ \+(?P<length>[0-9a-f]+) \((?P<ret>-?\d+)\)")
_TRACE = re.compile(r"^\d+@\d+\.\d+:")


@dataclass(frozen=True)
class Discard:
    """One discard. wall_s: seconds since the epoch, None for a failure (its message has no usable clock)."""

    length_bytes: int
    failed: bool
    wall_s: Optional[float] = None


def parse_line(line: str) -> Optional[Discard]:
    """The discard that a line of QEMU's stderr tells of, or None for a line that belongs in the log."""
    match = _DISCARD.match(line)
    if match:
        return Discard(int(match["length"], 16), match["ret"] != "0", float(match["time"]))
    match = _FAILED.search(line)
    if match:
        return Discard(int(match["length"], 16), failed=True)
    return None


def is_trace(line: str) -> bool:
    """Whether the line is a trace event; one that parse_line cannot read means that QEMU changed its format."""
    return bool(_TRACE.match(line))
