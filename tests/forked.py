"""`bench` as a process that is forked from one with all modules (zygote.py), in the manner of subprocess.Popen."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TextIO

import zygote

# All imports, on a busy machine.
BEGIN_S = 120.0
NEVER_S = 3600.0


class Zygote:
    """The process that forks, for all tests of this one. Ends with it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, zygote.__file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # A forked process is no second BLAS pool, and an interrupt from the terminal is not for this one.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        self._ends: dict[int, int] = {}
        self._answer(BEGIN_S)
        atexit.register(self.close)

    def begin(self, argv: list[str], cwd: Path, env: Mapping[str, str], files: list[int]) -> int:
        """PID of the command. files: its stdout and stderr."""
        request = json.dumps({"argv": argv, "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(self._socket, [request], files)
        while True:
            answer = self._answer(BEGIN_S)
            if "began" in answer:
                return answer["began"]

    def end_of(self, pid: int, timeout_s: float) -> int | None:
        """Exit status, negative for a signal; None while it runs. Raises TimeoutError only for a positive timeout."""
        while pid not in self._ends:
            try:
                self._answer(timeout_s)
            except BlockingIOError:
                return None
        return self._ends[pid]

    def _answer(self, timeout_s: float) -> dict[str, int]:
        self._socket.settimeout(timeout_s)
        data = self._socket.recv(zygote.MOST_BYTES)
        assert data, "the process that forks has ended"
        answer: dict[str, int] = json.loads(data)
        if "ended" in answer:
            self._ends[answer["ended"]] = answer["status"]
        return answer

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@functools.cache
def the_zygote() -> Zygote:
    return Zygote()


class Bench:
    """One command, with pipes as its streams. env, cwd: as they are here unless given."""

    def __init__(self, *argv: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        self.args = ["bench", *map(str, argv)]
        self.returncode: int | None = None
        self.stdout, out = _pipe()
        self.stderr, err = _pipe()
        self.pid = the_zygote().begin(self.args[1:], cwd or Path.cwd(), os.environ if env is None else env, [out, err])
        for file in (out, err):
            os.close(file)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = the_zygote().end_of(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float = NEVER_S) -> int:
        """Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            try:
                self.returncode = the_zygote().end_of(self.pid, timeout)
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout) from None
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float = NEVER_S) -> tuple[str, str]:
        """What it wrote to its pipes from now on, after its end. Raises subprocess.TimeoutExpired."""
        said = ["", ""]

        def read(index: int, stream: TextIO) -> None:
            with stream:
                said[index] = stream.read()

        streams = enumerate((self.stdout, self.stderr))
        readers = [threading.Thread(target=read, args=item, daemon=True) for item in streams]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(timeout)
        return said[0], said[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Bench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
        for stream in (self.stdout, self.stderr):
            stream.close()
        self.wait()


def run(*argv: object, cwd: Path | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """A command until its end, as subprocess.run. Kills it after `timeout` seconds."""
    with Bench(*argv, cwd=cwd) as process:
        out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def _pipe() -> tuple[TextIO, int]:
    """Our end of a pipe, and the file that the command writes to."""
    reading, writing = os.pipe()
    return os.fdopen(reading, encoding="utf-8"), writing
