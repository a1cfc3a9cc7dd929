"""Files of settings, in /sys and /proc/sys: read as one value, written as root, and never waited for."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.host.knobs import chosen

# Writes one value to files, in their order; for each "", or why not. A success is no proof: the value is read back.
Write = Callable[[Sequence[Path], str], "list[str]"]
SUDO_DEADLINE_S = 60.0  # taking many CPUs offline takes its time
LATE = f"sudo did not end within {SUDO_DEADLINE_S:.0f} s; it may still be written"
LARGEST = 4096


def writer(become: str) -> Write:
    """How to write here: as this user, or by sudo (become: "sudo") where that is needed."""
    return write_by_sudo if become == "sudo" and os.geteuid() != 0 else write_directly


def write_directly(paths: Sequence[Path], value: str) -> list[str]:
    """Never makes a file. One write call a file, as files of /sys want."""
    return [_write(path, value.encode() + b"\n") for path in paths]


def _write(path: Path, data: bytes) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def write_by_sudo(paths: Sequence[Path], value: str, deadline_s: float = SUDO_DEADLINE_S) -> list[str]:
    """By one `sudo -n tee` for all, which fails instead of asking for a password; LATE when it does not end."""
    argv = ["sudo", "-n", "tee", "--", *map(str, paths)]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(argv, stdin=pipe, stdout=null, stderr=pipe, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        return [f"sudo cannot be run: {error.strerror}"] * len(paths)
    try:
        _, stderr = process.communicate(value.encode() + b"\n", deadline_s)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return [LATE] * len(paths)
    if process.returncode == 0:
        return [""] * len(paths)
    lines = stderr.decode(errors="replace").strip().splitlines() or [f"sudo ended with status {process.returncode}"]
    return [_told_of(path, lines) for path in paths]


def _told_of(path: Path, lines: Sequence[str]) -> str:
    """tee says "tee: FILE: why" of each file that it could not write; what sudo says holds for all."""
    mine = [line for line in lines if f"{path}: " in line.replace("'", "")]
    if mine:
        return mine[-1]
    return "" if all(line.startswith("tee: ") for line in lines) else lines[-1]


def _abandon(process: subprocess.Popen[bytes]) -> None:
    # Not waited for here: sudo is root's, so this user may not be able to kill it.
    with contextlib.suppress(OSError):
        process.kill()
    for pipe in (process.stdin, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    threading.Thread(target=process.wait, name="sudo that is late", daemon=True).start()


def read(path: Path) -> tuple[str, int, str]:
    """The value (the chosen word of a choice), or "", the error's number and what is wrong."""
    try:
        # A file that has nothing to say yet (a pipe) says so instead of making this wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, LARGEST)
        finally:
            os.close(descriptor)
    except OSError as error:
        return "", error.errno or -1, f"not readable: {error.strerror}"
    value = chosen(data.decode(errors="replace").strip())
    return value, 0, "" if value else "it reads as nothing"
