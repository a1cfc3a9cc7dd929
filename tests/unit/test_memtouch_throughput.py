"""The throughput mode with real processes and threads, and what `bench memtouch` prints."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from waiting import wait_for

from workloads import memtouch
from workloads.memtouch import _memtouch
from workloads.memtouch.cli import memtouch as command
from workloads.memtouch.cli import parse_bytes, verdict_text
from workloads.memtouch.throughput import Kind, Test

ffi, lib = _memtouch.ffi, _memtouch.lib
MIB = 1 << 20


def children(pid: int) -> list[int]:
    """All child processes of all threads of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread that was joined may still be listed, and be gone when it is asked.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def allowed_cpus(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Cpus_allowed_list"))


def run_until_all_count(seconds: float = 0.2, **arguments: Any) -> memtouch.Throughput:
    """Measure twice as long until every task has counted, for 12.6 s in all, and return the last result whatever it is.

    A task that is pinned to a busy CPU may wait for it longer than a short measurement takes: 1.1 s in the run queue
    was seen on two CPUs with a load of 5.
    """
    result = memtouch.run_throughput(seconds=seconds, size_bytes=8 * MIB, **arguments)
    if min(result.iterations) > 0 or seconds > 6:
        return result
    return run_until_all_count(2 * seconds, **arguments)


class Background(threading.Thread):
    """run_throughput in another thread; its processes are looked at meanwhile."""

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.tasks = tasks
        self.error: BaseException | None = None
        self.before = set(children(os.getpid()))

    def run(self) -> None:
        try:
            memtouch.run_throughput(tasks=self.tasks, seconds=2, warmup_s=0, size_bytes=4 * MIB)
        except OSError as error:
            self.error = error

    def processes(self) -> list[int]:
        return sorted(set(children(os.getpid())) - self.before)


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("test", ["page_fault1", "page_fault2", "page_fault3"])
def test_two_tasks_count_pages_and_leave_nothing(test: Test, kind: Kind, tmp_path: Path) -> None:
    before = (children(os.getpid()), open_descriptors(), threading.active_count())
    result = run_until_all_count(test=test, tasks=2, kind=kind, warmup_s=0.05, folder=str(tmp_path))
    assert len(result.iterations) == 2
    assert min(result.iterations) > 0
    assert result.seconds >= 0.2
    assert result.per_second == sum(result.iterations) / result.seconds
    assert (children(os.getpid()), open_descriptors(), threading.active_count()) == before
    assert list(tmp_path.iterdir()) == []


def test_every_counted_page_was_a_page_fault() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    result = run_until_all_count(test="page_fault1", tasks=1, kind="thread", warmup_s=0, thp="never")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before >= result.iterations[0] > 0


def test_processes_are_pinned_one_a_cpu_in_ascending_order() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    run = Background(2)
    run.start()
    wait_for(lambda: len(run.processes()) == 2, 20, "two tasks")
    # By process id, which is the order of the tasks unless the ids have wrapped around: compare as sets.
    wanted = {str(cpus[0]), str(cpus[1 % len(cpus)])}
    wait_for(lambda: {allowed_cpus(pid) for pid in run.processes()} == wanted, 20, "each on its CPU")
    run.join()
    assert run.error is None


def test_the_callers_own_affinity_is_not_changed() -> None:
    before = os.sched_getaffinity(0)
    result = memtouch.run_throughput(tasks=3, kind="thread", seconds=0.05, warmup_s=0, size_bytes=MIB)
    assert os.sched_getaffinity(0) == before
    assert set(result.cpus) <= before
    assert len(result.cpus) == 3


def test_a_task_that_was_killed_is_an_error_and_not_a_slow_task() -> None:
    run = Background(2)
    run.start()
    wait_for(lambda: len(run.processes()) == 2, 20, "two tasks")
    os.kill(run.processes()[0], signal.SIGKILL)
    run.join()
    assert isinstance(run.error, ChildProcessError)
    assert "ended early" in str(run.error)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_mapping_that_fails_in_a_task_names_the_task(kind: Kind) -> None:
    with pytest.raises(OSError, match="task 0: Cannot allocate memory") as caught:
        memtouch.run_throughput(kind=kind, seconds=0.1, warmup_s=0, size_bytes=1 << 50)
    assert caught.value.errno == errno.ENOMEM


def test_a_task_on_a_cpu_that_does_not_exist_fails_without_waiting_for_the_start() -> None:
    board = ffi.new("char[]", lib.mt_board_bytes(1))
    read, write = os.pipe()
    try:
        task = ffi.new("struct mt_task *", (MIB, 1, 0, 8191, -1, write, read))
        assert lib.mt_run_task(board, 0, task) == lib.mt_status(board, 0) == -errno.EINVAL
        assert os.read(read, 10) == b"\0"
    finally:
        os.close(read)
        os.close(write)


def test_tasks_end_with_their_parent_even_when_it_is_killed() -> None:
    program = "from workloads.memtouch import run_throughput; run_throughput(tasks=2, seconds=60, size_bytes=1 << 20)"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        wait_for(lambda: len(children(parent.pid)) == 2, 20, "two tasks")
        tasks = children(parent.pid)
        parent.kill()
    wait_for(lambda: not any(is_running(pid) for pid in tasks), 5, "the end of the tasks")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"test": "page_fault9"}, "test"),
        ({"kind": "fibre"}, "kind"),
        ({"thp": "maybe"}, "thp"),
        ({"tasks": 0}, "tasks"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"size_bytes": 4097}, "size_bytes"),
    ],
)
def test_a_wrong_argument_is_named(change: dict[str, object], key: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: "):
        memtouch.run_throughput(**change)  # type: ignore[arg-type]


def run_command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(arguments))
    return result.exit_code, result.output


def test_the_cycle_command_prints_each_step() -> None:
    code, output = run_command(
        "cycle", "--size", "2M", "--mode", "fill", "--histogram", "--how", "holes", "--block", "64K"
    )
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == ["mapping", "touch", "latency", "verify", "release"]
    assert "every page is as written" in output
    assert "1.0 of 1.0 MiB given back (holes)" in output


def test_the_cycle_command_writes_json_for_programs() -> None:
    code, output = run_command("cycle", "--size", "2M", "--mode", "read", "--json")
    assert code == 0
    assert json.loads(output)["touched"]["bytes"] == 2 * MIB
    assert json.loads(output)["verified"] is None


def test_the_throughput_command_prints_a_line_a_task() -> None:
    code, output = run_command("throughput", "--tasks", "2", "--seconds", "0.1", "--warmup", "0", "--size", "2M")
    assert code == 0
    assert output.startswith("page_fault1, 2 processes, 2 MiB each, THP system\n")
    assert output.count("\ntask ") == 2
    code, output = run_command("throughput", "--seconds", "0.1", "--warmup", "0", "--size", "2M", "--json")
    measured = json.loads(output)
    assert measured["per_second"] == sum(measured["iterations"]) / measured["seconds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cycle", "--size", "lots"], "'lots' is no size"),
        (["cycle", "--how", "holes", "--block", "1K"], "block_bytes a multiple of"),
        (["cycle", "--mapping", "memfd", "--size", "2M", "--how", "free"], "private anonymous memory only"),
        (["throughput", "--seconds", "0"], "seconds must be above 0"),
    ],
)
def test_wrong_use_of_a_command_ends_with_2_and_the_advice(arguments: list[str], message: str) -> None:
    code, output = run_command(*arguments)
    assert code == 2
    assert message in output


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64k", 65536), ("1.5GiB", 3 << 29), ("2MB", 2 << 20)])
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_a_bad_page_is_told_with_address_and_both_values() -> None:
    verified = memtouch.Verified(1, 4096, 3, memtouch.FirstBad(0x7000, 0, 0x11, 0x22))
    assert verdict_text(verified) == "3 bad pages, first at 0x7000: 0x0000000000000022 instead of 0x0000000000000011"
