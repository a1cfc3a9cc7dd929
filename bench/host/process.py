"""QEMU as a child that cannot outlive this process, with its stderr told apart as it comes.

Parent-death signal: prctl(PR_SET_PDEATHSIG) in the child before exec, so that even `kill -9` of this process takes the
guest with it. It is tied to the *thread* that forked: spawn from the main thread only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Optional

from bench.host.owning import die_with
from bench.host.trace import is_trace, parse_line
from bench.wire.record import Row, of_guest

_PR_SET_THP_DISABLE = 41
_LIBC = ctypes.CDLL(None, use_errno=True)
KILL_AFTER_S = 3.0
LINE_LIMIT_BYTES = 1 << 20
# Of a line that is kept: the log is one record, and so are its last lines as evidence.
KEPT_LINE_CHARS = 2000


def in_child(parent: int, cpus: Collection[int], no_thp: bool, join: Optional[Callable[[], None]]) -> None:
    die_with(parent)
    if join:
        join()
    if no_thp:
        _LIBC.prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    if cpus:
        # Where this does not work, it is seen when the affinity is read back (bench.host.placement).
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cpus)


class Qemu:
    """A running QEMU. Discards go to `rows` (a callable), other stderr lines to `log`.

    started_s: its start on the monotonic clock. zero_s: that of the time base, its own start unless another one's.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        started_s: float,
        rows: Callable[[list[Row]], None],
        zero_s: Optional[float] = None,
        guest: int = 0,
    ) -> None:
        self.argv: tuple[str, ...] = ()
        self._process = process
        self._rows = rows
        self._source = of_guest("discard", guest)
        self.started_s = started_s
        self.zero_s = started_s if zero_s is None else zero_s
        # Trace lines carry the wall clock: where its zero lies on the monotonic time base, at the start and at the end.
        self._wall_zero = time.time() - self.now()
        self.log: deque[str] = deque(maxlen=2000)
        self.trace_error = ""
        self._reading = asyncio.ensure_future(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def wall_step_s(self) -> float:
        """How far the wall clock moved against the monotonic one since the start: the error of discard times."""
        return (time.time() - self.now()) - self._wall_zero

    def now(self) -> float:
        """Seconds on the time base of all records."""
        return time.monotonic() - self.zero_s

    def age(self) -> float:
        """Seconds since its own start."""
        return time.monotonic() - self.started_s

    async def wait(self) -> int:
        """The exit status, after the last line of stderr was read."""
        await asyncio.shield(self._reading)
        return await self._process.wait()

    async def end(self) -> None:
        """Makes sure that the process is gone, and what it started: SIGTERM, then SIGKILL after KILL_AFTER_S.

        The whole process group: `qemu` may be a wrapper script, whose child would hold stderr and the guest.
        """
        gone = asyncio.ensure_future(self.wait())
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is None or not self._reading.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)
                await asyncio.wait({gone}, timeout=KILL_AFTER_S)
        gone.cancel()
        self._reading.cancel()
        await asyncio.gather(gone, self._reading, return_exceptions=True)

    async def _read(self) -> None:
        assert self._process.stderr is not None
        while True:
            try:
                raw = await self._process.stderr.readline()
            except ValueError:  # how asyncio says that its limit was reached; it drops what it had read
                self.log.append(f"(part of a line of more than {LINE_LIMIT_BYTES} bytes, left out)")
                continue
            if not raw:
                return
            self._take(raw.decode(errors="replace").rstrip("\n"))

    def _take(self, line: str) -> None:
        discard = parse_line(line)
        if discard is not None:
            t = self.now() if discard.wall_s is None else discard.wall_s - self._wall_zero
            name = "failed_bytes" if discard.failed else "bytes"
            self._rows([(round(t, 6), self._source, name, float(discard.length_bytes))])
        elif is_trace(line):
            self.trace_error = f"a trace line in an unknown format: {line[:200]}"
        if discard is None or discard.failed:
            self.log.append(line if len(line) <= KEPT_LINE_CHARS else f"{line[:KEPT_LINE_CHARS]} (cut off)")


async def spawn(
    argv: Sequence[str],
    rows: Callable[[list[Row]], None],
    cpus: Collection[int] = (),
    no_thp: bool = False,
    join: Optional[Callable[[], None]] = None,
    zero_s: Optional[float] = None,
    guest: int = 0,
) -> Qemu:
    """Starts QEMU, on these CPUs from its first instruction (none: on this process's). Raises OSError.

    no_thp: the process gets no transparent huge pages, whatever the host's setting (PR_SET_THP_DISABLE, prctl(2)).
    join: called in the child before exec, and raises nothing. zero_s, guest: as of `Qemu`, and of its rows.
    """
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=functools.partial(in_child, os.getpid(), tuple(cpus), no_thp, join),
        start_new_session=True,
        limit=LINE_LIMIT_BYTES,
    )
    qemu = Qemu(process, started, rows, zero_s, guest)
    qemu.argv = tuple(argv)
    return qemu
