"""The probe with real processes, and what is made of its quanta."""

from __future__ import annotations

import mmap
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from workloads.memtouch import _memtouch, map_region, probe
from workloads.memtouch.probe import Probe, quantile, series, summary
from workloads.memtouch.region import Mapping

ffi, lib = _memtouch.ffi, _memtouch.lib
MIB = 1 << 20
QUANTUM_S = 0.005
CPUS = sorted(os.sched_getaffinity(0))


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    before = (children(), len(descriptors()))
    yield
    assert (children(), len(descriptors())) == before


@pytest.mark.parametrize(("kind", "unit_bytes"), [("work", 0), ("bandwidth", 16384)])
def test_a_probe_counts_and_says_when(kind: str, unit_bytes: int) -> None:
    with Probe(kind, CPUS[-1], QUANTUM_S, 60, 8 * MIB) as running:
        first = running.mark("first")
        time.sleep(0.3)
        second = running.mark("second")
        time.sleep(0.3)
        found = running.stop()
    end = time.monotonic_ns()
    assert (found["kind"], found["cpu"], found["quantum_s"], found["full"]) == (kind, CPUS[-1], QUANTUM_S, False)
    assert found["unit_bytes"] == unit_bytes
    windows = found["windows"]
    assert [windows[name]["start_ns"] for name in ("first", "second")] == [first, second]
    assert windows["first"]["end_ns"] == second < windows["second"]["end_ns"] < end
    for window in windows.values():
        assert window["covered"]
        assert 50 <= window["quanta"] <= 0.001 * (window["end_ns"] - window["start_ns"]) / 1e6 / QUANTUM_S
        assert window["least"] <= window["p1"] <= window["p50"] <= window["p99"] <= window["most"]
        assert window["least"] <= window["mean"] <= window["most"]
        assert window["most"] > 10
        assert window["longest_ns"] > 0


def test_windows_can_all_be_of_one_length() -> None:
    with Probe("work", CPUS[0], QUANTUM_S, 60) as running:
        running.mark("long")
        time.sleep(0.3)
        running.mark("short")
        time.sleep(0.05)
        windows = running.stop(window_s=0.1)["windows"]
    assert windows["long"]["end_ns"] - windows["long"]["start_ns"] == 10**8
    assert 19 <= windows["long"]["quanta"] <= 20
    assert 5 * 10**7 <= windows["short"]["end_ns"] - windows["short"]["start_ns"] < 10**8


def counted(kind: int, quanta: int, quantum_ns: int = 10**6, interrupt: bool = False) -> tuple[list[int], list[int]]:
    """Units and longest times of all quanta, counted in a thread that is stopped for 0.2 s where asked."""
    shared = mmap.mmap(-1, lib.mt_probe_board_bytes(quanta))
    board = ffi.from_buffer(shared)
    ready, told = os.pipe()
    spec = ffi.new("struct mt_probe *", (quantum_ns, quanta, MIB, kind, CPUS[0], told))
    pid = lib.mt_fork_probe(board, spec)
    os.read(ready, 1)
    if interrupt:
        time.sleep(0.1)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(told)
    assert lib.mt_probe_done(board) == quanta
    records = memoryview(shared)[128 : 128 + 16 * quanta].cast("Q").tolist()
    return records[0::2], records[1::2]


def test_a_probe_that_was_held_up_has_lost_those_quanta_and_no_others_are_longer() -> None:
    units, longest = counted(0, 500, interrupt=True)
    assert max(longest) >= 150_000_000
    gap = longest.index(max(longest))
    assert all(count == 0 for count in units[gap + 1 : gap + 150])
    # The deadlines stayed where they were: the whole took as long as its quanta.
    assert sum(1 for count in units if count) <= 500 - 149


@pytest.mark.parametrize("mapping", ["anonymous", "shared-anonymous", "memfd", "shared-file"])
def test_memory_that_was_there_before_the_probe_is_free_when_it_is_released(mapping: Mapping, tmp_path: Path) -> None:
    """A forked process has its parent's pages and files, and they are free only when nobody has them."""
    region = map_region(8 * MIB, mapping, folder=str(tmp_path))
    region.touch("write")
    before = children()
    with Probe("work", CPUS[-1], QUANTUM_S, 60):
        (pid,) = children() - before
        assert f"{region.address:x}" not in Path(f"/proc/{pid}/maps").read_text()
        held = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        assert [name for name in held if not name.startswith("pipe:")] == []
        assert region.release("munmap").bytes == 8 * MIB


def test_the_probe_ends_by_itself_when_there_is_no_more_room() -> None:
    with Probe("work", CPUS[0], QUANTUM_S, 0.1) as running:
        running.mark("all")
        time.sleep(0.3)
        found = running.stop()
    assert found["full"] is True
    assert found["windows"]["all"]["covered"] is False
    assert found["windows"]["all"]["quanta"] <= 20


def test_a_probe_that_was_killed_is_an_error_and_not_a_slow_one() -> None:
    before = children()
    running = Probe("work", CPUS[0], QUANTUM_S, 60)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z", 20, "a zombie")
    with pytest.raises(ChildProcessError, match="the probe ended early"):
        running.stop()


def test_the_probe_is_pinned_and_the_caller_is_not() -> None:
    before, mine = children(), os.sched_getaffinity(0)
    with Probe("work", CPUS[-1], QUANTUM_S, 60):
        (pid,) = children() - before
        assert os.sched_getaffinity(pid) == {CPUS[-1]}
        assert os.sched_getaffinity(0) == mine


def faults(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[7])


@pytest.mark.parametrize("kind", probe.KINDS)
def test_the_probe_faults_no_page_while_it_counts(kind: str) -> None:
    before = children()
    with Probe(kind, CPUS[-1], 0.001, 60, 4 * MIB):
        (pid,) = children() - before
        wait_for(lambda: faults(pid) > 0, 20, "a fault")
        time.sleep(0.1)
        first = faults(pid)
        time.sleep(0.5)
        assert faults(pid) == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "sleep"}, "kind: 'sleep' is unknown: one of work, bandwidth"),
        ({"quantum_s": 0.0}, "quantum_s: 0.0 must be above 0"),
        ({"quantum_s": 2.0}, "quantum_s: 2.0 must be above 0 and at most room_s"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probe(**{"kind": "work", "cpu": CPUS[0], "quantum_s": QUANTUM_S, "room_s": 1.0, **arguments})


@pytest.mark.parametrize(("cpu", "kind", "size_bytes"), [(100_000, "work", 0), (-1, "work", 0), (0, "bandwidth", 4096)])
def test_a_probe_that_cannot_begin_says_why_and_is_gone(cpu: int, kind: str, size_bytes: int) -> None:
    with pytest.raises(OSError, match=f"probe on CPU {cpu}: Invalid argument"):
        Probe(kind, cpu, QUANTUM_S, 1.0, size_bytes)


def test_a_probe_ends_with_its_caller() -> None:
    ready, told = os.pipe()
    caller = os.fork()
    if caller == 0:
        try:
            running = Probe("work", CPUS[0], QUANTUM_S, 60)
            os.write(told, str(running._pid).encode())
            threading.Event().wait()
        finally:
            os._exit(1)
    pid = int(os.read(ready, 20))
    os.close(ready)
    os.close(told)
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
        except OSError:
            return True

    wait_for(gone, 20, "its end")


def test_only_quanta_that_lie_in_a_window_as_a_whole_count() -> None:
    units, longest = [10, 20, 0, 40, 50], [1, 2, 0, 9, 5]
    whole = summary(1000, 100, units, longest, (1000, 1500))
    assert (whole["quanta"], whole["mean"], whole["least"], whole["most"], whole["idle"]) == (5, 24.0, 0, 50, 1)
    assert (whole["longest_ns"], whole["covered"]) == (9, True)
    part = summary(1000, 100, units, longest, (1001, 1399))
    assert (part["quanta"], part["mean"], part["longest_ns"]) == (2, 10.0, 2)
    late = summary(1000, 100, units, longest, (1300, 1700))
    assert (late["quanta"], late["covered"]) == (2, False)
    early = summary(1000, 100, units, longest, (500, 1100))
    assert (early["quanta"], early["mean"]) == (1, 10.0)


def test_a_window_without_a_quantum_has_no_figures() -> None:
    empty = summary(1000, 100, [10, 20], [1, 2], (1050, 1090))
    assert (empty["quanta"], empty["mean"], empty["p1"], empty["longest_ns"]) == (0, None, None, None)


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.001, 1.0))
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(values: list[int], share: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) < share * len(ordered)


def test_the_series_has_a_point_for_every_tenth_of_a_second() -> None:
    found = series(7, 10_000_000, [*[100] * 10, *[50] * 9, 0, 30])
    assert found == {"start_ns": 7, "bin_ns": 100_000_000, "mean": [100.0, 45.0, 30.0], "least": [100, 0, 30]}
    assert series(7, 1_000_000_000, [1, 2])["bin_ns"] == 1_000_000_000
