"""Metrics of workload `footprint`: what a guest holds over a day of work, and what its work takes.

A day is one iteration: from the snapshot before the first job to the end of the wait after the caches were dropped.
"""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

_OURS = ("footprint",)
# Phase -> words for it.
_WAITS = {
    "idle": "after the work",
    "cleaned": "after the clean",
    "dropped": "after the caches were dropped",
}


def _resident(phase: str, words: str) -> Metric:
    return Metric(
        f"day_{phase}_bytes",
        f"Still resident {words}",
        "byte",
        "lower",
        "ratio",
        f"median residency of the guest's RAM in the last fifth of the wait {words}",
        resolution=MIB,
        workloads=_OURS,
    )


TABLE = (
    Metric(
        "day_footprint_byte_s",
        "Footprint of a day",
        "byte-second",
        "lower",
        "ratio",
        "area under the residency of the guest's RAM over a day, however long its work took",
        time_like=True,
        workloads=_OURS,
    ),
    Metric(
        "day_guest_share",
        "Footprint of a day as a share of the guest's size",
        "share",
        "lower",
        "ratio",
        "day_footprint_byte_s divided by configured guest memory times the length of the day",
        resolution=0.001,
        workloads=_OURS,
    ),
    Metric(
        "day_resident_bytes",
        "Resident over a day, mean",
        "byte",
        "lower",
        "ratio",
        "day_footprint_byte_s divided by the length of the day",
        resolution=MIB,
        workloads=_OURS,
    ),
    Metric(
        "day_peak_bytes",
        "Resident at the peak of a day",
        "byte",
        "lower",
        "ratio",
        "highest residency of the guest's RAM in a day",
        resolution=MIB,
        workloads=_OURS,
    ),
    *(_resident(phase, words) for phase, words in _WAITS.items()),
    Metric(
        "day_growth_bytes",
        "Growth of what stays from the first day to the last",
        "byte",
        "lower",
        "difference",
        "day_dropped_bytes of the boot's last day minus that of its first, warm-ups included",
        resolution=MIB,
        workloads=_OURS,
        once=True,
    ),
    Metric(
        "day_work_s",
        "Time of the work",
        "second",
        "lower",
        "ratio",
        "time from the begin of the first job to the end of the last",
        time_like=True,
        workloads=_OURS,
    ),
    Metric(
        "day_disk_bytes",
        "Read from the disk by the work",
        "byte",
        "lower",
        "ratio",
        "bytes that came from the disk while the jobs read their sources (the disk's own counter)",
        resolution=MIB,
        workloads=_OURS,
    ),
    Metric(
        "day_qemu_main_cpu_s",
        "CPU time of QEMU's main thread in a day",
        "second",
        "lower",
        "difference",
        "CPU time of QEMU's main thread over a day: the thread that discards",
        time_like=True,
        resolution=0.02,
        workloads=_OURS,
    ),
    Metric(
        "day_kworker_cpu_s",
        "CPU time of the guest's kernel workers in a day",
        "second",
        "lower",
        "difference",
        "CPU time of all kworker threads of the guest over a day, the reporting worker's among it",
        time_like=True,
        resolution=0.001,
        workloads=_OURS,
    ),
)
