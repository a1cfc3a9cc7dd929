"""The throughput mode: N tasks map, write a byte into each page, unmap, again; iterations are pages.

Semantics of will-it-scale's page_fault1 (private anonymous), page_fault2 (private file) and page_fault3 (shared file):
128 MiB a mapping, one file a task, tasks pinned, started together, counters read from outside while all run. What
differs from the original: tasks go to the process's allowed CPUs in ascending order, warm-up and measured time are
given in seconds, and a task asks once in 512 pages whether to stop.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

from workloads.memtouch._memtouch import ffi, lib
from workloads.memtouch.region import DEFAULT_FOLDER, THPS, Thp, nameless_file, page_bytes

Test = Literal["page_fault1", "page_fault2", "page_fault3"]
Kind = Literal["process", "thread"]
TESTS: tuple[str, ...] = get_args(Test)
KINDS: tuple[str, ...] = get_args(Kind)

DEFAULT_BYTES = 128 << 20
_READY_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Throughput:
    """What was counted in `seconds` of measured time: pages written by each task, and which CPU each was pinned to."""

    test: str
    kind: str
    thp: str
    bytes: int
    page_bytes: int
    cpus: tuple[int, ...]
    iterations: tuple[int, ...]
    seconds: float
    warmup_s: float

    @property
    def per_second(self) -> float:
        """Pages per second, all tasks together."""
        return sum(self.iterations) / self.seconds


class _Tasks(Protocol):
    def start(self, index: int, spec: Any) -> None: ...

    def check(self) -> None: ...

    def join(self) -> None: ...


class _Processes:
    """Tasks as forks that run C only and end with this process."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._pids: list[int] = []

    def start(self, index: int, spec: Any) -> None:
        pid = lib.mt_fork_task(self._board, index, spec)
        if pid < 0:
            raise OSError(-pid, f"fork of task {index}: {os.strerror(-pid)}")
        self._pids.append(pid)

    def check(self) -> None:
        """OSError when a process has ended: what it did not count would pass for slowness."""
        for index, pid in enumerate(self._pids):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                raise ChildProcessError(f"task {index}: its process ended early (killed, or out of memory?)")

    def join(self) -> None:
        """As the original: the counters are read, nothing of a task is needed any more."""
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            os.waitpid(pid, 0)
        self._pids.clear()


class _Threads:
    """Tasks as threads of this process; C runs without the GIL."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._threads: list[threading.Thread] = []

    def start(self, index: int, spec: Any) -> None:
        thread = threading.Thread(target=lib.mt_run_task, args=(self._board, index, spec), daemon=True)
        thread.start()
        self._threads.append(thread)

    def check(self) -> None:
        """A thread leaves its error on the board; it cannot end alone in another way."""

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        self._threads.clear()


def run_throughput(
    test: Test = "page_fault1",
    tasks: int = 1,
    kind: Kind = "process",
    seconds: float = 5.0,
    warmup_s: float = 1.0,
    size_bytes: int = DEFAULT_BYTES,
    thp: Thp = "system",
    folder: str = DEFAULT_FOLDER,
) -> Throughput:
    """Run a page-fault test. OSError when a task failed; ValueError for wrong arguments."""
    _check_arguments(test, tasks, kind, seconds, warmup_s, size_bytes, thp)
    cpus = sorted(os.sched_getaffinity(0))
    cpus = [cpus[i % len(cpus)] for i in range(tasks)]
    shared = mmap.mmap(-1, lib.mt_board_bytes(tasks))  # zeroed, and shared with forks
    board = ffi.from_buffer(shared)
    runner: _Tasks = _Processes(board) if kind == "process" else _Threads(board)
    with ExitStack() as stack:
        ready, go = _pipe(stack), _pipe(stack)
        specs = []
        for cpu in cpus:
            fd = -1 if test == "page_fault1" else nameless_file(folder, size_bytes)
            if fd >= 0:
                stack.callback(os.close, fd)
            fields = (size_bytes, TESTS.index(test) + 1, THPS.index(thp), cpu, fd, ready[1], go[0])
            specs.append(ffi.new("struct mt_task *", fields))
        stack.callback(_end, board, runner, go[1])
        for index, spec in enumerate(specs):
            runner.start(index, spec)
        _wait_ready(ready[0], tasks)
        os.write(go[1], b"g")  # never read: it wakes all
        counted, elapsed_ns = _measure(board, tasks, seconds, warmup_s)
        _check_tasks(board, tasks)
        runner.check()
    return Throughput(test, kind, thp, size_bytes, page_bytes(), tuple(cpus), counted, elapsed_ns / 1e9, warmup_s)


def _check_arguments(
    test: str, tasks: int, kind: str, seconds: float, warmup_s: float, size_bytes: int, thp: str
) -> None:
    for key, name, names in (("test", test, TESTS), ("kind", kind, KINDS), ("thp", thp, THPS)):
        if name not in names:
            raise ValueError(f"{key}: {name!r} is unknown: one of {', '.join(names)}")
    if not 1 <= tasks <= 4096:
        raise ValueError(f"tasks: {tasks} is out of range: 1 to 4096")
    if not (seconds > 0 and warmup_s >= 0):
        raise ValueError(f"seconds: {seconds}, warmup_s: {warmup_s}: seconds must be above 0 and warmup_s not below 0")
    if size_bytes < 1 or size_bytes % page_bytes():
        raise ValueError(f"size_bytes: {size_bytes} is no multiple of the page size {page_bytes()}")


def _pipe(stack: ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _end(board: Any, runner: _Tasks, go: int) -> None:
    """Also after an error or Ctrl-C before the start: tasks that still wait are let go, see the flag and end."""
    lib.mt_stop(board)
    os.write(go, b"g")
    runner.join()


def _wait_ready(ready: int, tasks: int) -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    missing = tasks
    while missing:
        if not select.select([ready], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f"{missing} of {tasks} tasks were not ready after {_READY_TIMEOUT_S:.0f} s")
        missing -= len(os.read(ready, missing))


def _measure(board: Any, tasks: int, seconds: float, warmup_s: float) -> tuple[tuple[int, ...], int]:
    """Pages written by each task in about `seconds` after the warm-up, and the exact time between the two readings."""
    before, after = ffi.new("uint64_t[]", tasks), ffi.new("uint64_t[]", tasks)
    time.sleep(warmup_s)
    start_ns = lib.mt_sample(board, tasks, before)
    time.sleep(seconds)
    end_ns = lib.mt_sample(board, tasks, after)
    return tuple(b - a for a, b in zip(before, after, strict=True)), end_ns - start_ns


def _check_tasks(board: Any, tasks: int) -> None:
    for index in range(tasks):
        status = lib.mt_status(board, index)
        if status:
            raise OSError(-status, f"task {index}: {os.strerror(-status)}")
