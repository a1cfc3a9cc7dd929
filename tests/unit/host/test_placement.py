"""Where threads and memory go: what is refused, what is set, what is read back. Real processes and synthetic trees."""

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from jobs import GUEST, NONE, job

from bench.host.placement import Seat, impossible, moved, place, seat, see
from bench.wire.job import Job, Placement
from bench.wire.record import Placed

# Above the kernel's largest number of a thread, 4194304: none of this machine is pinned in their place.
QEMU, TIDS = 5000000, (5000001, 5000002)
OWN = os.getpid()
RAM = GUEST.memory_bytes
START = 0x7F0000000000
ALLOWED = sorted(os.sched_getaffinity(0))


def mapping(start: int, size: int, rights: str = "rw-s", name: str = "") -> str:
    return f"{start:x}-{start + size:x} {rights} 00000000 00:01 1033 {name}".strip() + "\n"


MEMFD = mapping(START, RAM, name="/memfd:memory-backend-memfd (deleted)")
OTHER = mapping(START - 2 * RAM, RAM, "rwxp") + mapping(START + 4 * RAM, 4096, "rw-p", "[heap]")


def host(root: Path, online: str = "0-3", nodes: int = 2) -> Path:
    (root / "sys/devices/system/cpu").mkdir(parents=True)
    (root / "sys/devices/system/cpu/online").write_text(f"{online}\n")
    for node in range(nodes):
        (root / f"sys/devices/system/node/node{node}").mkdir(parents=True)
    return root


def thread(root: Path, pid: int, tid: int, cpus: str) -> None:
    folder = root / f"proc/{pid}/task/{tid}"
    folder.mkdir(parents=True)
    (folder / "status").write_text(f"Name:\tx\nCpus_allowed:\tf\nCpus_allowed_list:\t{cpus}\nMems_allowed_list:\t0\n")


def running(root: Path, vcpus: tuple[str, ...] = ("2", "3"), main: str = "2-3", own: str = "0-1") -> Path:
    """A host with a QEMU whose vCPUs are the threads TIDS."""
    host(root)
    thread(root, QEMU, QEMU, main)
    for index, cpus in enumerate(vcpus):
        thread(root, QEMU, TIDS[index], cpus)
    thread(root, OWN, OWN, own)
    memory(root, MEMFD, "bind:1")
    return root


def memory(root: Path, ram: str, policy: str) -> None:
    (root / f"proc/{QEMU}/maps").write_text(OTHER + ram)
    (root / f"proc/{QEMU}/numa_maps").write_text(
        f"{START - 2 * RAM:x} interleave:0-1 anon=1 N0=1\n{START:x} {policy} file=/memfd:x dirty=9 N1=9\n"
    )


def request(guest_cpus: tuple[int, ...] = (), backing: str = "memfd", vcpus: int = 2, **fields: Any) -> Job:
    guest = dataclasses.replace(GUEST, vcpus=vcpus)
    return job(
        dataclasses.replace(NONE, backing=backing), guest=guest, placement=Placement(guest_cpus=guest_cpus, **fields)
    )


def placed(root: Path, asked: Job, tids: tuple[int, ...] = TIDS, latency: str = "") -> Placed:
    return place(asked, QEMU, tids, latency, root)


IMPOSSIBLE = [
    (Placement(), 8, ""),
    (Placement((0, 1)), 2, ""),
    (Placement((0, 1, 2)), 2, ""),
    (Placement((1,)), 2, "2 vCPUs need as many guest CPUs, and there is only 1"),
    (Placement((1, 1)), 2, "2 vCPUs need as many guest CPUs, and there is only 1"),
    (Placement((1, 1, 2)), 2, "2 vCPUs need as many guest CPUs, and there is only 1"),
    (Placement((2, 9)), 2, "CPU 9 is not online (online: 0-3)"),
    (Placement((2, 3), (7, 8)), 2, "CPU 7-8 is not online (online: 0-3)"),
    (Placement(numa_node=1), 1, ""),
    (Placement(numa_node=2), 1, "NUMA node 2 is not there (there: 0-1)"),
]


@pytest.mark.parametrize(("asked", "vcpus", "problem"), IMPOSSIBLE)
def test_what_cannot_be_is_known_before_qemu_starts(tmp_path: Path, asked: Placement, vcpus: int, problem: str) -> None:
    assert impossible(asked, vcpus, host(tmp_path)) == problem


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = impossible(Placement((9,), numa_node=0), 2, host(tmp_path, nodes=0))
    assert text.count(";") == 2
    assert "NUMA node 0 is not there (there: none)" in text


def test_a_host_that_does_not_say_which_cpus_are_online_is_not_refused(tmp_path: Path) -> None:
    assert impossible(Placement((0, 1)), 2, tmp_path) == ""


def test_everything_where_it_should_be_is_no_problem(tmp_path: Path) -> None:
    running(tmp_path)
    answer = placed(tmp_path, request((2, 3), numa_node=1), latency="0 us, held")
    seen = {"vcpu0": "2", "vcpu1": "3", "qemu": "2-3", "sampler": "0-1", "memory": "bind:1"}
    assert answer == Placed({**seen, "cpu_dma_latency": "0 us, held"}, "")


def test_an_empty_placement_asks_for_nothing_and_tells_what_is_seen(tmp_path: Path) -> None:
    running(tmp_path, ("0-3", "0-3"), "0-3", "0-3")
    memory(tmp_path, MEMFD, "default")
    seen = {"vcpu0": "0-3", "vcpu1": "0-3", "qemu": "0-3", "sampler": "0-3", "memory": "default"}
    assert placed(tmp_path, request()) == Placed(seen, "")


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"vcpus": ("2", "2")}, {}, "vcpu1 may run on 2 instead of 3"),
    ({"vcpus": ("0-3", "3")}, {}, "vcpu0 may run on 0-3 instead of 2"),
    ({"main": "0-3"}, {}, "qemu may run on 0-3 instead of 2-3"),
    ({"own": "0-3"}, {}, "sampler may run on 0-3 instead of 0-1"),
    ({"own": "0-1"}, {"sampler_cpus": (1,)}, "sampler may run on 0-1 instead of 1"),
    ({}, {"numa_node": 0}, "memory policy is bind:1 instead of bind:0"),
    ({"vcpus": ("2",)}, {}, "where vcpu1 is cannot be read, and it should be 3"),
]


@pytest.mark.parametrize(("there", "fields", "problem"), WRONG)
def test_what_is_elsewhere_is_a_problem_with_both_places(
    tmp_path: Path, there: dict[str, Any], fields: dict[str, Any], problem: str
) -> None:
    running(tmp_path, **there)
    assert placed(tmp_path, request((2, 3), **fields)).problem == problem


def test_what_moved_since_is_told_and_the_memory_is_not_asked_for_again(tmp_path: Path) -> None:
    asked = request((2, 3), numa_node=1)
    assert placed(running(tmp_path), asked).problem == ""
    memory(tmp_path, MEMFD, "default")
    assert moved(asked, QEMU, TIDS, tmp_path) == ""
    status = tmp_path / f"proc/{QEMU}/task/{TIDS[1]}/status"
    status.write_text("Name:\tx\nCpus_allowed_list:\t0-3\n")
    assert moved(asked, QEMU, TIDS, tmp_path) == "moved while the guest ran: vcpu1 may run on 0-3 instead of 3"
    assert moved(request(), QEMU, TIDS, tmp_path) == ""


def test_a_thread_of_qemu_with_fewer_cpus_than_asked_is_where_it_should_be(tmp_path: Path) -> None:
    """A kernel thread that KVM makes in QEMU's name has the CPUs of the vCPU that was the first to run."""
    running(tmp_path, main="3")
    assert placed(tmp_path, request((2, 3))).problem == ""


def test_where_all_cpus_are_the_guests_the_sampler_stays_where_it_is(tmp_path: Path) -> None:
    running(tmp_path, ("0", "1"), "0-3", "0-3")
    assert placed(tmp_path, request((0, 1, 2, 3))).problem == ""


def test_a_kernel_without_numa_has_no_policy_and_cannot_confirm_one(tmp_path: Path) -> None:
    running(tmp_path)
    (tmp_path / f"proc/{QEMU}/numa_maps").unlink()
    assert "memory" not in placed(tmp_path, request((2, 3))).seen
    assert "where memory is cannot be read" in placed(tmp_path, request((2, 3), numa_node=1)).problem


MAPS = [
    ("memfd", MEMFD, "bind:1"),
    ("hugetlb", MEMFD, "bind:1"),
    ("anonymous", mapping(START, RAM, "rw-p"), "bind:1"),
    ("anonymous", mapping(START, RAM + 4096, "rw-p") + mapping(START + 8 * RAM, 2 * RAM, "rw-p"), "bind:1"),
    ("anonymous", MEMFD, None),
    ("memfd", mapping(START, RAM // 2, name="/memfd:memory-backend-memfd (deleted)"), None),
]


@pytest.mark.parametrize(("backing", "ram", "policy"), MAPS)
def test_the_policy_is_that_of_the_mapping_that_holds_the_ram(
    tmp_path: Path, backing: str, ram: str, policy: str | None
) -> None:
    running(tmp_path)
    memory(tmp_path, ram, "bind:1")
    assert see(request(backing=backing), QEMU, TIDS, tmp_path).get("memory") == policy


def test_a_real_process_is_pinned_thread_by_thread_and_read_back() -> None:
    child = subprocess.Popen(["/bin/sleep", "30"])
    try:
        asked = request((ALLOWED[-1],), sampler_cpus=tuple(ALLOWED), vcpus=1)
        seen = place(asked, child.pid, [child.pid]).seen
        assert os.sched_getaffinity(child.pid) == {ALLOWED[-1]}
    finally:
        child.kill()
        child.wait()
    assert seen["vcpu0"] == str(ALLOWED[-1])


def in_a_seat(asked: Placement, device: Path) -> tuple[Seat, set[int], set[int]]:
    """The seat, and where this process and a thread started in it may run."""
    late: list[set[int]] = []
    with seat(asked, Path("/"), device) as found:
        starts = threading.Thread(target=lambda: late.append(os.sched_getaffinity(0)))
        starts.start()
        starts.join()
        return found, os.sched_getaffinity(0), late[0]


def test_in_its_seat_this_process_and_what_it_starts_are_on_their_cpus_and_afterwards_as_before(tmp_path: Path) -> None:
    last = ALLOWED[-1]
    found, own, late = in_a_seat(Placement((ALLOWED[0],), (last,)), tmp_path / "device")
    assert (found.qemu_cpus, own, late) == ((ALLOWED[0],), {last}, {last})
    assert sorted(os.sched_getaffinity(0)) == ALLOWED


def test_a_qemu_without_cpus_of_its_own_does_not_get_the_samplers(tmp_path: Path) -> None:
    found, _, _ = in_a_seat(Placement((), (ALLOWED[-1],)), tmp_path / "device")
    assert list(found.qemu_cpus) == ALLOWED


def test_an_empty_placement_moves_nothing_and_opens_nothing(tmp_path: Path) -> None:
    found, own, late = in_a_seat(Placement(), tmp_path / "device")
    assert (found, sorted(own), sorted(late)) == (Seat(), ALLOWED, ALLOWED)


def open_files() -> list[Path]:
    return [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.exists()]


def test_the_latency_is_asked_for_as_an_int_and_held_while_the_seat_is(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    with seat(Placement(hold_latency=True), Path("/"), device) as found:
        assert device in open_files()
    assert found.latency == "0 us, held"
    assert device.read_bytes() == struct.pack("i", 0)
    assert device not in open_files()


def test_a_latency_that_cannot_be_held_says_why_and_is_no_error(tmp_path: Path) -> None:
    with seat(Placement(hold_latency=True), Path("/"), tmp_path / "missing") as found:
        assert found.latency == "not held: No such file or directory"
    with seat(Placement(hold_latency=True), Path("/"), Path("/dev/full")) as found:
        assert found.latency == "not held: No space left on device"
