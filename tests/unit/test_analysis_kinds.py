"""Every workload of the catalogue is known to the analysis, with a way to each of its metrics and phases that exist."""

from __future__ import annotations

import pytest

from bench.analysis.kinds import KINDS, how
from bench.wire.metrics import METRICS, metrics_of
from workloads.catalog import WORKLOADS


def test_the_analysis_knows_the_workloads_of_the_catalogue_and_no_others() -> None:
    assert set(KINDS) == set(WORKLOADS)
    assert {name for metric in METRICS.values() for name in metric.workloads} <= set(WORKLOADS)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_metric_of_a_workload_has_a_way_to_it_and_no_way_leads_to_none(workload: str) -> None:
    names = {metric.name for metric in metrics_of(workload)}
    assert all(callable(how(workload, name)) for name in names)
    assert set(KINDS[workload].how) <= names
