"""The records of one boot as a host side sends them, without a host side."""

from __future__ import annotations

from typing import Any

from bench.wire.job import Job
from bench.wire.record import End, Hello, LogPart, PhaseDone, Ready, Record, Row, Samples, Started
from bench.wire.units import MIB

# name, start, end in s since QEMU's start
TIMES = (("touch", 3.0, 4.0), ("hold", 4.0, 5.0), ("verify", 5.0, 5.5), ("free", 6.0, 6.2), ("settle", 6.2, 12.0))
FREED = 100 * MIB
HELD, LEFT = 180 * MIB, 80 * MIB


def rows(reporting: bool) -> list[Row]:
    """20 Hz of residency, which falls at 8 s where the guest reports."""
    found: list[Row] = []
    for tick in range(250):
        t = tick * 0.05
        held = LEFT if t < 3 or (reporting and t >= 8) else HELD
        found.append((t, "ram", "resident_bytes", float(held)))
    found += [(0.0, "qemu", f"cpu_{kind}_s", 0.0) for kind in ("main", "vcpu", "other")]
    return [*found, (8.0, "discard", "bytes", float(FREED))] if reporting else found


def good_boot(job: Job) -> list[Record]:
    """A boot that was measured and can be believed."""
    reporting = job.arm.reporting
    bits = ("000001" if reporting else "000000").ljust(64, "0") if job.arm.balloon else None
    result: dict[str, Any] = {"bytes": FREED, "ns": 10**9, "bad_pages": 0, "settled": True}
    phases = [PhaseDone(name, "guest", 0, False, start, end, result) for name, start, end in TIMES]
    sampler = {"hz": 20.0, "ticks": 250, "missed": 0, "cpu_s": 0.1, "wall_s": 12.5, "error": ""}
    series = rows(reporting)
    return [
        Hello(7, {"kernel": "6.18"}),
        Started(["qemu-system-x86_64", "-name", job.boot], 8, "2026-11-23T08:37:29.305+00:00"),
        Ready(2.9, {"balloon_features": bits, "page_reporting_order": 9 if reporting else 11}),
        Samples(series[:100]),
        *phases,
        Samples(series[100:]),
        LogPart("qemu", "one\n"),
        LogPart("qemu", "two\n"),
        LogPart("console", ""),
        End("ok", "", [], sampler, {"offset_s": 1.0, "error_s": 0.001}, {"status": {"status": "running"}}),
    ]


def failed_boot(job: Job, reason: str = "QEMU ended with status 1") -> list[Record]:
    """A boot that failed after its first phase."""
    return [*good_boot(job)[:5], End("failed", reason, ["qemu: out of memory"])]
