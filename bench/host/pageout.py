"""Pushes a guest's RAM out to swap now, as pressure would do later, and out of the host's swap cache too.

process_madvise(2) with MADV_PAGEOUT (Linux 5.10) unmaps the pages and has them written to swap. They stay in the swap
cache, where a touch finds them again without reading: madvise walks page tables, in which they are no longer. What
takes them from there is reclaim of the memory cgroup that they are charged to. It takes the coldest first, and pages
that were just written are the coldest, so QEMU's own memory mostly stays.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Union

from bench.host.cgroup import Group
from bench.host.readers import RamReader, parse_colon_table
from bench.wire.job import Job
from bench.wire.units import MIB

_LIBC = ctypes.CDLL(None, use_errno=True)
# Numbers that are the same on every architecture since Linux 5.1.
_PIDFD_OPEN, _PROCESS_MADVISE = 434, 440
_MADV_PAGEOUT = 21
_DEADLINE_S, _PAUSE_S, _WRITING_S = 60.0, 0.05, 0.005
# The guest goes on running, and takes some pages back meanwhile; QEMU's own memory would come next.
_LEAST_PROGRESS_BYTES, _ROUNDS_WITHOUT, _LEFT_BYTES = MIB, 2, 2 * MIB
_PORTION_BYTES = 16 * MIB


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def pageout(job: Job, pid: int, root: Path, group: Union[Group, str]) -> dict[str, Any]:
    """Until nothing more goes: bytes in swap and no longer in memory, cached_bytes (in both; None where the kernel does
    not say), own_bytes (of QEMU's own memory, swapped out with it), ns, rounds. Or {"skipped": reason}.
    """
    if not parse_colon_table((root / "proc/meminfo").read_text()).get("SwapTotal"):
        return {"skipped": "the host has no swap; an administrator may add some (mkswap, swapon)"}
    if job.arm.backing not in ("memfd", "anonymous"):
        return {"skipped": f"memory with backing {job.arm.backing} is never swapped"}
    if isinstance(group, str):
        return {"skipped": group}
    ranges = ram_ranges((root / f"proc/{pid}/maps").read_text(), job.ram_parts)
    if not ranges:
        return {"skipped": "the guest's RAM was not found among QEMU's mappings"}
    reader = RamReader(pid, job.arm.backing, job.ram_parts, root)
    before, own, start = _out(reader, group), _own(job, pid, root), time.monotonic()
    out, rounds, idle = before, 0, 0
    while idle < _ROUNDS_WITHOUT and time.monotonic() - start < _DEADLINE_S:
        problem = _madvise(pid, ranges)
        if problem:
            return {"skipped": f"process_madvise(MADV_PAGEOUT): {problem}"}
        rounds += 1
        _out_of_cache(group, start + _DEADLINE_S)
        now = _out(reader, group)
        idle = 0 if now - out >= _LEAST_PROGRESS_BYTES else idle + 1
        out = max(out, now)
        time.sleep(_PAUSE_S)
    return {
        "bytes": out - before,
        "cached_bytes": group.swap_cached_bytes,
        "own_bytes": _own(job, pid, root) - own,
        "ns": int((time.monotonic() - start) * 1e9),
        "rounds": rounds,
    }


def _out_of_cache(group: Group, end: float) -> None:
    """In portions: Linux 6.1 took 165 MiB where 128 were asked for, and the rest was QEMU's own."""
    while group.writeback_bytes and time.monotonic() < end:
        time.sleep(_WRITING_S)  # asked for them now, the kernel would take other pages
    cached = group.swap_cached_bytes
    if cached is None:
        group.reclaim(group.current_bytes or 0)
    while cached is not None and cached > _LEFT_BYTES and time.monotonic() < end:
        group.reclaim(min(cached, _PORTION_BYTES))
        before, cached = cached, group.swap_cached_bytes
        if cached is not None and cached >= before:
            return


def _out(reader: RamReader, group: Group) -> int:
    """Bytes that are in swap and not in memory."""
    return reader.now()[1] - (group.swap_cached_bytes or 0)


def _own(job: Job, pid: int, root: Path) -> int:
    """Swapped-out memory of QEMU beside the guest's RAM; 0 where RAM is anonymous too, and cannot be told from it."""
    if job.arm.backing == "anonymous":
        return 0
    return parse_colon_table((root / f"proc/{pid}/status").read_text())["VmSwap"]


def ram_ranges(maps: str, sizes: Collection[int]) -> list[tuple[int, int]]:
    """(address, bytes) of the mappings in the text of /proc/PID/maps that hold exactly one of `sizes`, those of the
    guest's RAM, or parts of it that lie behind one another (a page of another kind in the middle splits a mapping).
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
    return [(start, size) for start, size, _ in found if size in sizes]


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
