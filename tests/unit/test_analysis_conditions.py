"""Controls: the reason why reports can do nothing is recognised, or the boot counts for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import boot, phase, rows

from bench.analysis.conditions import recognised
from bench.analysis.series import curves, frame
from bench.analysis.validity import judge
from bench.wire.units import MIB


def control(**more: Any) -> dict[str, Any]:
    return boot(must_discard=False, expect="nothing", **{"reporting": True, **more}) | {"reporting": True}


def quiet_series(*more: Any) -> Any:
    return frame([*((t / 20, "ram", "resident_bytes", 500.0 * MIB) for t in range(1000)), *more])


FAILED = (30.0, "discard", "failed_bytes", 4.0 * MIB)
SNAPSHOT = [
    phase("setup", 1, 2, result={"page_reporting_order": 9}),
    phase("snapshot", 30, 31, result={"free_bytes": MIB}),
]


@pytest.mark.parametrize(
    ("line", "series", "text"),
    [
        (control(guest={"page_poison": True, "balloon_features": "010011"}), quiet_series(), "page_poison=1"),
        (control(mem_lock=True), quiet_series(FAILED), "mem-lock=on"),
        (control(backing="hugetlb", guest={"page_reporting_order": 5}), quiet_series(), "huge pages of 2 MiB"),
        (control(phases=SNAPSHOT), quiet_series(), "in full use: 1 MiB free"),
    ],
    ids=["poison", "mem-lock", "hugetlb", "full"],
)
def test_each_condition_is_recognised_and_makes_the_control_count(line: dict[str, Any], series: Any, text: str) -> None:
    (found,) = recognised(line, curves(series))
    assert text in found
    assert judge(line, series)[0] == "ok"


def test_a_control_that_nobody_understands_is_invalid() -> None:
    status, reason, _ = judge(control(), quiet_series())
    assert (status, reason.split(":")[0]) == ("invalid", "control not understood")


def test_a_control_in_which_memory_came_back_is_invalid() -> None:
    status, reason, _ = judge(control(mem_lock=True), frame([*rows().itertuples(index=False, name=None), FAILED]))
    assert (status, reason) == ("invalid", "memory was discarded in an arm that must not discard")


def test_locked_memory_without_a_failed_discard_is_no_condition() -> None:
    assert recognised(control(mem_lock=True), curves(quiet_series())) == []
