"""What the host itself does to a guest's memory in a phase of kind "host".

pageout: the guest's RAM goes to swap now (bench.host.pageout). discard: a page of the guest's RAM is thrown away
although it is in use, by a hole in the file behind it; what a guest would see if reporting ever lost a page.
"""

from __future__ import annotations

import ctypes
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional, Union

from bench.host.cgroup import NEEDLESS, Group
from bench.host.pageout import pageout
from bench.host.readers import find_memfd, parse_colon_table
from bench.wire.job import Job

_LIBC = ctypes.CDLL(None, use_errno=True)
_PUNCH_HOLE_KEEP_SIZE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h
# q35 puts RAM above so much behind the hole of the PCI devices (QEMU hw/i386/pc_q35.c); below it, guest-physical
# address and offset in the RAM are the same.
_LOW_RAM_BYTES = 2 << 30

Action = Callable[[Job, int, Mapping[str, Any], Path, Union[Group, str]], dict[str, Any]]


def act(
    op: str,
    job: Job,
    pid: int,
    args: Mapping[str, Any],
    group: Union[Group, str] = NEEDLESS,
    root: Path = Path("/"),
) -> dict[str, Any]:
    """Does `op` to the guest of QEMU `pid`; its answer, or {"skipped": reason}. Raises ValueError, OSError.

    group: the memory cgroup that QEMU is in, or why it has none of its own.
    """
    if op not in _ACTIONS:
        raise ValueError(f"unknown host action {op!r}; known: {', '.join(_ACTIONS)}")
    return _ACTIONS[op](job, pid, args, root, group)


def _discard(job: Job, pid: int, args: Mapping[str, Any], root: Path, _group: object) -> dict[str, Any]:
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


_ACTIONS: dict[str, Action] = {
    "pageout": lambda job, pid, _args, root, group: pageout(job, pid, root, group),
    "discard": _discard,
}
