"""Metrics of a probe that counts its work on a CPU of its own, beside what frees memory."""

from __future__ import annotations

from bench.wire.metric import Metric

_PROBED, _AGAIN = ("cycle", "jitter", "resize"), ("jitter", "resize")
_QUANTILES = {"p1": "1st percentile", "p50": "median", "p99": "99th percentile"}
TABLE = (
    Metric(
        "probe_work_share",
        "Work that another program got done after the free",
        "share",
        "higher",
        "difference",
        "mean work of the probe in a quantum in the plan's fixed window after the free, divided by that before it",
        time_like=True,
        resolution=0.002,
        workloads=_PROBED,
    ),
    *(
        Metric(
            f"probe_{name}_share",
            f"Work of another program in a quantum, {words}",
            "share",
            "higher",
            "difference",
            f"{words} of the probe's work in a quantum in that window, divided by the median before the free",
            time_like=True,
            resolution=0.002,
            workloads=_PROBED,
        )
        for name, words in _QUANTILES.items()
    ),
    Metric(
        "probe_quiet_p1_share",
        "The same before the free, 1st percentile",
        "share",
        "none",
        "difference",
        "1st percentile of the probe's work in a quantum before the free, divided by the median there: what disturbs "
        "it anyway",
        time_like=True,
        resolution=0.002,
        workloads=_PROBED,
    ),
    Metric(
        "probe_longest_s",
        "Longest time that another program did not get on",
        "second",
        "lower",
        "ratio",
        "longest time that one unit of the probe's work took in the window after the free",
        time_like=True,
        workloads=_PROBED,
    ),
    Metric(
        "probe_again_share",
        "Work that another program got done while memory was wanted again",
        "share",
        "higher",
        "difference",
        "mean work of the probe in a quantum while the guest gets its memory again and touches it, divided by that "
        "before the free",
        time_like=True,
        resolution=0.002,
        workloads=_AGAIN,
    ),
)
