"""Real programs in the guest: started, waited for, timed and stopped. No shell, no inherited descriptors.

A program runs in a folder of its own on tmpfs, with /dev/null as its input and its output in a file there. CPU time and
the largest resident set are those of wait4(2): of the program, and of children that it waited for.
"""

from __future__ import annotations

import os
import resource  # noqa: F401 - os.wait4 imports it when it is called: without it here an image would lack it
import select
import signal
import time

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from typing import Any

FOLDER = "/tmp/programs"  # noqa: S108 - in a guest of our own
OUTPUT_BYTES = 1 << 20
_POLL_S = 0.005
_GONE_S = 5.0


class Programs:
    """The programs of one guest that run beside the others. folder: where each has its own."""

    def __init__(self, folder: str = FOLDER) -> None:
        self._folder = folder
        self._running: dict[str, int] = {}

    def start(self, program: str, argv: list[str], ready: str, deadline_s: float) -> dict[str, Any]:
        """Starts one and waits until the file `ready` (a socket, say) is there. -> ns.

        Raises ValueError for a name in use, RuntimeError with the end of its output where it ends or is too slow.
        """
        if program in self._running:
            raise ValueError(f"program {program!r} runs already: stop it first")
        start = time.monotonic_ns()
        pid = self._running[program] = self._spawn(program, argv)
        while not os.path.exists(ready):  # noqa: PTH110 - no pathlib in a guest
            done, status, _ = os.wait4(pid, os.WNOHANG)
            if done:
                del self._running[program]
                raise RuntimeError(f"{argv[0]} ended ({_ended(status)}): {self._tail(program)}")
            if time.monotonic_ns() - start > deadline_s * 1e9:
                self.stop(program)
                raise RuntimeError(f"{argv[0]} made no {ready} within {deadline_s:g} s: {self._tail(program)}")
            time.sleep(_POLL_S)
        return {"ns": time.monotonic_ns() - start}

    def run(self, program: str, argv: list[str], deadline_s: float) -> dict[str, Any]:
        """Runs one to its end. -> ns, cpu_ns, max_resident_bytes, output (at most OUTPUT_BYTES, its end).

        Raises RuntimeError where it fails, or does not end in time.
        """
        start = time.monotonic_ns()
        pid = self._spawn(program, argv)
        if not _ends(pid, deadline_s):
            _end(pid)
            raise RuntimeError(f"{argv[0]} did not end within {deadline_s:g} s: {self._tail(program)}")
        now = time.monotonic_ns()
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise RuntimeError(f"{argv[0]} failed ({_ended(status)}): {self._tail(program)}")
        return {
            "ns": now - start,
            "cpu_ns": int((usage.ru_utime + usage.ru_stime) * 1e9),
            "max_resident_bytes": usage.ru_maxrss * 1024,
            "output": self._read(program, OUTPUT_BYTES),
        }

    def stop(self, program: str) -> dict[str, Any]:
        """Ends one: SIGTERM, then SIGKILL. -> ns, cpu_ns, max_resident_bytes. Raises ValueError for one that is not."""
        if program not in self._running:
            raise ValueError(f"program {program!r} does not run; running: {', '.join(self._running) or 'none'}")
        start = time.monotonic_ns()
        usage = _end(self._running.pop(program))
        return {
            "ns": time.monotonic_ns() - start,
            "cpu_ns": int((usage.ru_utime + usage.ru_stime) * 1e9),
            "max_resident_bytes": usage.ru_maxrss * 1024,
        }

    def _spawn(self, program: str, argv: list[str]) -> int:
        folder = f"{self._folder}/{program}"
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        output = os.open(f"{folder}/output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        environment = {"PATH": "/usr/bin", "HOME": folder, "TMPDIR": folder, "LC_ALL": "C"}
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for fd, target in ((null, 0), (output, 1), (output, 2))]
        try:
            return os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
        finally:
            os.close(output)
            os.close(null)

    def _read(self, program: str, most: int) -> str:
        with open(f"{self._folder}/{program}/output", "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - most))
            return stream.read(most).decode(errors="replace")

    def _tail(self, program: str) -> str:
        return self._read(program, 2000).strip()[-500:] or "it said nothing"


def write_data(path: str, size_bytes: int) -> dict[str, Any]:
    """A file of text-like data, always the same: words that come again in an order that does not. -> bytes, ns.

    It compresses about as program sources do; a file of zeroes or of noise would be no job for a compressor.
    """
    start, number, written = time.monotonic_ns(), 1, 0
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    words = [f"{prefix}_{stem}".encode() for prefix in ("page", "zone", "free", "guest") for stem in range(64)]
    with open(path, "wb") as stream:
        while written < size_bytes:
            line = []
            for _ in range(4096):
                number = number * 1103515245 + 12345 & 0x7FFFFFFF  # the C standard's example generator
                line.append(words[number >> 16 & 0xFF])
            block = b" ".join(line)[: size_bytes - written]
            # The same words again, so that the generator is a small part of the time.
            for _ in range(16):
                written += stream.write(block[: size_bytes - written])
    return {"bytes": written, "ns": time.monotonic_ns() - start}


def ask_socket(path: str, requests: list[str], deadline_s: float) -> dict[str, Any]:
    """Sends lines to a server behind a unix socket, one after another, and takes one line of answer to each.

    -> answers, ns. Raises OSError, and RuntimeError for an answer that begins with "-" (an error in Redis' protocol).
    """
    import socket

    start, answers = time.monotonic_ns(), []
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(deadline_s)
        link.connect(path)
        with link.makefile("rwb") as stream:
            for request in requests:
                stream.write(request.encode() + b"\r\n")
                stream.flush()
                answer = stream.readline().decode(errors="replace").strip()
                if not answer or answer.startswith("-"):
                    raise RuntimeError(f"{request}: {answer or 'no answer'}")
                answers.append(answer)
    return {"answers": answers, "ns": time.monotonic_ns() - start}


def remove(paths: list[str]) -> dict[str, Any]:
    """Removes files. -> bytes that they held, ns. Raises OSError."""
    held = sum(os.stat(path).st_blocks * 512 for path in paths)
    start = time.monotonic_ns()
    for path in paths:
        os.unlink(path)  # noqa: PTH108
    return {"bytes": held, "ns": time.monotonic_ns() - start}


def _ends(pid: int, deadline_s: float) -> bool:
    """Whether a child ends in time, without looking again and again: that took 3 % of a guest's only CPU from it."""
    fd = os.pidfd_open(pid)
    try:
        return bool(select.select([fd], [], [], deadline_s)[0])
    finally:
        os.close(fd)


def _end(pid: int) -> Any:
    """Ends and reaps a child; its resource usage."""
    for number, wait_s in ((signal.SIGTERM, _GONE_S), (signal.SIGKILL, 3600.0)):
        os.kill(pid, number)
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            done, _, usage = os.wait4(pid, os.WNOHANG)
            if done:
                return usage
            time.sleep(_POLL_S)
    raise RuntimeError(f"process {pid} cannot be killed")


def _ended(status: int) -> str:
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
