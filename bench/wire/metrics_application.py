"""Metrics of real programs in the guest: what they get done, and what the host holds meanwhile."""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

_OURS = ("application",)
# Phase -> words for it.
_TIMES = {"busy": "the first time", "again": "after the memory was freed"}


def _timed(name: str, title: str, unit: str, direction: str, definition: str) -> Metric:
    return Metric(name, title, unit, direction, "ratio", definition, time_like=True, workloads=_OURS)


def _resident(name: str, title: str, definition: str) -> Metric:
    return Metric(name, title, "byte", "lower", "ratio", definition, resolution=MIB, workloads=_OURS)


def _of_time(phase: str, words: str) -> tuple[Metric, ...]:
    return (
        _timed(
            f"{phase}_ops_per_s",
            f"Operations a second, {words}",
            "count/second",
            "higher",
            f"requests a second of the slowest kind that the benchmark client reports, {words}",
        ),
        _timed(
            f"{phase}_p99_s",
            f"Latency of a request, 99 %, {words}",
            "second",
            "lower",
            f"99th percentile of a request, of the slowest kind that the benchmark client reports, {words}",
        ),
        _timed(
            f"{phase}_job_s",
            f"Time of the job, {words}",
            "second",
            "lower",
            f"time of the program from its start to its end, {words}",
        ),
        _resident(
            f"{phase}_resident_bytes",
            f"Resident while it works, {words}",
            f"mean residency of the guest's RAM while the program runs, {words}",
        ),
    )


TABLE = (
    *(metric for phase, words in _TIMES.items() for metric in _of_time(phase, words)),
    _resident(
        "idle_resident_bytes",
        "Resident when idle",
        "median residency of the last fifth of the settle phase after the program freed its memory",
    ),
    _resident(
        "after_resident_bytes",
        "Resident after its end",
        "median residency of the last fifth of the settle phase after the program has ended",
    ),
    Metric(
        "idle_returned_bytes",
        "Memory that came back when it was freed",
        "byte",
        "higher",
        "difference",
        "residency at the start of the free minus idle_resident_bytes",
        resolution=MIB,
        workloads=_OURS,
    ),
    Metric(
        "slowdown_share",
        "Slower after the memory was freed",
        "share",
        "lower",
        "difference",
        "again_job_s over busy_job_s, minus 1",
        time_like=True,
        resolution=0.002,
        workloads=_OURS,
    ),
)
