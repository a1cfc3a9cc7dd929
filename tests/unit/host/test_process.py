"""QEMU as a child process: its stderr told apart, its end certain. Shell scripts stand in for QEMU."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from host_side import ROOT, gone_within

from bench.host import process
from bench.host.process import Qemu, spawn
from bench.wire.units import MIB

T = TypeVar("T")


def with_child(script: str, use: Callable[[Qemu], Awaitable[T]], rows: list[Any] | None = None) -> T:
    """Runs a shell script as QEMU, `use` on it, and ends it."""

    async def run() -> T:
        qemu = await spawn(["/bin/sh", "-c", script], (rows if rows is not None else []).extend)
        try:
            return await use(qemu)
        finally:
            await qemu.end()

    return asyncio.run(asyncio.wait_for(run(), 20))


async def finished(qemu: Qemu) -> tuple[int, list[str], str]:
    return await qemu.wait(), list(qemu.log), qemu.trace_error


async def said_ready(qemu: Qemu) -> int:
    while not qemu.log:
        await asyncio.sleep(0.01)
    return qemu.pid


def test_the_exit_status_comes_after_the_last_line_of_stderr() -> None:
    script = "for n in 1 2 3; do echo line $n >&2; done; echo last >&2; exit 3"
    assert with_child(script, finished) == (3, ["line 1", "line 2", "line 3", "last"], "")


def test_what_it_prints_on_stdout_is_not_the_protocols() -> None:
    assert with_child("echo 'VNC server running'", finished) == (0, [], "")


def test_a_discard_becomes_a_row_at_its_own_time_and_is_not_in_the_log() -> None:
    rows: list[Any] = []
    ago = time.time() + 100
    line = f"7@{ago:.6f}:ram_block_discard_range ram@0x7f00 + 0x400000: madvise: 1 fallocate: 1 ret: 0"
    assert with_child(f"echo '{line}' >&2", finished, rows)[1] == []
    ((t, source, name, value),) = rows
    assert (source, name, value) == ("discard", "bytes", 4.0 * MIB)
    assert t == pytest.approx(100, abs=1)


def test_a_failed_discard_is_a_row_at_the_time_of_reading_and_stays_in_the_log() -> None:
    rows: list[Any] = []
    line = "2026-11-23T08:37:29.305373Z qemu: Failed to discard range pc.ram:a800000 +400000 (-22)"
    assert with_child(f"sleep 0.2; echo '{line}' >&2", finished, rows)[1] == [line]
    ((t, source, name, value),) = rows
    assert (source, name, value) == ("discard", "failed_bytes", 4.0 * MIB)
    assert 0.2 <= t < 2


def test_a_trace_line_in_an_unknown_format_is_an_error_with_the_line() -> None:
    line = "7@1795423049.5:ram_block_discard_range block=ram length=4096"
    _, log, error = with_child(f"echo '{line}' >&2", finished)
    assert log == [line]
    assert error == f"a trace line in an unknown format: {line}"


def test_bytes_that_are_no_text_do_not_stop_the_reading() -> None:
    assert with_child(r"printf '\377\376\n' >&2; echo after >&2", finished)[1] == ["\ufffd\ufffd", "after"]


def test_a_line_too_long_to_read_is_left_out_and_the_next_ones_are_read() -> None:
    script = f"head -c {2 * MIB} /dev/zero | tr '\\0' x >&2; echo >&2; echo after >&2; exit 4"
    status, log, _ = with_child(script, finished)
    assert status == 4
    assert log[-1] == "after"
    assert any("left out" in line for line in log)


def test_of_a_long_line_the_start_is_kept() -> None:
    _, log, _ = with_child("head -c 500000 /dev/zero | tr '\\0' x >&2", finished)
    assert log == ["x" * 2000 + " (cut off)"]


def test_of_a_long_log_the_end_is_kept() -> None:
    _, log, _ = with_child("seq 1 5000 >&2", finished)
    assert len(log) == 2000
    assert log[-1] == "5000"


def test_the_end_is_gentle_where_that_is_enough() -> None:
    pid = with_child("trap 'echo bye >&2; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done", said_ready)
    assert gone_within(pid, 1)


def test_the_end_comes_also_to_what_is_deaf_to_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "KILL_AFTER_S", 0.3)
    before = time.monotonic()
    pid = with_child("trap '' TERM; echo ready >&2; while :; do sleep 0.05; done", said_ready)
    assert gone_within(pid, 1)
    assert time.monotonic() - before < 3


def test_what_a_wrapper_script_started_ends_with_it(tmp_path: Path) -> None:
    """An arm's `qemu:` may be a script that runs the real binary without `exec`."""
    inner = tmp_path / "inner"
    pid = with_child(f"sh -c 'echo $$ > {inner}; echo ready >&2; exec sleep 30' & wait", said_ready)
    assert gone_within(pid, 1)
    assert gone_within(int(inner.read_text()), 1)


def test_the_end_of_what_has_ended_is_nothing() -> None:
    async def end_twice(qemu: Qemu) -> int:
        status = await qemu.wait()
        await qemu.end()
        await qemu.end()
        return status

    assert with_child("exit 5", end_twice) == 5


def test_a_binary_that_cannot_be_run_is_an_os_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(OSError, match=path.name):
            asyncio.run(spawn([str(path)], lambda _: None))


def test_a_child_is_on_its_cpus_from_its_first_instruction() -> None:
    last = max(os.sched_getaffinity(0))

    async def allowed() -> list[str]:
        qemu = await spawn(["/bin/sh", "-c", "grep Cpus_allowed_list /proc/self/status >&2"], lambda _: None, [last])
        await qemu.wait()
        await qemu.end()
        return list(qemu.log)

    assert asyncio.run(allowed()) == [f"Cpus_allowed_list:\t{last}"]


def test_cpus_that_are_not_there_do_not_keep_a_child_from_starting() -> None:
    """It is seen when it is read back."""

    async def started() -> int:
        qemu = await spawn(["/bin/sh", "-c", "exit 6"], lambda _: None, [1000])
        status = await qemu.wait()
        await qemu.end()
        return status

    assert asyncio.run(started()) == 6


def test_time_is_counted_from_the_start() -> None:
    async def later(qemu: Qemu) -> tuple[float, float]:
        await asyncio.sleep(0.2)
        return qemu.now(), qemu.wall_step_s

    now, step = with_child("sleep 5", later)
    assert 0.2 <= now < 1
    assert abs(step) < 0.05


PARENT = """
import asyncio, sys
from bench.host.process import spawn
async def main():
    qemu = await spawn(["/bin/sleep", "30"], lambda rows: None)
    print(qemu.pid, flush=True)
    await qemu.wait()
asyncio.run(main())
"""


def test_a_parent_killed_with_sigkill_takes_its_child_with_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone_within(pid, 0.2)
        parent.send_signal(signal.SIGKILL)
        assert gone_within(pid, 5)


def test_a_child_whose_parent_died_before_it_could_say_so_ends_at_once() -> None:
    script = f"from bench.host.owning import die_with; die_with({os.getpid()}); print('alive')"
    # Its parent is a shell, not this process: just as if this process had died after the fork.
    shell = f'{sys.executable} -c "{script}"; echo $?'
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == f"{128 + signal.SIGKILL}\n"
