"""The host needs memory now: a process in the guests' memory cgroup takes bytes, and keeps them until it leaves.

That is the pressure event of plan `arrival`. The group's limit makes it happen to the guests and never to the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Callable, Optional

from bench.host.cgroup import Group
from bench.host.newcomer import PARTS
from bench.host.process import in_child
from bench.host.readers import parse_colon_table

# What a process of this suite's needs to begin: an interpreter on a host under pressure.
_BEGIN_S = 30.0
# The package that this file belongs to, in a folder or in the zip file that hosts get.
_ROOT = Path(__file__).parents[2]


class NewcomerError(OSError):
    """The process that takes memory ended by itself; the text says how."""


class Newcomer:
    """A process that takes memory. Use `begin`, then `take`; `end` in any case."""

    def __init__(self, process: asyncio.subprocess.Process, asked_bytes: int, base_s: float) -> None:
        self._process, self._asked_bytes, self._base_s = process, asked_bytes, base_s

    @classmethod
    async def begin(
        cls, size_bytes: int, group: Group, now: Callable[[], float], cpus: Collection[int] = ()
    ) -> Newcomer:
        """Starts it in `group`, on these CPUs (none: on this process's). now: the boot's time base. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-S",
            "-m",
            "bench.host.newcomer",
            str(size_bytes),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=functools.partial(in_child, os.getpid(), tuple(cpus), False, group.join),
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )
        newcomer = cls(process, size_bytes, time.monotonic() - now())
        if not group.holds(process.pid):
            await newcomer.end()
            raise NewcomerError(f"the process that takes memory could not be moved into the memory cgroup {group.path}")
        return newcomer

    @property
    def pid(self) -> int:
        return self._process.pid

    async def take(self, deadline_s: float) -> dict[str, Any]:
        """Waits until it has all of its memory, or so long; from then on it takes no more, and keeps what it has.

        -> asked_bytes, bytes (that it has, as the kernel counts them), start_s (when it began, on the time base),
        tenths_s (from then until it had each tenth), ns (to the last, or to giving up), reached, locked.
        Raises NewcomerError where it ended, killed by the kernel perhaps.
        """
        first = await self._line(_BEGIN_S)
        if first is None:
            raise NewcomerError(f"the process that takes memory said nothing for {_BEGIN_S:g} s")
        tenths: list[float] = []
        while len(tenths) < PARTS:
            line = await self._line(first["t"] + deadline_s - time.monotonic(), len(tenths))
            if line is None:
                self._process.send_signal(signal.SIGSTOP)
                break
            tenths.append(round(line["t"] - first["t"], 6))
        reached = len(tenths) == PARTS
        passed = tenths[-1] if reached else time.monotonic() - first["t"]
        return {
            "asked_bytes": self._asked_bytes,
            "bytes": self.memory()["bytes"],
            "start_s": round(first["t"] - self._base_s, 6),
            "tenths_s": tenths,
            "ns": int(passed * 1e9),
            "reached": reached,
            "locked": first["locked"],
        }

    def memory(self) -> dict[str, Optional[int]]:
        """bytes: what it has in memory. swapped_bytes: what of it is in swap."""
        table: dict[str, int] = {}
        with contextlib.suppress(OSError):
            table = parse_colon_table(Path(f"/proc/{self._process.pid}/status").read_text())
        return {"bytes": table.get("RssAnon"), "swapped_bytes": table.get("VmSwap")}

    async def end(self) -> None:
        """It is gone, and its memory with it. Harmless when repeated."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _line(self, within_s: float, tenths: int = 0) -> Optional[dict[str, Any]]:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), max(within_s, 0.0))
        except asyncio.TimeoutError:
            return None
        if not line:
            status = await self._process.wait()
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            had = f"when it had {tenths} tenths of {self._asked_bytes} bytes"
            advice = "; its group had neither memory nor swap left" if status == -signal.SIGKILL else ""
            raise NewcomerError(f"the process that takes memory {how} {had}{advice}")
        found: dict[str, Any] = json.loads(line)
        return found
