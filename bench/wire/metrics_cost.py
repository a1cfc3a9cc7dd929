"""Metrics of workloads that ask what it costs: page faults a second, and a page by the state it was in."""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

_FAULTS, _REFAULT = ("faults",), ("refault",)
# State of a page when it is touched -> words for it.
STATES = {
    "fresh": "never touched before in this boot",
    "kept": "freed a moment before, and not reported yet",
    "reported": "freed, reported and discarded",
    "swapped": "freed a moment before, while the host had it in swap",
}
_LATENCIES = {"p50": "median", "p99": "99th percentile", "p999": "99.9th percentile"}


def _of_state(state: str, words: str) -> tuple[Metric, ...]:
    whole = Metric(
        f"{state}_s_per_gib",
        f"Touching a page {words}",
        "second/GiB",
        "lower",
        "ratio",
        f"time of touching memory that was {words}, per GiB",
        time_like=True,
        workloads=_REFAULT,
    )
    pages = (
        Metric(
            f"{state}_{name}_s",
            f"One page {words}, {quantile}",
            "second",
            "lower",
            "ratio",
            f"{quantile} of the latency of one page that was {words}",
            time_like=True,
            workloads=_REFAULT,
        )
        for name, quantile in _LATENCIES.items()
    )
    return (whole, *pages)


TABLE = (
    Metric(
        "faults_per_s",
        "Page faults a second",
        "count/second",
        "higher",
        "ratio",
        "pages written a second by all tasks together, each mapped, written once and unmapped again",
        time_like=True,
        workloads=_FAULTS,
    ),
    Metric(
        "filled_resident_bytes",
        "Resident after filling",
        "byte",
        "lower",
        "ratio",
        "residency of the guest's RAM at the end of the fill, before the tasks start",
        resolution=MIB,
        workloads=_FAULTS,
        once=True,
    ),
    Metric(
        "working_resident_bytes",
        "Resident while the tasks run",
        "byte",
        "lower",
        "ratio",
        "mean residency of the guest's RAM while the tasks run",
        resolution=MIB,
        workloads=_FAULTS,
    ),
    *(metric for state, words in STATES.items() for metric in _of_state(state, words)),
    Metric(
        "kept_discarded_share",
        "Discarded before it was touched again",
        "share",
        "none",
        "difference",
        "bytes discarded between the first free and the touch that followed at once, as a share of the bytes freed",
        resolution=0.002,
        workloads=_REFAULT,
    ),
    Metric(
        "break_even_s",
        "Idle time from which wanting it again costs 1 %",
        "second",
        "lower",
        "ratio",
        "a hundred times what touching all of it costs more when reported than when kept: after so long an idle time "
        "the cost is 1 % of it",
        time_like=True,
        workloads=_REFAULT,
    ),
    Metric(
        "break_even_swap_share",
        "Share swapped out from which reporting is cheaper",
        "share",
        "lower",
        "difference",
        "(reported - kept) / (swapped - kept), in seconds per GiB: if the host would swap out more of the freed memory "
        "than that, reporting it is the cheaper way",
        time_like=True,
        resolution=0.002,
        workloads=_REFAULT,
    ),
    Metric(
        "verified_bytes",
        "Memory verified",
        "byte",
        "none",
        "ratio",
        "bytes whose pattern was checked in one round, those that came and went included; a wrong one makes the boot "
        "invalid",
        workloads=("integrity",),
    ),
    Metric(
        "churn_cycles",
        "Times that memory was filled, verified and freed",
        "count",
        "none",
        "difference",
        "cycles of both churns of one round",
        resolution=1,
        workloads=("integrity",),
    ),
)
