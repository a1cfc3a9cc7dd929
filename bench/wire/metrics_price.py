"""What giving memory back takes: CPU time by who used it, huge pages, failed discards, QEMU's attention."""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

TABLE = (
    Metric(
        "failed_discards",
        "Discards that failed",
        "count",
        "lower",
        "difference",
        "discards that QEMU tried and the host refused, from the start of the free to the end of the settle phase",
        resolution=1,
    ),
    Metric(
        "guest_cpu_s",
        "CPU time of the guest",
        "second",
        "lower",
        "difference",
        "time in which the guest's CPUs were busy, from the snapshot before the free to the one after the settle phase",
        time_like=True,
        resolution=0.01,
    ),
    Metric(
        "guest_kworker_cpu_s",
        "CPU time of the guest's kernel workers",
        "second",
        "lower",
        "difference",
        "CPU time of all kworker threads of the guest, the reporting worker's among it, between the same snapshots",
        time_like=True,
        resolution=0.001,
    ),
    Metric(
        "host_thp_splits",
        "Huge pages that the host split",
        "count",
        "lower",
        "difference",
        "growth of thp_split_page of the whole host from the start of the free to the end of the settle phase",
        resolution=1,
    ),
    Metric(
        "host_thp_faults",
        "Huge pages that the host gave",
        "count",
        "none",
        "difference",
        "growth of thp_fault_alloc of the whole host from the start of the touch to the end of the second touch",
        resolution=1,
    ),
    Metric(
        "qemu_main_cpu_s",
        "CPU time of QEMU's main thread",
        "second",
        "lower",
        "difference",
        "CPU time of QEMU's main thread over the window of the footprint",
        time_like=True,
        resolution=0.01,
    ),
    Metric(
        "qmp_round_trip_p50_s",
        "A question to QEMU's monitor, median",
        "second",
        "lower",
        "ratio",
        "median round trip of query-status from the start of the free to the end of the settle phase",
        time_like=True,
    ),
    Metric(
        "qmp_round_trip_max_s",
        "A question to QEMU's monitor, longest",
        "second",
        "lower",
        "ratio",
        "longest round trip of query-status from the start of the free to the end of the settle phase",
        time_like=True,
    ),
    Metric(
        "percpu_growth_bytes",
        "Freed into lists of single CPUs",
        "byte",
        "none",
        "difference",
        "growth of the guest's free memory in per-CPU page lists between the snapshots before the free and after the "
        "settle phase: it is in no block that could be reported",
        resolution=MIB,
    ),
    Metric(
        "held_unexplained_bytes",
        "Held by the host, and in blocks large enough",
        "byte",
        "none",
        "difference",
        "held_free_bytes minus below_order_growth_bytes and percpu_growth_bytes: what the host holds of the freed "
        "memory although its blocks are large enough to be reported",
        resolution=MIB,
    ),
)
