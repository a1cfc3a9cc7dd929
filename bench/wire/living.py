"""A process told by its number and the moment of its start: a number alone is given to another one later.

What the controller starts on its own machine carries the controller's identity in its environment. So any other process
can tell whether a host side is still wanted, or is about to end because its controller is gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional

VARIABLE = "BENCH_CONTROLLER"
_GONE = ("Z", "X")


def identity(pid: int, root: Path = Path("/")) -> str:
    """ "PID:TICKS", of when it was started since the boot of the machine (proc(5), stat); "" where it has ended."""
    try:
        # The program's name is in parentheses, and may hold any character.
        state, *others = (root / f"proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    # Field 22 of all, which is 19 behind the state.
    return "" if state in _GONE else f"{pid}:{others[18]}"


def is_gone(controller: str, root: Path = Path("/")) -> bool:
    """Whether the process that `identity` told of has ended."""
    number = controller.partition(":")[0]
    return not number.isdigit() or identity(int(number), root) != controller


def controller_of(pid: int, root: Path = Path("/")) -> Optional[str]:
    """The identity of the controller on this machine that started a process; None without one, or where hidden."""
    try:
        words = (root / f"proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    start = f"{VARIABLE}=".encode()
    return next((word[len(start) :].decode(errors="replace") for word in words if word.startswith(start)), None)
