"""Metrics of workload `arrival`: how soon a host has memory from its guests, and what those pay.

The event is the first page of the process that takes memory; the window behind it ends when that leaves.
"""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

_ARRIVAL = ("arrival",)

TABLE = (
    Metric(
        "arrival_s",
        "Until the newcomer had all of its memory",
        "second",
        "lower",
        "ratio",
        "from the event until the process that takes memory had touched all of it",
        resolution=0.01,
        time_like=True,
        workloads=_ARRIVAL,
    ),
    Metric(
        "arrival_half_s",
        "Until the newcomer had half of its memory",
        "second",
        "lower",
        "ratio",
        "from the event until the process that takes memory had touched half of it",
        resolution=0.01,
        time_like=True,
        workloads=_ARRIVAL,
    ),
    Metric(
        "arrival_had_share",
        "Share of its memory that the newcomer had when nobody waited any longer",
        "share",
        "higher",
        "difference",
        "memory that the process had at its deadline, or when it had all, divided by what it wanted",
        resolution=0.002,
        workloads=_ARRIVAL,
    ),
    Metric(
        "arrival_reaction_s",
        "Until the first memory left a guest",
        "second",
        "lower",
        "ratio",
        "from the event until the residency of all givers together had fallen by 4 MiB",
        resolution=0.05,
        time_like=True,
        workloads=_ARRIVAL,
    ),
    Metric(
        "arrival_swapped_bytes",
        "Written to the host's swap",
        "byte",
        "lower",
        "difference",
        "growth of pswpout of the host, in bytes, from the event to the end of the window",
        resolution=MIB,
        workloads=_ARRIVAL,
    ),
    Metric(
        "arrival_swapped_in_bytes",
        "Read from the host's swap",
        "byte",
        "lower",
        "difference",
        "growth of pswpin of the host, in bytes, from the event to the end of the window",
        resolution=MIB,
        workloads=_ARRIVAL,
    ),
    Metric(
        "given_bytes",
        "Memory that left the givers",
        "byte",
        "none",
        "difference",
        "residency of the RAM of all givers at the event minus that at the end of the window",
        resolution=MIB,
        workloads=_ARRIVAL,
    ),
    Metric(
        "giver_p99_s",
        "Reading a block of the hot set in a giver, 99th percentile",
        "second",
        "lower",
        "ratio",
        "99th percentile of the time from when a read of 4 KiB was due until it was done, of the giver that waited "
        "longest, from shortly before the event to the end of the window",
        time_like=True,
        workloads=_ARRIVAL,
    ),
    Metric(
        "giver_reread_bytes",
        "Hot set read from the disk again",
        "byte",
        "lower",
        "difference",
        "bytes that came from the disks of all givers meanwhile, all for the readers of their hot sets",
        resolution=MIB,
        workloads=_ARRIVAL,
    ),
    Metric(
        "giver_refaults",
        "Refaults of the page caches",
        "count",
        "lower",
        "difference",
        "growth of workingset_refault_file of all givers meanwhile; what drop_caches threw away leaves no trace there",
        resolution=1,
        workloads=_ARRIVAL,
    ),
    Metric(
        "giver_hot_disk_share",
        "Hot set that had to come from the disk when all was over",
        "share",
        "lower",
        "difference",
        "bytes that came from the disks when the hot sets were read in order after the newcomer had left, divided by "
        "their bytes; readahead can make it more than 100 %",
        resolution=0.002,
        workloads=_ARRIVAL,
    ),
)
