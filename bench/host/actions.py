"""What the host itself does to a guest's memory in a phase of kind "host".

pageout: process_madvise(2) with MADV_PAGEOUT (Linux 5.10) asks the kernel to swap the guest's RAM out now, as pressure
would do later. discard: a page of the guest's RAM is thrown away although it is in use, by a hole in the file behind
it; what a guest would see if reporting ever lost a page.
"""

from __future__ import annotations

import ctypes
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional

from bench.host.readers import RamReader, find_memfd, parse_colon_table
from bench.wire.job import Job

_LIBC = ctypes.CDLL(None, use_errno=True)
# Numbers that are the same on every architecture since Linux 5.1.
_PIDFD_OPEN, _PROCESS_MADVISE = 434, 440
_MADV_PAGEOUT = 21
_PUNCH_HOLE_KEEP_SIZE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h
_MOST_ROUNDS = 8
# q35 puts RAM above so much behind the hole of the PCI devices (QEMU hw/i386/pc_q35.c); below it, guest-physical
# address and offset in the RAM are the same.
_LOW_RAM_BYTES = 2 << 30

Action = Callable[[Job, int, Mapping[str, Any], Path], dict[str, Any]]


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def act(op: str, job: Job, pid: int, args: Mapping[str, Any], root: Path = Path("/")) -> dict[str, Any]:
    """Does `op` to the guest of QEMU `pid`; its answer, or {"skipped": reason}. Raises ValueError, OSError."""
    if op not in _ACTIONS:
        raise ValueError(f"unknown host action {op!r}; known: {', '.join(_ACTIONS)}")
    return _ACTIONS[op](job, pid, args, root)


def ram_ranges(maps: str, memory_bytes: int) -> list[tuple[int, int]]:
    """(address, bytes) of the mappings in the text of /proc/PID/maps that hold exactly the guest's RAM, or parts of it
    that lie behind one another (a page of another kind in the middle splits a mapping in two).
    """
    found: list[tuple[int, int, str]] = []
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        start, _, end = fields[0].partition("-")
        name = fields[5] if len(fields) > 5 else ""
        first, last = int(start, 16), int(end, 16)
        if found and found[-1][0] + found[-1][1] == first and found[-1][2] == name:
            found[-1] = (found[-1][0], last - found[-1][0], name)
        else:
            found.append((first, last - first, name))
    return [(start, size) for start, size, _ in found if size == memory_bytes]


def _pageout(job: Job, pid: int, _args: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Until nothing more goes: bytes swapped out by it, ns, rounds."""
    if not parse_colon_table((root / "proc/meminfo").read_text()).get("SwapTotal"):
        return {"skipped": "the host has no swap; an administrator may add some (mkswap, swapon)"}
    ranges = ram_ranges((root / f"proc/{pid}/maps").read_text(), job.guest.memory_bytes)
    if not ranges:
        return {"skipped": "the guest's RAM was not found among QEMU's mappings"}
    reader = RamReader(pid, job.arm.backing, job.guest.memory_bytes, root)
    before, start = reader.now()[1], time.monotonic_ns()
    swapped, rounds = before, 0
    while rounds < _MOST_ROUNDS:
        problem = _madvise(pid, ranges)
        if problem:
            return {"skipped": f"process_madvise(MADV_PAGEOUT): {problem}"}
        rounds += 1
        now = reader.now()[1]
        if now <= swapped:
            break
        swapped = now
    return {"bytes": swapped - before, "ns": time.monotonic_ns() - start, "rounds": rounds}


def _madvise(pid: int, ranges: list[tuple[int, int]]) -> str:
    """ "" when the kernel did it, else its reason."""
    pidfd = _LIBC.syscall(_PIDFD_OPEN, pid, 0)
    if pidfd < 0:
        return os.strerror(ctypes.get_errno())
    try:
        vector = (_Iovec * len(ranges))(*(_Iovec(start, size) for start, size in ranges))
        count = _LIBC.syscall(_PROCESS_MADVISE, pidfd, vector, len(ranges), _MADV_PAGEOUT, 0)
        return os.strerror(ctypes.get_errno()) if count < 0 else ""
    finally:
        os.close(pidfd)


def _discard(job: Job, pid: int, args: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """args: guest_physical, bytes. Throws these bytes of the guest's RAM away: bytes."""
    file = find_memfd(root / f"proc/{pid}/fd", job.guest.memory_bytes) if job.arm.backing == "memfd" else None
    offset, size = int(args["guest_physical"]), int(args["bytes"])
    if file is None or platform.machine() != "x86_64" or offset + size > min(_LOW_RAM_BYTES, job.guest.memory_bytes):
        return {"skipped": "only a page of memfd RAM below 2 GiB of an x86 guest can be discarded by hand"}
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        problem = _punch(descriptor, offset, size)
    finally:
        os.close(descriptor)
    if problem:
        raise OSError(problem, f"fallocate: {os.strerror(problem)}")
    return {"bytes": size}


def _punch(descriptor: int, offset: int, size: int) -> int:
    fallocate = _LIBC.fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return ctypes.get_errno() if fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, offset, size) else 0


def filled_in(args: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """args, with {"from": [phase, key]} replaced by what that phase answered. Raises ValueError where it did not."""
    found: dict[str, Any] = {}
    for name, value in args.items():
        if isinstance(value, dict) and set(value) == {"from"}:
            phase, key = value["from"]
            if key not in results.get(phase, {}):
                raise ValueError(f"phase {phase} answered no {key}")
            found[name] = results[phase][key]
        else:
            found[name] = value
    return found


def lacking(job: Job, root: Path = Path("/")) -> Optional[str]:
    """Why this host cannot run the arm as it is meant, None where it can: to be asked before QEMU starts."""
    if job.arm.backing == "hugetlb":
        table = parse_colon_table((root / "proc/meminfo").read_text())
        free, needed = table.get("HugePages_Free", 0), job.guest.memory_bytes >> 21
        if free < needed:
            pages = f"{needed} huge pages of 2 MiB are needed, {free} are free"
            return f"{pages}; run: sudo sysctl vm.nr_hugepages={table.get('HugePages_Total', 0) + needed - free}"
    if job.arm.backing == "file":
        room = os.statvfs(tempfile.gettempdir())
        free = room.f_bavail * room.f_frsize
        if free < job.guest.memory_bytes:
            return (
                f"the file behind the guest's RAM may grow to {job.guest.memory_bytes >> 20} MiB, and "
                f"{tempfile.gettempdir()} has {free >> 20} MiB free; set TMPDIR to a folder with more room"
            )
    if job.arm.host_thp in ("always", "madvise"):
        folder = root / "sys/kernel/mm/transparent_hugepage"
        file = folder / ("enabled" if job.arm.backing == "anonymous" else "shmem_enabled")
        wanted = {"always": ("always",), "madvise": ("madvise", "advise")}[job.arm.host_thp]
        now = file.read_text().partition("[")[2].partition("]")[0] if file.exists() else "nothing"
        if now not in wanted:
            return f"{file} is {now}, not {wanted[-1]}; run: echo {wanted[-1]} | sudo tee {file}"
    return None


_ACTIONS: dict[str, Action] = {"pageout": _pageout, "discard": _discard}
