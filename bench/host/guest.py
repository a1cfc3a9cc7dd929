"""The host's end of the guest link: JSON lines with the agent over a virtio-serial port, QEMU's socket in between.

One request at a time; every answer carries the guest's own monotonic times.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINE_LIMIT_BYTES = 4 << 20
EXCHANGES = 8


class GuestError(Exception):
    """The guest did not do what was asked: it answered with an error, spoke nonsense, or its port was closed."""


class GuestUnsupported(Exception):  # noqa: N818 - no error: the kernel is what it is
    """This guest's kernel lacks what the arm is about; the text is the agent's reason."""


@dataclass(frozen=True)
class Answer:
    """What the agent answered. start_ns, end_ns: the guest's monotonic clock around the op."""

    start_ns: int
    end_ns: int
    result: dict[str, Any]


@dataclass(frozen=True)
class ClockTie:
    """offset_s: host time base minus guest monotonic seconds; error_s: half the shortest round trip."""

    offset_s: float
    error_s: float


class GuestLink:
    """An open link. Use `open_link` to get one; `ready()` first, then `call()`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0

    async def ready(self) -> dict[str, Any]:
        """Waits for READY and answers the guest's facts. Deadlines are the caller's."""
        message = await self._read()
        if message.get("event") != "ready":
            raise GuestError(f"the agent should have said READY, but said {message!r:.200}")
        facts: dict[str, Any] = _part(message, "facts")
        return facts

    async def call(self, op: str, **args: Any) -> Answer:
        """Runs one op in the guest. Raises GuestError or GuestUnsupported with the agent's own words."""
        self._number += 1
        self._writer.write(json.dumps({"id": self._number, "op": op, "args": args}).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # what reads says the same, in words
            await self._writer.drain()
        message = await self._read()
        if message.get("id") != self._number:
            raise GuestError(f"answer to request {message.get('id')!r}, but {self._number} was asked")
        if message.get("unsupported"):
            raise GuestUnsupported(str(_part(message, "error")))
        if not _part(message, "ok"):
            raise GuestError(f"op {op}: {_part(message, 'error')}")
        return Answer(_part(message, "start_ns"), _part(message, "end_ns"), _part(message, "result"))

    async def tie_clocks(self, clock: Callable[[], float]) -> ClockTie:
        """Ties the guest's monotonic clock to `clock` (seconds): the exchange with the shortest round trip counts."""
        ties = []
        for _ in range(EXCHANGES):
            sent = clock()
            answer = await self.call("clock")
            received = clock()
            guest_s = answer.result["monotonic_ns"] / 1e9
            ties.append(ClockTie((sent + received) / 2 - guest_s, (received - sent) / 2))
        return min(ties, key=lambda tie: tie.error_s)

    def close(self) -> None:
        self._writer.close()

    async def _read(self) -> dict[str, Any]:
        try:
            line = await self._reader.readline()
        except ConnectionError:
            raise GuestError("the guest's port was closed") from None
        except ValueError:  # how asyncio says that its limit was reached
            raise GuestError(f"the agent sent a line of more than {LINE_LIMIT_BYTES} bytes") from None
        if not line.endswith(b"\n"):
            raise GuestError("the guest's port was closed")
        try:
            message = json.loads(line)
        except ValueError as error:
            raise GuestError(f"not a line of the agent: {line[:200]!r}") from error
        if not isinstance(message, dict):
            raise GuestError(f"not a message of the agent: {line[:200]!r}")
        return message


def _part(message: dict[str, Any], key: str) -> Any:
    if key not in message:
        raise GuestError(f"{key!r} is missing in what the agent said: {message!r:.200}")
    return message[key]


async def open_link(path: Path, deadline_s: float) -> GuestLink:
    """Connects to QEMU's socket, which appears shortly after its start. Raises TimeoutError after deadline_s."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(str(path), limit=LINE_LIMIT_BYTES)
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > end:
                raise TimeoutError(f"QEMU made no socket {path.name} within {deadline_s:.0f} s") from None
            await asyncio.sleep(0.01)
        else:
            return GuestLink(reader, writer)
