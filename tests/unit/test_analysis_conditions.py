"""Controls: the reason why reports can do nothing is recognised, or the boot counts for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import boot, phase, rows

from bench.analysis.conditions import recognised
from bench.analysis.controls import controls, sentence
from bench.analysis.series import curves, frame
from bench.analysis.validity import judge
from bench.wire.units import MIB


def control(**more: Any) -> dict[str, Any]:
    return boot(must_discard=False, expect="nothing", **{"reporting": True, **more}) | {"reporting": True}


def quiet_series(*more: Any) -> Any:
    return frame([*((t / 20, "ram", "resident_bytes", 500.0 * MIB) for t in range(1000)), *more])


FAILED = (30.0, "discard", "failed_bytes", 4.0 * MIB)
ZONES = [
    {"name": "DMA", "free_bytes": MIB, "low_bytes": 0},
    {"name": "DMA32", "free_bytes": 65 * MIB, "low_bytes": 2 * MIB},
]
SNAPSHOT = [
    phase("setup", 1, 2, result={"page_reporting_order": 9}),
    phase("free", 10, 11),
    phase("settle", 11, 30),
    phase("snapshot", 30, 31, result={"zones": ZONES}),
]


@pytest.mark.parametrize(
    ("line", "series", "text"),
    [
        (control(guest={"page_poison": True, "balloon_features": "010011"}), quiet_series(), "page_poison=1"),
        (control(mem_lock=True), quiet_series(FAILED), "mem-lock=on"),
        (control(backing="hugetlb", guest={"page_reporting_order": 5}), quiet_series(), "huge pages of 2 MiB"),
        (
            control(phases=SNAPSHOT),
            quiet_series(),
            "in full use: DMA has 1 MiB free, a pass needs 64 MiB, DMA32 has 65 MiB",
        ),
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


def test_what_a_control_reported_before_its_own_free_does_not_count() -> None:
    line = control(mem_lock=True)
    assert judge(line, quiet_series(FAILED, (3.0, "discard", "bytes", 4.0 * MIB)))[0] == "ok"
    assert judge(line, quiet_series(FAILED, (16.0, "discard", "bytes", 4.0 * MIB)))[0] == "ok"
    assert judge(line, quiet_series(FAILED, (16.0, "discard", "bytes", 9.0 * MIB)))[0] == "invalid"


def test_a_guest_with_room_for_a_pass_in_one_zone_is_not_full() -> None:
    zones = [*ZONES, {"name": "Movable", "free_bytes": 67 * MIB, "low_bytes": 2 * MIB}]
    line = control(phases=[SNAPSHOT[0], phase("snapshot", 30, 31, result={"zones": zones})])
    assert recognised(line, curves(quiet_series())) == []


def test_the_controls_of_a_run_are_counted_and_named() -> None:
    good = control(mem_lock=True, arm="locked", status="ok", condition=["QEMU has locked its memory: 3 failed"])
    bad = control(arm="poison", status="invalid")
    found = controls([good, good, bad, control(arm="poison", status="skipped"), boot()])
    assert [(item["arm"], item["boots"], item["recognised"]) for item in found] == [("locked", 2, 2), ("poison", 1, 0)]
    assert found[0]["why"] == ["QEMU has locked its memory"]
    assert sentence(found) == "1 of 2 controls recognised; not: poison in cycle on local"
    assert sentence(found[:1]) == "1 of 1 controls recognised"
    assert sentence([]) == ""


def test_a_control_in_which_memory_came_back_is_invalid() -> None:
    status, reason, _ = judge(control(mem_lock=True), frame([*rows().itertuples(index=False, name=None), FAILED]))
    assert (status, reason) == ("invalid", "memory was discarded in a control, in which reports must do nothing")


def test_memory_that_came_back_although_every_discard_failed_voids_a_control() -> None:
    fallen = [(t / 20, "ram", "resident_bytes", (500.0 if t < 15.5 * 20 else 480.0) * MIB) for t in range(1000)]
    status, reason, evidence = judge(control(mem_lock=True), frame([*fallen, FAILED]))
    assert (status, reason) == ("invalid", "memory came back in a control, in which reports must do nothing")
    assert evidence[0] == "20 MiB of residency went from the free to the end of the settle phase"


def test_locked_memory_without_a_failed_discard_is_no_condition() -> None:
    assert recognised(control(mem_lock=True), curves(quiet_series())) == []
