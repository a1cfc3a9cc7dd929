"""Real memory cgroups with real processes in them: a boot has one of its own, and none is left, whatever ends it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from host_side import fake_job, gone_within, host_side, run_to_end
from jobs import NONE, REPORTING, cycle
from waiting import wait_for

from bench.host.arrive import Newcomer, NewcomerError
from bench.host.cgroup import PREFIX, Group, hierarchy, make, prune
from bench.host.process import spawn
from bench.wire.job import Cgroup
from bench.wire.record import End, Started
from bench.wire.units import MIB

# Fills memory that it maps, and stays.
EATER = "import sys, time\nheld = bytearray(int(sys.argv[1]))\nprint('full', flush=True)\ntime.sleep(60)\n"


@pytest.fixture(autouse=True)
def _right() -> None:
    if os.geteuid() != 0:
        pytest.fail("memory cgroups are made as root: run these tests as root")


def groups_of(pid: int) -> list[Path]:
    """The groups that process `pid` made and that are there."""
    return list(hierarchy()[0].glob(f"{PREFIX}{pid}.*"))


def membership(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_what_is_started_in_a_group_is_charged_to_it_from_its_first_page() -> None:
    async def started() -> None:
        group = make(Cgroup())
        qemu = await spawn([sys.executable, "-c", EATER, str(64 * MIB)], lambda _: None, join=group.join)
        assert group.holds(qemu.pid)
        wait_for(lambda: (group.current_bytes or 0) > 64 * MIB, 10, "64 MiB in the group")
        assert not group.holds(os.getpid())
        # Removing it ends what is in it.
        assert group.remove() == ""
        assert not group.path.exists()
        assert await qemu.wait() == -signal.SIGKILL
        await qemu.end()

    asyncio.run(started())


def test_a_limit_holds() -> None:
    group = make(Cgroup(limit_bytes=32 * MIB))
    try:
        eater = [sys.executable, "-c", EATER, str(256 * MIB)]
        process = subprocess.Popen(eater, stdout=subprocess.DEVNULL, preexec_fn=group.join)  # noqa: PLW1509 - one thread
        # Without swap it is killed; with swap it stays, and is mostly there.
        wait_for(lambda: process.poll() is not None or (group.current_bytes or 0) > 24 * MIB, 10, "the limit")
        assert (group.current_bytes or 0) <= 32 * MIB
        process.kill()
        process.wait()
    finally:
        assert group.remove() == ""


def test_a_boot_that_needs_a_group_has_its_own_and_it_is_gone_afterwards(tmp_path: Path) -> None:
    with host_side(tmp_path) as host:
        host.ask(fake_job(tmp_path, cycle(16 * MIB), REPORTING, cgroup=Cgroup()))
        qemu = host.until(Started).qemu_pid
        assert f"/{PREFIX}{host.process.pid}." in membership(qemu)
        assert f"/{PREFIX}" not in membership(host.process.pid)
        assert host.until(End).status == "ok"
        used = [value for _, value in host.rows("cgroup", "current_bytes")]
    assert max(used) > 16 * MIB
    assert groups_of(host.process.pid) == []


def test_a_boot_that_needs_none_makes_none(tmp_path: Path) -> None:
    with host_side(tmp_path) as host:
        host.ask(fake_job(tmp_path, cycle(MIB)))
        assert f"/{PREFIX}" not in membership(host.until(Started).qemu_pid)
        host.until(End)


def test_no_group_is_left_when_qemu_dies(tmp_path: Path) -> None:
    arm = dataclasses.replace(NONE, kernel_args=("fake=dies",))
    host, end = run_to_end(tmp_path, fake_job(tmp_path, cycle(MIB), arm, cgroup=Cgroup()))
    assert end.status == "failed"
    assert groups_of(host.process.pid) == []


@pytest.mark.alone  # any bench or host side beside it would remove the group
def test_the_group_of_a_host_side_that_was_killed_is_removed_by_the_next_and_a_living_ones_is_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    living = make(Cgroup())
    try:
        with host_side(tmp_path / "a") as killed:
            killed.ask(fake_job(tmp_path / "a", cycle(MIB), cgroup=Cgroup()))
            qemu = killed.until(Started).qemu_pid
            killed.process.kill()
        assert gone_within(qemu, 5)
        assert len(groups_of(killed.process.pid)) == 1
        # Any request does it.
        subprocess.run(
            [sys.executable, "-m", "bench.host"], input=b'{"v":1,"type":"Ask","body":{"what":"nothing"}}\n', check=True
        )
        assert groups_of(killed.process.pid) == []
        assert living.path.is_dir()
    finally:
        assert living.remove() == ""


@pytest.mark.alone  # as above
def test_what_runs_in_a_dead_owners_group_is_ended_with_it() -> None:
    maker = (
        "import os, subprocess, sys\nfrom bench.host.cgroup import make\nfrom bench.wire.job import Cgroup\n"
        "group, null = make(Cgroup()), subprocess.DEVNULL\n"
        "child = subprocess.Popen(['sleep', '60'], stdout=null, preexec_fn=group.join)\n"
        "print(group.path, child.pid, flush=True)\nos._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", maker], stdout=subprocess.PIPE, text=True, check=True)
    path, child = done.stdout.split()
    assert child in (Path(path) / "cgroup.procs").read_text().split()
    assert (Path(path), "") in prune()
    assert not Path(path).exists()
    assert gone_within(int(child), 2)


def test_a_newcomer_is_charged_to_its_group_and_one_that_the_limit_kills_says_so() -> None:
    async def arrive(group: Group, size: int) -> dict[str, Any]:
        newcomer = await Newcomer.begin(size, group, time.monotonic)
        try:
            answer = await newcomer.take(20)
            return {**answer, "charged": group.current_bytes}
        finally:
            await newcomer.end()

    # Swap is none of its ways out: it locks what it has.
    group = make(Cgroup(limit_bytes=64 * MIB))
    try:
        answer = asyncio.run(arrive(group, 32 * MIB))
        assert answer["reached"]
        assert answer["locked"]
        assert 32 * MIB <= answer["charged"] <= 64 * MIB
        with pytest.raises(NewcomerError, match=r"killed by signal 9.*neither memory nor swap left"):
            asyncio.run(arrive(group, 128 * MIB))
    finally:
        assert group.remove() == ""
