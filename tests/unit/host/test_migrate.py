"""Moving a guest, as far as it goes without one: statistics, memory compared page by page, room, command line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import GUEST, NONE, PATHS, job

from bench.host import actions
from bench.host.migrate import statistics, without_room
from bench.host.qemu import incoming_argv, qemu_argv
from bench.host.samepages import CHUNK_BYTES, PAGE_BYTES, compare
from bench.wire.job import Arm, Phase
from bench.wire.units import MIB

MOVES = (Phase("migrate", "host", 0, "migrate", {"bytes_per_s": 0, "deadline_s": 1}),)
SIZE = 2 * CHUNK_BYTES + 3 * PAGE_BYTES
# As QEMU 7.2 answers.
ANSWER = {
    "status": "completed",
    "setup-time": 2,
    "downtime": 51,
    "total-time": 1961,
    "ram": {
        "total": 1074864128,
        "dirty-sync-count": 3,
        "page-size": 4096,
        "remaining": 0,
        "transferred": 729808896,
        "duplicate": 84682,
        "normal": 177660,
        "normal-bytes": 727695360,
    },
}


def test_statistics_are_in_seconds_bytes_and_pages() -> None:
    assert statistics(ANSWER) == {
        "status": "completed",
        "total_s": 1.961,
        "down_s": 0.051,
        "setup_s": 0.002,
        "sent_bytes": 729808896,
        "normal_pages": 177660,
        "zero_pages": 84682,
        "syncs": 3,
        "ram_bytes": 1074864128,
        "remaining_bytes": 0,
        "page_bytes": 4096,
    }


def test_what_qemu_does_not_say_is_none() -> None:
    found = statistics({"status": "cancelled"})
    assert found.pop("status") == "cancelled"
    assert set(found.values()) == {None}


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Path, list[int]]]:
    """Two processes' descriptor folders, with a memfd of SIZE in each; the first page of both is the same."""
    files = []
    for pid in (1, 2):
        fd = os.memfd_create("memory-backend-memfd")
        os.ftruncate(fd, SIZE)
        os.pwrite(fd, b"same", 0)
        (tmp_path / f"proc/{pid}/fd").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/fd/7").symlink_to(f"/proc/{os.getpid()}/fd/{fd}")
        files.append(fd)
    yield tmp_path, files
    for fd in files:
        os.close(fd)


@pytest.fixture
def memfds(monkeypatch: pytest.MonkeyPatch, sides: tuple[Path, list[int]]) -> tuple[Path, list[int]]:
    """A link to a link reads as the first link's text: the files are found as they would be in /proc."""
    monkeypatch.setattr("bench.host.readers._target", lambda _entry: "/memfd:memory-backend-memfd (deleted)")
    return sides


def test_the_same_memory_on_both_sides_has_no_page_that_differs(memfds: tuple[Path, list[int]]) -> None:
    root, files = memfds
    held = [os.fstat(fd).st_blocks for fd in files]
    same = {"different_pages": 0, "zero_pages": 0, "emptied_pages": 0, "first_different": None}
    assert compare(1, 2, [SIZE], root) == {"pages": SIZE // PAGE_BYTES, **same}
    assert [os.fstat(fd).st_blocks for fd in files] == held, "a look must not fill holes"


def test_pages_that_differ_are_counted_and_the_first_one_is_told(memfds: tuple[Path, list[int]]) -> None:
    root, (first, second) = memfds
    os.pwrite(first, b"left out", CHUNK_BYTES + PAGE_BYTES)
    os.pwrite(second, b"stale", 2 * CHUNK_BYTES + 2 * PAGE_BYTES)
    os.pwrite(first, b"new", 2 * CHUNK_BYTES + 2 * PAGE_BYTES)
    os.pwrite(second, b"given back", CHUNK_BYTES + 2 * PAGE_BYTES)
    found = compare(1, 2, [SIZE], root)
    assert (found["different_pages"], found["zero_pages"], found["emptied_pages"]) == (3, 1, 1)
    assert found["first_different"] == CHUNK_BYTES + PAGE_BYTES


def test_a_second_qemu_has_the_command_line_of_the_first_and_files_of_its_own() -> None:
    argv = qemu_argv(job(NONE, phases=MOVES), "/tmp/boot,1", "/cache/initrd.cpio")
    there = incoming_argv(argv, "/tmp/boot,1", "/tmp/boot,1/2")
    assert there[-3:] == ["-S", "-incoming", "unix:/tmp/boot,1/2/migration"]
    changed = {new: old for old, new in zip(argv, there) if old != new}
    assert set(changed) == {
        "socket,id=qmp,path=/tmp/boot,,1/2/qmp,server=on,wait=off",
        "file,id=console,path=/tmp/boot,,1/2/console",
        "socket,id=agent,path=/tmp/boot,,1/2/agent,server=on,wait=off",
    }


def test_hinting_gets_a_thread_of_its_own() -> None:
    arm = Arm("hinting", balloon=True, hinting=True)
    argv = qemu_argv(job(arm), "/tmp/boot", "/cache/initrd.cpio")
    place = argv.index("iothread,id=hint")
    assert argv[place - 1 : place + 3] == [
        "-object",
        "iothread,id=hint",
        "-device",
        "virtio-balloon-pci,id=balloon,free-page-reporting=off,free-page-hint=on,iothread=hint",
    ]


def test_a_host_that_cannot_hold_the_guest_twice_says_so(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    meminfo = tmp_path / "proc/meminfo"
    meminfo.write_text(f"MemAvailable: {(2 * GUEST.memory_bytes + 512 * MIB) // 1024 - 1} kB\n")
    problem = without_room(job(phases=MOVES), tmp_path)
    assert problem is not None
    assert "is there twice: 1.50 GiB are needed" in problem
    assert without_room(job(), tmp_path) is None, "nothing is migrated"
    meminfo.write_text(f"MemAvailable: {(2 * GUEST.memory_bytes + 512 * MIB) // 1024} kB\n")
    assert without_room(job(phases=MOVES), tmp_path) is None


@pytest.mark.parametrize(("properties", "lacks"), [("free-page-hint=<bool>", False), ("iothread=<link>", True)])
def test_a_qemu_without_hinting_is_found_by_asking_it(tmp_path: Path, properties: str, lacks: bool) -> None:
    qemu = tmp_path / "qemu"
    qemu.write_text(f"#!/bin/sh\necho '  {properties}'\n")
    qemu.chmod(0o755)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemAvailable: 99999999 kB\n")
    arm = Arm("hinting", balloon=True, hinting=True)
    found = actions.lacking(job(arm, paths=replace(PATHS, qemu=str(qemu))), tmp_path)
    assert found == (f"the balloon device of {qemu} has no free-page-hint" if lacks else None)
