"""What the guest has used and has left, from its kernel's own counters. Readers take a root, as in guestos."""

from __future__ import annotations

import os

from workloads import guestos

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from typing import Any


def zones(root: str = "/", page_bytes: int = 0) -> list[dict[str, Any]]:
    """name, free_bytes and low_bytes (the low watermark) of each zone that has memory, from /proc/zoneinfo."""
    page = page_bytes or os.sysconf("SC_PAGE_SIZE")
    found: list[dict[str, Any]] = []
    for line in (guestos.read_text(f"{root}/proc/zoneinfo") or "").splitlines():
        words = line.split()
        if words[:1] == ["Node"] and "zone" in words:
            found.append({"name": words[-1], "free_bytes": 0, "low_bytes": 0, "managed": 0})
        elif words[:2] == ["pages", "free"]:
            found[-1]["free_bytes"] = int(words[2]) * page
        elif words[:1] == ["low"] and found:
            found[-1]["low_bytes"] = int(words[1]) * page
        elif words[:1] == ["managed"]:
            found[-1]["managed"] = int(words[1])
    return [zone for zone in found if zone.pop("managed")]


def percpu_bytes(root: str = "/", page_bytes: int = 0) -> int | None:
    """Free pages that lie in the lists of single CPUs, in front of the page allocator's own (mm/page_alloc.c).

    They are in no block that is reported, whatever its size. None where /proc/zoneinfo does not show them.
    """
    page = page_bytes or os.sysconf("SC_PAGE_SIZE")
    lines = (guestos.read_text(f"{root}/proc/zoneinfo") or "").splitlines()
    counts = [int(words[1]) for words in map(str.split, lines) if words[:1] == ["count:"]]
    return sum(counts) * page if counts else None


def cpu_busy_ns(root: str = "/") -> int | None:
    """Time in which the guest's CPUs were neither idle nor waiting, since its boot, in steps of a tick (proc(5))."""
    words = (guestos.read_text(f"{root}/proc/stat") or "").splitlines()[:1]
    if not words:
        return None
    user, nice, system, _idle, _iowait, irq, softirq = (int(word) for word in words[0].split()[1:8])
    return (user + nice + system + irq + softirq) * (10**9 // os.sysconf("SC_CLK_TCK"))


def threads_ns(start: str, root: str = "/") -> int:
    """CPU time of the processes whose name begins so, 0 where none does: /proc/PID/schedstat, first field."""
    total = 0
    for name in filter(str.isdigit, guestos.names(f"{root}/proc")):
        if (guestos.read_text(f"{root}/proc/{name}/comm") or "").startswith(start):
            total += int((guestos.read_text(f"{root}/proc/{name}/schedstat") or "0").split()[0])
    return total
