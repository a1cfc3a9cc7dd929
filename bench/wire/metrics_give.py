"""Metrics of arms in which the host asks the guest for memory and gives it again."""

from __future__ import annotations

from bench.wire.metric import Metric

TABLE = (
    Metric(
        "given_share",
        "Share of the freed memory that the guest gave up when asked",
        "share",
        "higher",
        "difference",
        "bytes that the guest had given up when nobody waited any longer, divided by those that it had freed",
        resolution=0.002,
        workloads=(),
    ),
    Metric(
        "give_s_per_gib",
        "Asking for memory until it was given up",
        "second/GiB",
        "lower",
        "ratio",
        "time from asking until the guest had given up what it did, per GiB of that",
        time_like=True,
        workloads=(),
    ),
    Metric(
        "grow_s_per_gib",
        "Giving it to the guest again",
        "second/GiB",
        "lower",
        "ratio",
        "time from allowing the guest all its memory again until it had it, per GiB that it did without",
        time_like=True,
        workloads=(),
    ),
)
