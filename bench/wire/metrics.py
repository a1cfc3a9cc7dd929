"""Every metric: name, unit, direction, kind, definition. docs/metrics.md is checked against this table by a test.

direction: "lower" or "higher" is better, "none" where neither is. kind says how two arms are compared (docs/method.md):
"ratio" of paired values, "difference" for what may be zero, "exact" for what must be equal.
A metric that was not measured in a boot is None there, never 0.
"""

from __future__ import annotations

from functools import cache

from bench.wire import (
    metrics_application,
    metrics_arrival,
    metrics_cache,
    metrics_cost,
    metrics_crowd,
    metrics_cycle,
    metrics_days,
    metrics_footprint,
    metrics_give,
    metrics_jitter,
    metrics_migration,
    metrics_policy,
    metrics_price,
    metrics_resize,
    metrics_storm,
)
from bench.wire.metric import Metric

__all__ = ["METRICS", "Metric", "metrics_of"]

_TABLES = (
    metrics_cycle.TABLE,
    metrics_price.TABLE,
    metrics_cost.TABLE,
    metrics_application.TABLE,
    metrics_give.TABLE,
    metrics_policy.TABLE,
    metrics_cache.TABLE,
    metrics_arrival.TABLE,
    metrics_jitter.TABLE,
    metrics_crowd.TABLE,
    metrics_migration.TABLE,
    metrics_footprint.TABLE,
    metrics_days.TABLE,
    metrics_resize.TABLE,
    metrics_storm.TABLE,
)
METRICS: dict[str, Metric] = {metric.name: metric for table in _TABLES for metric in table}


@cache
def metrics_of(workload: str) -> tuple[Metric, ...]:
    """Those that boots of this workload give, in the order of METRICS."""
    return tuple(metric for metric in METRICS.values() if not metric.workloads or workload in metric.workloads)
