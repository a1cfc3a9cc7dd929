"""Jobs for tests: small, valid, and changed where a test says so. Standard library, Python 3.9."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.wire.job import Arm, Guest, Job, Paths, Phase
from bench.wire.units import MIB

NONE = Arm("none")
IDLE = Arm("idle-balloon", balloon=True)
REPORTING = Arm("reporting", balloon=True, reporting=True)
LOCKED = Arm("reporting-locked", balloon=True, reporting=True, mem_lock=True)
GUEST = Guest(512 * MIB, 1, "tcg")
PATHS = Paths("/usr/bin/qemu-system-x86_64", "/boot/vmlinuz", "/lib/modules/6.1.0", "/cache/image.cpio")


def job(arm: Arm = NONE, **changes: Any) -> Job:
    """A job of `arm` without phases; changes: any other field of Job."""
    plain = Job(host="local", cell="cycle", arm=arm, block=1, order=0, guest=GUEST, paths=PATHS, phases=())
    return dataclasses.replace(plain, **changes)


def guest_op(name: str, op: str, **args: Any) -> Phase:
    """A phase that the agent runs."""
    return Phase(name, "guest", 0, op, args)


def settle(min_s: float = 0.6, max_s: float = 6.0, window_s: float = 0.5) -> Phase:
    """A settle phase; its window is longer than the pause between two bursts of the fake QEMU."""
    times = {"min_s": min_s, "max_s": max_s, "window_s": window_s, "tolerance_bytes": MIB}
    return Phase("settle", "settle", 0, args=times)


def cycle(size: int) -> tuple[Phase, ...]:
    """Map, touch, hold, verify, free, settle, as the workload `cycle` does it once."""
    return (
        guest_op("map", "map", region="work", bytes=size, mapping="anonymous", thp="system"),
        guest_op("touch", "touch", region="work", mode="write", histogram=True),
        Phase("hold", "hold", 0, args={"s": 0.2}),
        guest_op("verify", "verify", region="work", extent="word"),
        guest_op("free", "release", region="work", how="munmap", every=1, block_bytes=0),
        settle(),
    )
