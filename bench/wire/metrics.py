"""Every metric: name, unit, direction, kind, definition. docs/metrics.md is checked against this table by a test.

direction: "lower" or "higher" is better, "none" where neither is. kind says how two arms are compared (docs/method.md):
"ratio" of paired values, "difference" for what may be zero, "exact" for what must be equal.
A metric that was not measured in a boot is None there, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """title: the metric in words, as a table shows it.

    resolution: the smallest difference that means anything, in the metric's unit (0: none declared).

    time_like: the figure depends on the speed of the (emulated) CPU and carries a mark under TCG.

    workloads: those whose boots give it; () for all.
    """

    name: str
    title: str
    unit: str
    direction: str
    kind: str
    definition: str
    time_like: bool = False
    resolution: float = 0.0
    workloads: tuple[str, ...] = ("cycle",)


_MIB = 2.0**20
_TABLE = (
    Metric(
        "resident_peak_bytes",
        "Resident at the peak",
        "byte",
        "lower",
        "ratio",
        "highest residency of the guest's RAM on the host from touch to free",
        resolution=_MIB,
    ),
    Metric(
        "residual_bytes",
        "Still resident after the free",
        "byte",
        "lower",
        "ratio",
        "plateau after the free: median residency of the last fifth of the settle phase",
        resolution=_MIB,
    ),
    Metric(
        "returned_bytes",
        "Memory that came back",
        "byte",
        "higher",
        "difference",
        "residency at the start of the free minus residual_bytes",
        resolution=_MIB,
    ),
    Metric(
        "returned_share",
        "Share of the freed memory that came back",
        "share",
        "higher",
        "difference",
        "returned_bytes divided by the bytes that the guest freed",
        resolution=0.002,
    ),
    Metric(
        "t50_s",
        "Until 50 % had come back",
        "second",
        "lower",
        "ratio",
        "start of the free until half of returned_bytes had come back",
        resolution=0.05,
    ),
    Metric(
        "t90_s",
        "Until 90 % had come back",
        "second",
        "lower",
        "ratio",
        "start of the free until 90 % of returned_bytes had come back",
        resolution=0.05,
    ),
    Metric(
        "t99_s",
        "Until 99 % had come back",
        "second",
        "lower",
        "ratio",
        "start of the free until 99 % of returned_bytes had come back",
        resolution=0.05,
    ),
    Metric(
        "footprint_byte_s",
        "Footprint (area under the curve)",
        "byte-second",
        "lower",
        "ratio",
        "area under the residency from the start of the free over the plan's fixed window, the same for every arm",
    ),
    Metric(
        "footprint_guest_share",
        "Footprint as a share of the guest's size",
        "share",
        "lower",
        "ratio",
        "footprint_byte_s divided by configured guest memory times the window: mean share of the guest's size held",
    ),
    Metric(
        "first_touch_s_per_gib",
        "First touch",
        "second/GiB",
        "lower",
        "ratio",
        "time of the boot's first touch, per GiB touched",
        time_like=True,
    ),
    Metric(
        "first_touch_p50_s",
        "First touch, one page, median",
        "second",
        "lower",
        "ratio",
        "median latency of one page, first touch",
        time_like=True,
    ),
    Metric(
        "first_touch_p99_s",
        "First touch, one page, 99 %",
        "second",
        "lower",
        "ratio",
        "99th percentile of one page, first touch",
        time_like=True,
    ),
    Metric(
        "first_touch_p999_s",
        "First touch, one page, 99.9 %",
        "second",
        "lower",
        "ratio",
        "99.9th percentile of one page, first touch",
        time_like=True,
    ),
    Metric(
        "refault_s_per_gib",
        "Touching the memory again",
        "second/GiB",
        "lower",
        "ratio",
        "time of the touch after the settle, per GiB touched",
        time_like=True,
    ),
    Metric(
        "refault_p50_s",
        "Touching again, one page, median",
        "second",
        "lower",
        "ratio",
        "median latency of one page, touch after the settle",
        time_like=True,
    ),
    Metric(
        "refault_p99_s",
        "Touching again, one page, 99 %",
        "second",
        "lower",
        "ratio",
        "99th percentile of one page, touch after the settle",
        time_like=True,
    ),
    Metric(
        "refault_p999_s",
        "Touching again, one page, 99.9 %",
        "second",
        "lower",
        "ratio",
        "99.9th percentile of one page, touch after the settle",
        time_like=True,
    ),
    Metric(
        "free_s_per_gib",
        "The free itself, in the guest",
        "second/GiB",
        "lower",
        "ratio",
        "time of the free itself in the guest, per GiB freed",
        time_like=True,
    ),
    Metric(
        "discarded_bytes",
        "Discarded by QEMU",
        "byte",
        "none",
        "difference",
        "sum of QEMU's traced discards from the start of the free to the end of the settle phase",
        resolution=_MIB,
    ),
    Metric("discards", "Number of discards", "count", "none", "difference", "number of those discards", resolution=1),
    Metric(
        "discard_gap_bytes",
        "Discarded minus come back",
        "byte",
        "none",
        "difference",
        "discarded_bytes minus returned_bytes: what was discarded without having been resident, or came back unseen",
        resolution=_MIB,
    ),
    Metric(
        "qemu_cpu_s",
        "QEMU's CPU time after the free",
        "second",
        "lower",
        "difference",
        "CPU seconds of QEMU, all threads, from the start of the free over the plan's fixed window",
        time_like=True,
        resolution=0.02,
    ),
    Metric(
        "stuck_free_bytes",
        "Free in the guest, but in blocks too small to report",
        "byte",
        "lower",
        "difference",
        "free memory in the guest in blocks below the reporting order, after the settle (buddyinfo)",
        resolution=_MIB,
    ),
    Metric(
        "ready_s",
        "Start until READY",
        "second",
        "lower",
        "ratio",
        "QEMU's start until the agent said READY",
        time_like=True,
        resolution=0.01,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}
