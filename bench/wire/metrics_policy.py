"""Metrics of loops that run beside guests, in the guest or on the host; of all guests of a boot together."""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

TABLE = (
    Metric(
        "policy_cpu_s",
        "CPU time of the loops beside the guests",
        "second",
        "lower",
        "difference",
        "CPU seconds of the loops while they ran: in the guest (drop-caches, reclaim, mglru, damon, compact) or on the "
        "host (balloon, virtio-mem, notify)",
        time_like=True,
        resolution=0.001,
        workloads=(),
    ),
    Metric(
        "policy_actions",
        "Actions of the host's loops",
        "count",
        "lower",
        "difference",
        "how often a loop of the host side asked a guest for memory, or gave it some",
        resolution=1,
        workloads=(),
    ),
    Metric(
        "policy_taken_bytes",
        "Memory that the host's loops took",
        "byte",
        "none",
        "difference",
        "bytes by which guests did without more memory behind each action, or that they say they freed, summed",
        resolution=MIB,
        workloads=(),
    ),
    Metric(
        "policy_returned_bytes",
        "Memory that the host's loops gave again",
        "byte",
        "none",
        "difference",
        "bytes by which guests did without less memory behind each action, summed",
        resolution=MIB,
        workloads=(),
    ),
    Metric(
        "policy_reaction_s",
        "From the look to the memory",
        "second",
        "lower",
        "ratio",
        "median time from the look that showed a need until the guest had given, or nobody waited any longer",
        resolution=0.01,
        time_like=True,
        workloads=(),
    ),
)
