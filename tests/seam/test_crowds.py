"""Several guests in one job, over the fake QEMU: they run side by side, wait for one another, and end together."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from host_side import fake_job, gone_within, host_side, run_to_end
from jobs import REPORTING, cycle, guest_op

from bench.host.cgroup import PREFIX, hierarchy
from bench.wire.job import Cgroup, Phase
from bench.wire.record import End, LogPart, PhaseDone, Ready, Started
from bench.wire.units import MIB

TOUCHED = 16 * MIB


@pytest.fixture(autouse=True)
def _right() -> None:
    if os.geteuid() != 0:
        pytest.fail("memory cgroups are made as root: run these tests as root")


def of(guest: int, *phases: Phase) -> tuple[Phase, ...]:
    return tuple(replace(phase, guest=guest) for phase in phases)


def hold(seconds: float) -> Phase:
    return Phase("hold", "hold", 0, args={"s": seconds})


def meet(*phases: tuple[int, str]) -> Phase:
    return Phase("turn", "meet", 0, args={"phases": [list(phase) for phase in phases]})


def test_two_guests_run_beside_one_another_and_each_has_its_own_rows_and_logs(tmp_path: Path) -> None:
    phases = (*of(0, *cycle(TOUCHED)), *of(1, *cycle(TOUCHED)))
    host, end = run_to_end(tmp_path, fake_job(tmp_path, phases, REPORTING, guests=2))
    assert (end.status, end.reason) == ("ok", "")
    assert sorted(item.guest for item in host.all_of(Started)) == [0, 1]
    assert sorted(item.guest for item in host.all_of(Ready)) == [0, 1]
    settles = [item for item in host.all_of(PhaseDone) if item.name == "settle"]
    assert max(item.start_s for item in settles) < min(item.end_s for item in settles)
    for source in ("ram", "ram.1"):
        resident = [value for _, value in host.rows(source, "resident_bytes")]
        assert max(resident) - resident[-1] > TOUCHED / 2
    assert host.rows("discard", "bytes")
    assert host.rows("discard.1", "bytes")
    assert {"qemu", "qemu.1", "console.1", "dmesg.1"} <= {item.name for item in host.all_of(LogPart)}
    assert len(end.others) == 1
    assert end.others[0]["clock"]["error_s"] < 1
    # One sampler: what is the host's comes once.
    times = [t for t, _ in host.rows("meminfo", "MemFree_bytes")]
    assert len(times) == len(set(times))


def test_a_guest_is_started_when_the_one_before_is_through_and_both_live_to_the_end(tmp_path: Path) -> None:
    boot = Phase("boot", "boot", 0)
    phases = (*of(0, *cycle(TOUCHED)), *of(1, meet((0, "settle")), boot, *cycle(TOUCHED)))
    host, end = run_to_end(tmp_path, fake_job(tmp_path, phases, guests=2))
    assert end.status == "ok"
    first, second = host.all_of(Started)
    assert (first.guest, second.guest) == (0, 1)
    ends = {(item.guest, item.name): item.end_s for item in host.all_of(PhaseDone)}
    assert ends[1, "turn"] >= ends[0, "settle"]
    assert ends[1, "boot"] >= ends[1, "turn"]
    # What the first one holds counts until the second one has done its part.
    last = max(t for t, _ in host.rows("ram", "resident_bytes"))
    assert last >= ends[1, "settle"] - 0.2


def test_a_guest_that_is_declined_is_never_started_and_nobody_waits_for_it(tmp_path: Path) -> None:
    boot = Phase("boot", "boot", 0, args={"unless": [0, "map", "bytes"]})
    again = Phase("boot", "boot", 0, args={"unless": [1, "map", "bytes"]})
    phases = (
        *of(0, *cycle(TOUCHED)),
        *of(1, meet((0, "settle")), boot, *cycle(TOUCHED)),
        *of(2, meet((1, "settle")), again, *cycle(TOUCHED)),
    )
    host, end = run_to_end(tmp_path, fake_job(tmp_path, phases, guests=3))
    assert end.status == "ok"
    assert [item.guest for item in host.all_of(Started)] == [0]


def test_the_death_of_one_guest_ends_all_and_says_whose_it_was(tmp_path: Path) -> None:
    phases = (*of(0, *cycle(TOUCHED), hold(20)), *of(1, *cycle(TOUCHED), hold(20)))
    with host_side(tmp_path) as host:
        host.ask(fake_job(tmp_path, phases, guests=2, cgroup=Cgroup()))
        while len(host.all_of(Ready)) < 2:
            host.until(Ready)
        first, second = sorted(host.all_of(Started), key=lambda item: item.guest)
        os.kill(second.qemu_pid, signal.SIGKILL)
        end = host.until(End)
    assert (end.status, end.reason) == ("failed", "guest 1: QEMU ended with status -9 while its guest was in use")
    assert gone_within(first.qemu_pid, 5)
    assert not list(hierarchy()[0].glob(f"{PREFIX}{host.process.pid}.*"))


def test_a_guest_that_the_groups_limit_kills_is_a_failure_that_says_so(tmp_path: Path) -> None:
    phases = of(0, guest_op("map", "map", region="work", bytes=48 * MIB), guest_op("touch", "touch", region="work"))
    limits = Cgroup(limit_bytes=40 * MIB, swap_limit_bytes=0)
    _, end = run_to_end(tmp_path, fake_job(tmp_path, (*phases, *of(1, hold(5))), guests=2, cgroup=limits))
    assert end.status == "failed"
    assert "its memory cgroup was full (40 MiB of memory, 0 B of swap), and the kernel killed it" in end.reason


@pytest.mark.alone  # any bench or host side beside it would remove the group, and say so
@pytest.mark.parametrize("after", [Started, Ready, PhaseDone])
def test_a_host_side_that_is_killed_leaves_no_guest_and_the_next_request_no_group(tmp_path: Path, after: type) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    phases = (*of(0, *cycle(TOUCHED)), *of(1, *cycle(TOUCHED)))
    with host_side(tmp_path / "a") as host:
        host.ask(fake_job(tmp_path / "a", phases, guests=2, cgroup=Cgroup(limit_bytes=512 * MIB)))
        host.until(after)
        pids = [item.qemu_pid for item in host.all_of(Started)]
        host.process.kill()
    assert all(gone_within(pid, 5) for pid in pids)
    _, end = run_to_end(tmp_path / "b", fake_job(tmp_path / "b", cycle(MIB)))
    assert end.status == "ok"
    assert not list(hierarchy()[0].glob(f"{PREFIX}{host.process.pid}.*"))
