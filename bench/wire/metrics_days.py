"""Metrics of workload `days`: what several guests hold together while each has a day of work."""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

_OURS = ("days",)
TABLE = (
    Metric(
        "days_peak_bytes",
        "Resident of all guests, peak of the sum",
        "byte",
        "lower",
        "ratio",
        "highest sum of the residency of all guests' RAM, from the begin of the first guest's work until the last "
        "one's day has ended: what the host has to have",
        resolution=MIB,
        workloads=_OURS,
    ),
    Metric(
        "days_resident_bytes",
        "Resident of all guests, mean",
        "byte",
        "lower",
        "ratio",
        "area under that sum divided by its length",
        resolution=MIB,
        workloads=_OURS,
    ),
    Metric(
        "days_footprint_byte_s",
        "Footprint of all guests",
        "byte-second",
        "lower",
        "ratio",
        "area under that sum, however long the work took",
        time_like=True,
        workloads=_OURS,
    ),
    Metric(
        "days_peak_share",
        "Peak of the sum as a share of the sum of peaks",
        "share",
        "lower",
        "ratio",
        "days_peak_bytes divided by the sum of every guest's own peak: 1 if all peaks fall together, or if memory "
        "never comes back",
        resolution=0.001,
        workloads=_OURS,
    ),
    Metric(
        "days_end_bytes",
        "Resident of all guests, at the end",
        "byte",
        "lower",
        "ratio",
        "that sum when the last guest's day has ended",
        resolution=MIB,
        workloads=_OURS,
    ),
    Metric(
        "days_work_s",
        "Time of a guest's work, median of the guests",
        "second",
        "lower",
        "ratio",
        "time from the begin of a guest's first job to the end of its last, median of the guests",
        time_like=True,
        workloads=_OURS,
    ),
)
