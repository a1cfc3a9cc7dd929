"""The metrics of real programs: a client's own table is read strictly, everything else from phases and curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_boots import boot, phase

from bench.analysis.series import frame
from bench.analysis.summary import summarise
from bench.wire.metrics import metrics_of
from bench.wire.units import MIB

COLUMNS = ("rps", *(f"{name}_latency_ms" for name in ("avg", "min", "p50", "p95", "p99", "max")))
HEAD = ",".join(f'"{name}"' for name in ("test", *COLUMNS))
TABLE = f"""{HEAD}
"SET","5000.00","1.0","0.2","0.9","1.9","2.5","9.0"
"GET","8000.00","1.0","0.2","0.9","1.9","2.0","9.0"
"""


def line(busy: str = TABLE, again: str = TABLE) -> dict[str, Any]:
    steps: list[tuple[str, float, float, dict[str, Any]]] = [
        ("busy", 10, 14, {"ns": 4 * 10**9, "output": busy}),
        ("free", 14, 15, {}),
        ("settle", 15, 25, {"settled": True}),
        ("again", 25, 30, {"ns": 5 * 10**9, "output": again}),
        ("after", 30, 40, {"settled": True}),
    ]
    phases = [phase(name, start, end, result=result) for name, start, end, result in steps]
    return boot(phases=phases, workload="application")


def series() -> pd.DataFrame:
    def resident(t: float) -> float:
        return (300 if t < 16 else 120 if t < 25 else 310 if t < 31 else 100) * MIB

    ticks = np.arange(0, 50, 0.05)
    rows: list[Any] = [(float(t), "ram", "resident_bytes", resident(float(t))) for t in ticks]
    return frame([*rows, (16.0, "discard", "bytes", 180.0 * MIB)])


def test_a_programs_work_is_that_of_its_slowest_kind_of_request() -> None:
    summary = summarise(line(), series())
    found = {name: values[0] for name, values in summary.values.items()}
    assert set(found) == {metric.name for metric in metrics_of("application")}
    assert (found["busy_ops_per_s"], found["busy_p99_s"]) == (5000.0, 0.0025)
    assert (found["busy_job_s"], found["again_job_s"]) == (4.0, 5.0)
    assert found["slowdown_share"] == pytest.approx(0.25)
    assert found["busy_resident_bytes"] == pytest.approx(300 * MIB)
    assert (found["idle_resident_bytes"], found["after_resident_bytes"]) == (120 * MIB, 100 * MIB)
    assert found["idle_returned_bytes"] == 180 * MIB
    assert summary.doubts == ()


def test_a_job_without_a_client_has_no_requests_and_that_is_no_doubt() -> None:
    summary = summarise(line("", ""), series())
    assert summary.values["busy_ops_per_s"] == summary.values["again_p99_s"] == [None]
    assert summary.values["busy_job_s"] == [4.0]
    assert summary.doubts == ()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ('"SET","5000.00"\n"GET","8000.00"\n', "printed no table with rps and p99_latency_ms"),
        (TABLE.replace("5000.00", "many"), "printed no number as rps"),
        (f'{HEAD}\n"SET","5000.00"\n', "printed no table with rps"),
    ],
)
def test_a_table_of_another_form_is_no_figure(output: str, reason: str) -> None:
    summary = summarise(line(busy=output), series())
    assert summary.values["busy_ops_per_s"] == [None]
    assert any(reason in doubt.text for doubt in summary.doubts)
