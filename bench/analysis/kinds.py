"""What the analysis knows of each workload: which phases measure, where discards must be seen, how metrics are had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.analysis import (
    giving,
    values,
    values_application,
    values_arrival,
    values_cache,
    values_cost,
    values_crowd,
    values_days,
    values_footprint,
    values_jitter,
    values_migration,
    values_policy,
    values_price,
    values_resize,
    values_storm,
)
from bench.analysis.values import Boot, How


@dataclass(frozen=True)
class Kind:
    """measured: phases in which the sampler may have no gap.

    proof: where discards must be seen in an arm that reports, from the start of the first phase to the end of the
    second. how: metric -> its value in one iteration, besides those of every workload (COMMON).
    """

    measured: tuple[str, ...]
    proof: tuple[str, str]
    how: Mapping[str, How]


# A workload that frees memory only for this.
PROOF = ("proof-free", "proof-settle")
COMMON: Mapping[str, How] = {**values.COMMON, **giving.COMMON, **values_policy.COMMON}

KINDS: dict[str, Kind] = {
    "application": Kind(("busy", "free", "settle", "again"), ("free", "settle"), values_application.APPLICATION),
    "arrival": Kind(("arrive", "window"), ("free", "settle"), values_arrival.ARRIVAL),
    "cycle": Kind(
        ("touch", "hold", "verify", "free", "settle", "retouch"),
        ("free", "settle"),
        {**values.CYCLE, **values_price.PRICE, **values_jitter.PROBE},
    ),
    "cache": Kind(("read", "window", "reread-hot", "reread"), PROOF, values_cache.CACHE),
    "crowd": Kind(("touch", "free", "settle"), ("free", "settle"), values_crowd.CROWD),
    "density": Kind(("touch", "free", "settle"), ("free", "settle"), values_crowd.DENSITY),
    "footprint": Kind(
        (*values_footprint.WAITS, *values_footprint.JOBS), ("clean-1", "dropped"), values_footprint.FOOTPRINT
    ),
    "days": Kind((*values_footprint.WAITS, *values_footprint.JOBS), ("clean-1", "dropped"), values_days.DAYS),
    "faults": Kind(("fill-settle", "faults"), ("fill-free", "fill-settle"), values_cost.FAULTS),
    "refault": Kind(
        ("fresh", "kept", "free", "settle", "reported", "swapped"), ("free", "settle"), values_cost.REFAULT
    ),
    "jitter": Kind(("free", "settle", "again"), ("free", "settle"), values_jitter.JITTER),
    "migration": Kind(("free", "settle", "migrate"), ("free", "settle"), values_migration.MIGRATION),
    "storm": Kind(("storm", "beside"), PROOF, values_storm.STORM),
    "resize": Kind(("ask", "give", "settle", "grow", "again"), ("free", "settle"), values_resize.RESIZE),
    "integrity": Kind(
        ("churn-under", "churn-over", "settle", "verify"), ("churn-over", "settle"), values_cost.INTEGRITY
    ),
}
# Of boots from before there were other workloads.
DEFAULT_WORKLOAD = "cycle"


def workload_of(boot: Boot) -> str:
    """The workload of a boot line."""
    return str(boot.get("workload") or DEFAULT_WORKLOAD)


def kind_of(boot: Boot) -> Kind:
    """What is known of the workload of a boot line."""
    return KINDS[workload_of(boot)]


def how(workload: str, metric: str) -> How:
    """How a metric is had from an iteration of a workload. Raises KeyError where it is not one of its metrics."""
    return KINDS[workload].how.get(metric) or COMMON[metric]
