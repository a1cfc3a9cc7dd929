"""How a process is run on a host: bytes go to its stdin, lines come from its stdout, its stderr is kept.

Two roads, one form: a child process of this machine (here) and a channel of an SSH connection (bench.controller.fleet).
Closing stdin is how the controller says "end your guests"; a controller that is killed closes it too.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from bench.errors import LabError
from bench.wire.living import VARIABLE, identity

# How soon a `send` that nobody reads notices that stdin was closed by another thread.
POLL_MS = 100


class Conversation(Protocol):
    """A running process. Used by one thread, except `close_input` and `end`: any thread may call them at any time."""

    def send(self, data: bytes) -> None:
        """Writes to stdin, all of it. Raises OSError when the process or the connection is gone."""

    def lines(self) -> Iterator[bytes]:
        """The lines of stdout as they come, until its end, which is also what a lost connection looks like."""

    def close_input(self) -> None:
        """Closes stdin; harmless when it is closed already, or when the connection is gone."""

    def end(self, deadline_s: float) -> int | None:
        """Closes stdin, waits for the end at most so long, then kills. Exit status, None where it cannot be known.

        Harmless when it was called before.
        """

    @property
    def log(self) -> str:
        """stderr so far."""


class Transport(Protocol):
    """The road to one host. python: the interpreter there. heartbeat_s: 0, or how often stdin must get a byte."""

    name: str
    python: str
    heartbeat_s: float

    def open(self) -> None:
        """Connects, once; raises LabError. Harmless when the connection stands."""

    def start(self, argv: Sequence[str], *, beat: bool = False) -> Conversation:
        """Runs a program. Raises LabError when there is no connection, or it drops now.

        beat: from the first `send` on, stdin gets a newline at least every heartbeat_s, where that is not 0.
        """

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known."""

    def close(self) -> None:
        """Ends the connection and whatever runs over it."""


class LocalTransport:
    """This machine, by child processes. A pipe closes with its writer, so no heartbeat is needed."""

    heartbeat_s = 0.0
    connected = True

    def __init__(self, name: str, python: str = "") -> None:
        self.name = name
        self.python = python or sys.executable

    def open(self) -> None:
        """Nothing to connect to."""

    def start(self, argv: Sequence[str], *, beat: bool = False) -> Conversation:
        del beat
        try:
            return _Child(argv)
        except OSError as error:
            raise LabError(self.name, f"{argv[0]} cannot be run: {error.strerror}", argv) from error

    def close(self) -> None:
        """Nothing is kept open."""


class _Child:
    """A process of this machine, in a session of its own: Ctrl-C reaches the controller only, which ends it."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._kept = ""
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,
                env={**os.environ, VARIABLE: identity(os.getpid())},
            )
        except OSError:
            self._log.close()
            raise
        assert self._process.stdin is not None
        # A write that blocks would hold up who closes stdin, and a descriptor of one's own is kept from `communicate`.
        self._stdin = os.dup(self._process.stdin.fileno())
        self._process.stdin.close()
        self._process.stdin = None
        os.set_blocking(self._stdin, False)
        self._sending, self._ending = threading.Lock(), threading.Lock()
        self._input_closed = threading.Event()

    def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            with self._sending:
                if self._input_closed.is_set():
                    raise BrokenPipeError("stdin is closed")
                waiting = select.poll()
                waiting.register(self._stdin, select.POLLOUT)
                if waiting.poll(POLL_MS):
                    left = left[os.write(self._stdin, left) :]

    def lines(self) -> Iterator[bytes]:
        assert self._process.stdout is not None
        # ValueError: it was closed by `end` in another thread.
        with suppress(ValueError):
            yield from iter(self._process.stdout.readline, b"")

    def close_input(self) -> None:
        self._input_closed.set()
        with self._sending, suppress(OSError):
            descriptor, self._stdin = self._stdin, -1
            if descriptor >= 0:
                os.close(descriptor)

    def end(self, deadline_s: float) -> int | None:
        self.close_input()
        with self._ending:
            if not self._log.closed:
                self._wait(deadline_s)
            return self._process.returncode

    def _wait(self, deadline_s: float) -> None:
        try:
            self._process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._kept = self.log
        self._log.close()

    @property
    def log(self) -> str:
        try:
            descriptor = self._log.fileno()
        except ValueError:
            return self._kept
        # Not by seeking: the process writes at the same offset.
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")
