"""What the host does to a guest's memory, as far as it goes without a guest: ranges, arguments, what is lacking."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobs import PATHS, job

from bench.host import actions
from bench.host.pageout import ram_ranges
from bench.host.scene import Scene
from bench.wire.job import Arm, Job
from bench.wire.units import MIB

MAPS = """\
7f0000000000-7f0008000000 rw-s 00000000 00:01 1 /memfd:memory-backend-memfd (deleted)
7f0008000000-7f0020000000 rw-s 08000000 00:01 1 /memfd:memory-backend-memfd (deleted)
7f1000000000-7f1010000000 rw-p 00000000 00:00 0
"""


class NoMonitor:
    """For what needs none."""

    async def call(self, command: str, **arguments: Any) -> Any:
        raise AssertionError(command, arguments)


def acted(op: str, request: Job, root: Path, group: str = "") -> dict[str, Any]:
    return asyncio.run(actions.act(op, Scene(request, 1, NoMonitor(), group, root), {}))


def job_of(**arm: object) -> Job:
    return job(Arm("a", **arm))  # type: ignore[arg-type]


def test_the_guests_ram_is_found_also_where_its_mapping_was_split() -> None:
    assert ram_ranges(MAPS, [512 * MIB]) == [(0x7F0000000000, 512 * MIB)]
    assert ram_ranges(MAPS, [256 * MIB]) == [(0x7F1000000000, 256 * MIB)]
    assert ram_ranges(MAPS, [64 * MIB]) == []


def test_an_argument_may_come_from_what_an_earlier_phase_answered() -> None:
    args = {"bytes": 4096, "guest_physical": {"from": ["locate", "guest_physical"]}}
    assert actions.filled_in(args, {"locate": {"guest_physical": 7}}) == {"bytes": 4096, "guest_physical": 7}
    with pytest.raises(ValueError, match="phase locate answered no guest_physical"):
        actions.filled_in(args, {})


def test_a_host_without_swap_says_so(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("SwapTotal: 0 kB\n")
    answer = acted("pageout", job_of(), tmp_path)
    assert answer["skipped"].startswith("the host has no swap")


@pytest.mark.parametrize("backing", ["hugetlb", "file"])
def test_memory_that_is_never_swapped_says_so(backing: str, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("SwapTotal: 4 kB\n")
    assert "never swapped" in acted("pageout", job_of(backing=backing), tmp_path)["skipped"]


def test_without_a_memory_cgroup_nothing_is_pushed_out_and_the_reason_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("SwapTotal: 4 kB\n")
    assert acted("pageout", job_of(), tmp_path, "no right") == {"skipped": "no right"}


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown host action 'melt'; known: pageout, discard, balloon, virtio-mem"):
        acted("melt", job_of(), Path("/"))


def test_a_pool_of_huge_pages_that_is_too_small_is_told_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    needed = job_of().guest.memory_bytes // (2 * MIB)
    for total, free in ((10, 5), (needed, needed)):
        (tmp_path / "proc/meminfo").write_text(f"HugePages_Total: {total}\nHugePages_Free: {free}\n")
        lacks = actions.lacking(job_of(backing="hugetlb"), tmp_path)
        if free < needed:
            assert lacks is not None
            assert lacks.endswith(f"sudo sysctl vm.nr_hugepages={10 + needed - 5}")
        else:
            assert lacks is None


@pytest.mark.parametrize(
    ("backing", "file", "now"), [("anonymous", "enabled", "madvise"), ("memfd", "shmem_enabled", "advise")]
)
def test_the_hosts_own_thp_setting_must_be_what_the_arm_wants(
    backing: str, file: str, now: str, tmp_path: Path
) -> None:
    folder = tmp_path / "sys/kernel/mm/transparent_hugepage"
    folder.mkdir(parents=True)
    (folder / file).write_text(f"always [{now}] never\n")
    assert actions.lacking(job_of(backing=backing, host_thp="madvise"), tmp_path) is None
    lacks = actions.lacking(job_of(backing=backing, host_thp="always"), tmp_path)
    assert lacks is not None
    assert f"is {now}, not always" in lacks
    assert actions.lacking(job_of(backing=backing, host_thp="never"), tmp_path) is None


@pytest.mark.parametrize("knows", [True, False])
def test_a_qemu_without_virtio_mem_says_so_before_it_is_started(tmp_path: Path, knows: bool) -> None:
    qemu = tmp_path / "qemu"
    refusal = "echo \"qemu: -device virtio-mem-pci,help: Device 'virtio-mem-pci' not found\" >&2; exit 1"
    qemu.write_text(
        f"#!/bin/sh\n[ \"$*\" = '-device virtio-mem-pci,help' ] || exit 3\n{'exit 0' if knows else refusal}\n"
    )
    qemu.chmod(0o755)
    lacks = actions.lacking(job(Arm("p", give="virtio-mem"), paths=replace(PATHS, qemu=str(qemu))), tmp_path)
    assert (lacks is None) is knows
    if lacks is not None:
        assert lacks.startswith(f"{qemu} has no device virtio-mem-pci: ")
        assert lacks.endswith("'virtio-mem-pci' not found")


def test_a_qemu_that_is_not_there_is_no_matter_of_what_it_lacks(tmp_path: Path) -> None:
    paths = replace(PATHS, qemu=str(tmp_path / "none"))
    assert actions.lacking(job(Arm("p", give="virtio-mem"), paths=paths), tmp_path) is None
