"""A process on a host, over a channel of an SSH connection; and how a connection that died silently is noticed."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import paramiko

from bench.controller.sshcommand import MARK

# What paramiko raises when a connection is gone.
GONE = (OSError, EOFError, paramiko.SSHException)
KEPT_LOG_BYTES = 1 << 20
CHUNK_BYTES = 1 << 17
SEND_BYTES = 1 << 15
# How soon a blocked `send` notices that stdin was closed by another thread.
POLL_S = 1.0
JOIN_S = 2.0
OPENING_BYTES = 200
# A record has at most some MiB (logs, rows of half a second): more without a newline is none.
LINE_BYTES = 64 << 20
KEPT_NOISE_BYTES = 1 << 16
# Any request that wants an answer does: a server that does not know it says so (RFC 4254, section 4).
PING = "keepalive@openssh.com"


class WatchedSocket:
    """A socket, or what a gateway gives in its place, that fails when nothing came for too long.

    TCP does not notice a peer that is without power, and acknowledges for a process that is stopped. paramiko reads
    with a timeout of 0.1 s again and again, and sends likewise while the peer takes nothing: both check here, and no
    thread of its own is needed, which could block as they do. Something comes as long as a `Pulse` asks for it.

    opening: the first bytes that came.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._heard = time.monotonic()
        self._silence_s = float("inf")
        self.opening = b""

    def watch(self, silence_s: float) -> None:
        """From now on."""
        self._heard, self._silence_s = time.monotonic(), silence_s

    def recv(self, size: int) -> bytes:
        try:
            data: bytes = self._inner.recv(size)
        except TimeoutError:
            self._check()
            raise
        self._heard = time.monotonic()
        if len(self.opening) < OPENING_BYTES:
            self.opening += data[:OPENING_BYTES]
        return data

    def send(self, data: bytes) -> int:
        self._check()
        sent: int = self._inner.send(data)
        return sent

    def close(self) -> None:
        # A gateway's channel says so to the gateway, which may be gone.
        with suppress(*GONE):
            self._inner.close()

    def _check(self) -> None:
        if time.monotonic() - self._heard > self._silence_s:
            # Not ETIMEDOUT: that is a TimeoutError, after which paramiko tries again.
            raise ConnectionAbortedError(errno.ECONNABORTED, f"nothing came for {self._silence_s:g} s")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class SshConversation:
    """A running process (bench.controller.transport.Conversation). beat: newlines follow the first `send`.

    line_bytes: a line that is longer ends `lines`, and the log says so.
    """

    def __init__(self, channel: paramiko.Channel, beat: bool = False) -> None:
        self._channel = channel
        self._transport = channel.get_transport()
        self._wants_beats = beat
        self._begun = False
        self._ended = False
        self._sending = threading.Lock()
        self._input_closed = threading.Event()
        self._lines: deque[bytes] = deque()
        self._partial: list[bytes] = []
        self._log = bytearray()
        self._complaint = ""
        self.line_bytes = LINE_BYTES
        channel.settimeout(POLL_S)
        # stdout and stderr share one window: what is not read of one would stop the other.
        self._errors = threading.Thread(target=self._keep_errors, daemon=True)
        self._errors.start()

    def begin(self, deadline_s: float) -> bytes | None:
        """Waits for the line MARK; None when it came, else what came in its place until the end or the deadline.

        Before it nothing must be sent: who reads may be a shell, which would take it for commands.
        """
        until, noise = time.monotonic() + deadline_s, b""
        self._channel.settimeout(min(POLL_S, deadline_s))
        while data := self._receive(self._channel.recv, until):
            noise += data
            before, found, rest = noise.partition(MARK + b"\n")
            if found:
                self._take(rest)
                self._channel.settimeout(POLL_S)
                return None
            noise = before[-KEPT_NOISE_BYTES:]
        self._settle(until)
        return noise

    def send(self, data: bytes) -> None:
        """Writes to stdin, all of it. Raises OSError."""
        with self._sending:
            for start in range(0, len(data), SEND_BYTES):
                self._send_part(data[start : start + SEND_BYTES])
            self._begun = True
        # paramiko drops silently what is sent over a connection that is known to be gone.
        if not self._transport.is_active():
            raise BrokenPipeError(errno.EPIPE, "the connection is gone")

    def _send_part(self, part: bytes) -> None:
        while part:
            if self._input_closed.is_set():
                raise BrokenPipeError(errno.EPIPE, "stdin is closed")
            try:
                sent = self._channel.send(part)
            except TimeoutError:
                continue
            except (EOFError, paramiko.SSHException) as error:
                raise BrokenPipeError(errno.EPIPE, f"the connection is gone: {error}") from error
            if not sent:
                why = "stdin is closed" if self._transport.is_active() else "the connection is gone"
                raise BrokenPipeError(errno.EPIPE, why)
            part = part[sent:]

    def beat(self) -> bool:
        """A newline to stdin, if it is wanted now and goes through at once. Whether more are wanted. Any thread."""
        if not self._wants_beats or self._input_closed.is_set() or self._channel.closed:
            return False
        if self._sending.acquire(blocking=False):
            try:
                if self._begun and self._channel.send_ready():
                    self._channel.send(b"\n")
            except GONE:
                return False
            finally:
                self._sending.release()
        return True

    def lines(self) -> Iterator[bytes]:
        """The lines of stdout as they come, until its end or the connection's."""
        while True:
            while self._lines:
                yield self._lines.popleft()
            if sum(map(len, self._partial)) > self.line_bytes:
                self._complaint = f"\nstdout: more than {self.line_bytes} bytes without a newline; not read on\n"
                return
            data = self._receive(self._channel.recv)
            if not data:
                break
            self._take(data)
        rest, self._partial = b"".join(self._partial), []
        self._settle()
        if rest:
            yield rest

    def _take(self, data: bytes) -> None:
        first, *more = data.split(b"\n")
        self._partial.append(first)
        for piece in more:
            self._lines.append(b"".join(self._partial) + b"\n")
            self._partial = [piece]

    def _settle(self, until: float = float("inf")) -> None:
        """After the end of stdout: the log is whole, and a connection that is gone is known to be gone."""
        self._errors.join(min(JOIN_S, max(until - time.monotonic(), 0)))
        if not (self._channel.eof_received or self._ended or time.monotonic() > until):
            self._transport.join(JOIN_S)

    def _receive(self, read: Callable[[int], bytes], until: float = float("inf")) -> bytes:
        """What comes next; nothing at the end, and at `until` (monotonic clock)."""
        while time.monotonic() < until:
            try:
                return read(CHUNK_BYTES)
            except TimeoutError:
                continue
            except GONE:
                break
        return b""

    def _keep_errors(self) -> None:
        while data := self._receive(self._channel.recv_stderr):
            self._log += data
            del self._log[:-KEPT_LOG_BYTES]

    def close_input(self) -> None:
        """Closes stdin. Any thread."""
        self._input_closed.set()
        with suppress(*GONE):
            self._channel.shutdown_write()

    def end(self, deadline_s: float) -> int | None:
        """Closes stdin and waits for the end at most so long. Exit status, None for a signal and a lost connection.

        A process that goes on is left to its heartbeat: SSH has no way to kill that every server knows.
        """
        until = time.monotonic() + deadline_s
        self._ended = True
        self.close_input()
        self._channel.settimeout(min(POLL_S, max(deadline_s, 0.01)))
        # What it still writes must not hold it up.
        while self._receive(self._channel.recv, until):
            pass
        self._channel.status_event.wait(max(until - time.monotonic(), 0))
        with suppress(*GONE):
            self._channel.close()
        self._errors.join(JOIN_S)
        status: int = self._channel.exit_status
        return status if status >= 0 else None

    @property
    def log(self) -> str:
        """stderr so far, at most its last KEPT_LOG_BYTES."""
        return bytes(self._log).decode(errors="replace") + self._complaint


class Pulse(threading.Thread):
    """Beats a connection's conversations, and asks the host for an answer as often, so that silence means death."""

    def __init__(self, transport: paramiko.Transport, interval_s: float) -> None:
        super().__init__(daemon=True)
        self._transport = transport
        self._interval_s = interval_s
        self._over = threading.Event()
        self._changing = threading.Lock()
        self._conversations: list[SshConversation] = []

    def add(self, conversation: SshConversation) -> None:
        """It is dropped by itself when it wants no more beats."""
        with self._changing:
            self._conversations.append(conversation)

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        while not self._over.wait(self._interval_s) and self._transport.is_active():
            with self._changing:
                conversations = list(self._conversations)
            done = [conversation for conversation in conversations if not conversation.beat()]
            with self._changing:
                self._conversations = [item for item in self._conversations if item not in done]
            try:
                self._transport.global_request(PING, wait=True)
            except GONE:
                return
