"""Every metric: name, unit, direction, kind, definition. docs/metrics.md is checked against this table by a test.

direction: "lower" or "higher" is better, "none" where neither is. kind says how two arms are compared (docs/method.md):
"ratio" of paired values, "difference" for what may be zero, "exact" for what must be equal.
A metric that was not measured in a boot is None there, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """resolution: the smallest difference that means anything, in the metric's unit (0: none declared).

    time_like: the figure depends on the speed of the (emulated) CPU and carries a mark under TCG.
    """

    name: str
    unit: str
    direction: str
    kind: str
    definition: str
    time_like: bool = False
    resolution: float = 0.0


_MIB = 2.0**20
_TABLE = (
    Metric(
        "resident_peak_bytes",
        "byte",
        "lower",
        "ratio",
        "highest residency of the guest's RAM on the host from touch to free",
        resolution=_MIB,
    ),
    Metric(
        "residual_bytes",
        "byte",
        "lower",
        "ratio",
        "plateau after the free: median residency of the last fifth of the settle phase",
        resolution=_MIB,
    ),
    Metric(
        "returned_bytes",
        "byte",
        "higher",
        "difference",
        "residency at the start of the free minus residual_bytes",
        resolution=_MIB,
    ),
    Metric(
        "returned_share",
        "share",
        "higher",
        "difference",
        "returned_bytes divided by the bytes that the guest freed",
        resolution=0.002,
    ),
    Metric(
        "t50_s",
        "second",
        "lower",
        "ratio",
        "start of the free until half of returned_bytes had come back",
        resolution=0.05,
    ),
    Metric(
        "t90_s",
        "second",
        "lower",
        "ratio",
        "start of the free until 90 % of returned_bytes had come back",
        resolution=0.05,
    ),
    Metric(
        "t99_s",
        "second",
        "lower",
        "ratio",
        "start of the free until 99 % of returned_bytes had come back",
        resolution=0.05,
    ),
    Metric(
        "footprint_byte_s",
        "byte-second",
        "lower",
        "ratio",
        "area under the residency from the start of the free over the plan's fixed window, the same for every arm",
    ),
    Metric(
        "footprint_guest_share",
        "share",
        "lower",
        "ratio",
        "footprint_byte_s divided by configured guest memory times the window: mean share of the guest's size held",
    ),
    Metric(
        "first_touch_s_per_gib",
        "second/GiB",
        "lower",
        "ratio",
        "time of the boot's first touch, per GiB touched",
        time_like=True,
    ),
    Metric("first_touch_p50_s", "second", "lower", "ratio", "median latency of one page, first touch", time_like=True),
    Metric("first_touch_p99_s", "second", "lower", "ratio", "99th percentile of one page, first touch", time_like=True),
    Metric(
        "first_touch_p999_s", "second", "lower", "ratio", "99.9th percentile of one page, first touch", time_like=True
    ),
    Metric(
        "refault_s_per_gib",
        "second/GiB",
        "lower",
        "ratio",
        "time of the touch after the settle, per GiB touched",
        time_like=True,
    ),
    Metric(
        "refault_p50_s",
        "second",
        "lower",
        "ratio",
        "median latency of one page, touch after the settle",
        time_like=True,
    ),
    Metric(
        "refault_p99_s",
        "second",
        "lower",
        "ratio",
        "99th percentile of one page, touch after the settle",
        time_like=True,
    ),
    Metric(
        "refault_p999_s",
        "second",
        "lower",
        "ratio",
        "99.9th percentile of one page, touch after the settle",
        time_like=True,
    ),
    Metric(
        "free_s_per_gib",
        "second/GiB",
        "lower",
        "ratio",
        "time of the free itself in the guest, per GiB freed",
        time_like=True,
    ),
    Metric(
        "discarded_bytes",
        "byte",
        "none",
        "difference",
        "sum of QEMU's traced discards from the start of the free to the end of the settle phase",
        resolution=_MIB,
    ),
    Metric("discards", "count", "none", "difference", "number of those discards", resolution=1),
    Metric(
        "discard_gap_bytes",
        "byte",
        "none",
        "difference",
        "discarded_bytes minus returned_bytes: what was discarded without having been resident, or came back unseen",
        resolution=_MIB,
    ),
    Metric(
        "qemu_cpu_s",
        "second",
        "lower",
        "difference",
        "CPU seconds of QEMU, all threads, from the start of the free over the plan's fixed window",
        time_like=True,
        resolution=0.02,
    ),
    Metric(
        "stuck_free_bytes",
        "byte",
        "lower",
        "difference",
        "free memory in the guest in blocks below the reporting order, after the settle (buddyinfo)",
        resolution=_MIB,
    ),
    Metric(
        "ready_s",
        "second",
        "lower",
        "ratio",
        "QEMU's start until the agent said READY",
        time_like=True,
        resolution=0.01,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}
