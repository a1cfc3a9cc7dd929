"""The host side as a child process over pipes, for tests, with the fake QEMU in QEMU's place. Python 3.9."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jobs import NONE, job

from bench.wire import codec, record
from bench.wire.job import Arm, Guest, Job, Paths, Phase
from bench.wire.record import End, Record
from bench.wire.units import MIB

ROOT = Path(__file__).resolve().parent.parent
GUEST_BYTES = 64 * MIB
# A host side that does not end by itself in this time is a bug; the fake QEMU ends by itself after as long.
HANG_S = 40.0

T = TypeVar("T")


def fake_paths(folder: Path) -> Paths:
    """Paths of a job whose QEMU is the fake and whose guest image is no image at all; made in `folder`."""
    qemu, image = folder / "qemu-system-x86_64", folder / "image.cpio"
    if not qemu.exists():
        fake = ROOT / "tests/seam/fake_qemu.py"
        qemu.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(fake))} "$@"\n')
        qemu.chmod(0o755)
        image.write_bytes(bytes(512))
    return Paths(str(qemu), "/boot/vmlinuz", "", str(image))


def fake_job(folder: Path, phases: Sequence[Phase] = (), arm: Arm = NONE, **changes: Any) -> Job:
    """A job for the fake QEMU; `folder` gets its files."""
    return job(arm, guest=Guest(GUEST_BYTES, 1, "tcg"), paths=fake_paths(folder), phases=tuple(phases), **changes)


class HostSide:
    """A running host side. `records` holds what has come up."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "t"
        self.temporary.mkdir(exist_ok=True)
        self.records: list[Record] = []
        self._stderr = (folder / "host.stderr").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.host"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(self.temporary), "BENCH_CACHE": str(folder / "cache")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._watchdog = threading.Timer(HANG_S, self.process.kill)
        self._watchdog.start()

    def ask(self, request: Job) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(codec.encode("Job", request))
        self.process.stdin.flush()

    def until(self, kind: type[T]) -> T:
        """Reads until a record of this kind comes. Fails when none does."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.records.append(record.decode(line))
            last = self.records[-1]
            if isinstance(last, kind):
                return last
        raise AssertionError(f"no {kind.__name__} among {[type(item).__name__ for item in self.records]}: {self.log()}")

    def all_of(self, kind: type[T]) -> list[T]:
        return [item for item in self.records if isinstance(item, kind)]

    def rows(self, source: str, name: str) -> list[tuple[float, float]]:
        """(t, value) of one series."""
        rows = [row for samples in self.all_of(record.Samples) for row in samples.rows]
        return [(row[0], row[3]) for row in rows if (row[1], row[2]) == (source, name)]

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def log(self) -> str:
        return Path(self._stderr.name).read_text(errors="replace")

    def end(self) -> int:
        """Closes the pipes and answers the exit status."""
        assert self.process.stdout is not None
        self.close_stdin()
        status = self.process.wait(timeout=HANG_S)
        self._watchdog.cancel()
        self.process.stdout.close()
        self._stderr.close()
        return status


@contextlib.contextmanager
def host_side(folder: Path) -> Iterator[HostSide]:
    """A host side that is gone at the end of the block, whatever happened in it."""
    host = HostSide(folder)
    try:
        yield host
    except BaseException:
        host.process.kill()
        raise
    finally:
        host.end()


def run_to_end(folder: Path, request: Job) -> tuple[HostSide, End]:
    """Runs one job to its End with stdin open, as a controller does."""
    with host_side(folder) as host:
        host.ask(request)
        end = host.until(End)
    return host, end


def gone_within(pid: int, seconds: float) -> bool:
    """Whether a process ends (or is a zombie) within this time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
        except OSError:
            return True
        if state == "Z" or time.monotonic() > deadline:
            return state == "Z"
        time.sleep(0.02)
