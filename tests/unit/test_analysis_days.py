"""Several guests with a day each: what they hold is added up moment by moment, not by their own peaks."""

from __future__ import annotations

from typing import Any

import pytest

from bench.analysis.series import curves, frame
from bench.analysis.values import Iteration, Missing
from bench.analysis.values_days import DAYS
from bench.wire.units import MIB


def phase(name: str, start: float, end: float) -> dict[str, Any]:
    return {"name": name, "iteration": 0, "start_s": start, "end_s": end, "result": {}}


def guest(begin: float, worked: float, end: float) -> dict[str, Any]:
    phases = [phase("day-begin", begin, begin), phase("work-end", worked, worked), phase("dropped", end - 1, end)]
    return {"phases": phases, "argv": ["qemu"]}


# Guest 0 works from 0 to 2 s and then gives back; guest 1 works from 2 s to 8 s.
GUESTS = [guest(0.0, 2.0, 6.0), guest(2.0, 8.0, 10.0)]
Steps = dict[str, list[tuple[float, float]]]
STEPS: Steps = {
    "ram": [(0, 100), (2, 500), (2.5, 100), (10, 100)],
    "ram.1": [(0, 100), (2.5, 100), (6, 600), (10, 200)],
}


def value(name: str, steps: Steps = STEPS) -> float:
    rows = [(float(t), source, "resident_bytes", mib * MIB) for source, row in steps.items() for t, mib in row]
    return DAYS[name](Iteration({"guests": GUESTS, "workload": "days"}, {}, curves(frame(rows))))


def test_the_peak_is_that_of_the_sum() -> None:
    assert value("days_peak_bytes") == 700 * MIB
    assert value("days_peak_share") == pytest.approx(700 / 1100)


def test_the_area_is_that_of_all_guests_over_the_same_time() -> None:
    # Trapezoids: 600 + 150 + 750 of guest 0, 250 + 1225 + 1600 of guest 1, MiB x s.
    assert value("days_footprint_byte_s") == pytest.approx(4575 * MIB)
    assert value("days_resident_bytes") == pytest.approx(457.5 * MIB)
    assert value("days_end_bytes") == 300 * MIB


def test_the_time_of_the_work_is_the_median_of_the_guests() -> None:
    assert value("days_work_s") == pytest.approx(4.0)


@pytest.mark.parametrize("name", [name for name in DAYS if name != "days_work_s"])
def test_a_guest_that_was_not_sampled_all_the_time_gives_no_value(name: str) -> None:
    with pytest.raises(Missing):
        value(name, {**STEPS, "ram.1": STEPS["ram.1"][1:]})
