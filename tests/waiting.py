"""Waiting in tests for something that happens elsewhere."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_for(condition: Callable[[], Any], deadline_s: float, what: str) -> Any:
    """What `condition` answered once it was true. Raises AssertionError after the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s: {what}")


def has_begun(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """The process, once the kernel knows its environment: Popen returns a moment before, as exec closes its files."""
    while not Path(f"/proc/{process.pid}/environ").read_bytes():
        assert process.poll() is None
        time.sleep(0.001)
    return process
