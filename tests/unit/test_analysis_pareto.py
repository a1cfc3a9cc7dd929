"""Pareto fronts: who is beaten in both metrics, who is not told apart, and how it is said."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import measured, run

from bench.analysis.analyse import analyse
from bench.analysis.pareto import fronts, sentences

PAIR = ["residual_bytes", "qemu_cpu_s"]
MIB = 2.0**20
MARGINS = {"residual_bytes": {"margin": 0.05}, "qemu_cpu_s": {"margin": 0.1}}


def boots(**points: tuple[float, float]) -> list[dict[str, Any]]:
    """Three blocks of each arm at (residual MiB, CPU seconds), a percent apart."""
    return [
        measured(arm, block, {"residual_bytes": [x * MIB * (1 + block / 100)], "qemu_cpu_s": [y * (1 + block / 100)]})
        for arm, (x, y) in points.items()
        for block in (1, 2, 3)
    ]


def front(lines: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    arms = list(dict.fromkeys(line["arm"] for line in lines))
    (found,) = fronts(run(arms=arms, pareto=[PAIR], metrics=MARGINS, **more), lines)
    return found


def beaten(found: dict[str, Any]) -> dict[str, list[str]]:
    return {point["arm"]: point["dominated_by"] for point in found["points"] if point["dominated_by"]}


def test_an_arm_that_is_worse_in_both_is_named_with_what_beats_it() -> None:
    found = front(boots(none=(400, 0.5), reporting=(150, 1.0), wasteful=(200, 2.0)))
    assert found["front"] == ["none", "reporting"]
    assert beaten(found) == {"wasteful": ["reporting"]}
    assert sentences(found) == [
        "cycle on local, residual_bytes against qemu_cpu_s: on the front: none, reporting",
        "wasteful is dominated by reporting",
    ]


def test_the_same_in_one_and_better_in_the_other_dominates() -> None:
    assert beaten(front(boots(cheap=(150, 1.0), dear=(150, 2.0)))) == {"dear": ["cheap"]}


@pytest.mark.parametrize("y", [1.0, 1.05])
def test_what_lies_within_the_margins_is_not_told_apart(y: float) -> None:
    assert beaten(front(boots(one=(150, 1.0), other=(155, y)))) == {}


def test_blocks_that_disagree_decide_nothing() -> None:
    lines = boots(one=(150, 1.0), other=(150, 2.0))
    lines[3]["values"]["qemu_cpu_s"] = [0.2]
    assert beaten(front(lines)) == {}


def test_a_metric_that_is_better_when_higher_is_turned() -> None:
    lines = [
        measured(arm, block, {"returned_share": [share], "qemu_cpu_s": [1.0]})
        for arm, share in (("good", 0.9), ("bad", 0.5))
        for block in (1, 2)
    ]
    (found,) = fronts(run(arms=["good", "bad"], pareto=[["returned_share", "qemu_cpu_s"]], metrics={}), lines)
    assert beaten(found) == {"bad": ["good"]}


def test_arms_without_both_values_are_left_out_and_other_workloads_have_no_front() -> None:
    lines = boots(one=(150, 1.0), other=(100, 1.0))
    lines[3]["values"]["qemu_cpu_s"] = lines[4]["values"]["qemu_cpu_s"] = lines[5]["values"]["qemu_cpu_s"] = [None]
    assert [point["arm"] for point in front(lines)["points"]] == ["one"]
    assert fronts(run(pareto=[["faults_per_s", "ready_s"]]), lines) == []
    assert analyse(run(arms=["one", "other"]), lines)["pareto"] == []
