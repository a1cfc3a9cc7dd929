"""Whether the controller is still there: stdin is open, a byte comes often enough, and no signal asks for the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def watched(gone: asyncio.Event, heartbeat_s: float) -> Iterator[None]:
    """Sets `gone` at the end of stdin, at SIGTERM, SIGINT or SIGHUP, and when no byte came for heartbeat_s (0: never).

    stdin is a pipe or a socket. The bytes mean nothing. For use inside a running loop.
    """
    loop = asyncio.get_running_loop()
    stdin = _Stdin(gone, heartbeat_s, loop)
    for number in _SIGNALS:
        loop.add_signal_handler(number, gone.set)
    loop.add_reader(0, stdin.readable)
    stdin.check()
    try:
        yield
    finally:
        stdin.close()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


class _Stdin:
    def __init__(self, gone: asyncio.Event, heartbeat_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self._gone = gone
        self._heartbeat_s = heartbeat_s
        self._loop = loop
        self._last = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def readable(self) -> None:
        self._last = self._loop.time()
        try:
            data = os.read(0, 4096)
        except BlockingIOError:
            return
        except OSError:  # a socket whose other end was closed with something unread in it
            data = b""
        if not data:
            self._gone.set()
            self.close()

    def check(self) -> None:
        """Looks again when the last byte will be too old. A loop that was busy reads stdin first, then comes here."""
        if not self._heartbeat_s:
            return
        left = self._last + self._heartbeat_s - self._loop.time()
        if left <= 0:
            self._gone.set()
        else:
            self._timer = self._loop.call_later(left, self.check)

    def close(self) -> None:
        self._loop.remove_reader(0)
        if self._timer:
            self._timer.cancel()
