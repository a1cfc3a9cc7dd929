"""A whole run: which boots count, the shape of analysis.json, the warnings and the headline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from analysis_boots import CALM, measured, phase, run
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.analyse import analyse
from bench.analysis.blocks import boot_values, chosen, complete_blocks
from bench.analysis.verdict import WORDS
from bench.wire.metrics import METRICS
from bench.wire.units import MIB

CELL = ("local", "cycle")
TOP_KEYS = ["schema", "accel", "marked", "cells", "warnings", "invalid_boots", "failed_boots", "verdict"]
FIGURES = {"reference_value", "value", "effect", "low", "high", "p", "p_holm", "n", "hodges_lehmann"}
METRIC_KEYS = {"metric", "unit", "kind", "direction", "margin", "verdict", "why", "time_like", "blocking"} | FIGURES


def pair(block: int, reference: float, arm: float, name: str = "residual_bytes", **more: Any) -> list[dict[str, Any]]:
    return [
        measured("none", block, {name: [reference]}, order=block % 2, **more),
        measured("reporting", block, {name: [arm]}, order=1 - block % 2, **more),
    ]


def good_run(blocks: int = 3) -> list[dict[str, Any]]:
    wobble = [0, 3, -2, 1, -1, 2, 0, -3, 2, 1]
    return [b for i in range(blocks) for b in pair(i + 1, (700 + wobble[i]) * MIB, (140 + wobble[-1 - i] / 2) * MIB)]


def of(analysis: dict[str, Any], name: str = "residual_bytes", cell: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in analysis["cells"][cell]["metrics"] if item["metric"] == name)
    return found


def codes(analysis: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in analysis["warnings"]}


def text_of(analysis: dict[str, Any], code: str) -> str:
    return "\n".join(warning["text"] for warning in analysis["warnings"] if warning["code"] == code)


def test_the_analysis_has_the_agreed_shape_and_is_plain_json() -> None:
    analysis = analyse(run(), good_run())
    assert list(analysis) == TOP_KEYS
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis
    cell = analysis["cells"][0]
    assert {k: cell[k] for k in ("host", "cell", "reference", "arm", "blocks", "complete_blocks")} == {
        "host": "local",
        "cell": "cycle",
        "reference": "none",
        "arm": "reporting",
        "blocks": 3,
        "complete_blocks": [1, 2, 3],
    }
    assert [item["metric"] for item in cell["metrics"]] == list(METRICS)
    assert all(set(item) >= METRIC_KEYS | {"reference_blocks", "arm_blocks"} for item in cell["metrics"])


def test_memory_that_comes_back_is_better_with_its_interval_and_a_sentence() -> None:
    analysis = analyse(run(), good_run())
    metric = of(analysis)
    assert metric["verdict"] == "better"
    assert metric["effect"] == pytest.approx(0.2, abs=0.01)
    assert metric["low"] < metric["effect"] < metric["high"] < 0.25
    assert metric["reference_blocks"] == [700 * MIB, 703 * MIB, 698 * MIB]
    assert metric["reference_value"] == 700 * MIB
    verdict = analysis["verdict"]
    assert (verdict["metric"], verdict["arm"], verdict["verdict"]) == ("residual_bytes", "reporting", "better")
    assert "less with arm reporting than with none, " in verdict["text"]
    assert "95 % interval ×0." in verdict["text"]
    assert "3 blocks)." in verdict["text"]


def test_the_first_metric_of_the_plan_is_the_headline_and_its_margin_counts() -> None:
    rules = {"returned_share": {"margin": 0.5}, "residual_bytes": {"margin": 0.05}}
    boots = [b for i in range(4) for b in pair(i + 1, 0.01 * i, 0.3 + 0.01 * i, "returned_share")]
    boots[1]["values"]["returned_share"] = [0.31]
    analysis = analyse(run(4, metrics=rules), boots)
    assert analysis["verdict"]["metric"] == "returned_share"
    assert (of(analysis, "returned_share")["margin"], of(analysis, "returned_share")["verdict"]) == (0.5, "equivalent")


def test_a_boot_is_the_median_of_its_iterations() -> None:
    boots = [
        measured(arm, block, {"residual_bytes": [level, None, level + 2, level + 100]})
        for block in (1, 2, 3)
        for arm, level in (("none", 700.0 * MIB), ("reporting", 100.0 * MIB + block))
    ]
    assert of(analyse(run(), boots))["reference_blocks"] == [700 * MIB + 2] * 3


def test_the_last_good_attempt_counts_and_a_retry_is_warned_of() -> None:
    boots = good_run()
    lost = next(b for b in boots if (b["arm"], b["block"]) == ("reporting", 2))
    lost |= {"status": "failed", "reason": "guest panicked"}
    again = measured("reporting", 2, {"residual_bytes": [150 * MIB]}, attempt=2, boot="local.cycle.b002.reporting.try2")
    analysis = analyse(run(), [*boots, again])
    assert of(analysis)["arm_blocks"][1] == 150 * MIB
    assert analysis["failed_boots"] == [{"boot": "local.cycle.b002.reporting", "reason": "guest panicked"}]
    assert {"retries", "failed-boots"} <= codes(analysis)


def test_of_two_good_attempts_the_later_one_counts() -> None:
    first, second = (measured("none", 1, {}, attempt=attempt) for attempt in (1, 2))
    assert chosen([first, second])[(*CELL, "none", 1)] is second
    assert chosen([second, first])[(*CELL, "none", 1)] is second


def test_a_later_attempt_that_failed_does_not_push_out_a_good_one() -> None:
    good = measured("none", 1, {}, attempt=1)
    bad = measured("none", 1, {}, attempt=2, status="invalid")
    assert chosen([good, bad])[(*CELL, "none", 1)] is good


def test_a_block_with_a_missing_arm_is_incomplete_for_every_arm() -> None:
    boots = [measured(arm, block, {}) for block in (1, 2) for arm in ("none", "idle-balloon", "reporting")]
    boots[-1]["status"] = "invalid"
    plan = run(2, arms=("none", "idle-balloon", "reporting"))
    assert complete_blocks(plan, boots, CELL) == [1]
    found = {(item.arm, item.block): item.complete for item in boot_values(plan, boots)}
    assert found == {
        ("none", 1): True,
        ("none", 2): False,
        ("idle-balloon", 1): True,
        ("idle-balloon", 2): False,
        ("reporting", 1): True,
    }


def test_an_arm_that_is_always_invalid_leaves_no_verdict_and_is_named() -> None:
    boots = good_run()
    for boot in boots:
        if boot["arm"] == "reporting":
            boot |= {"status": "invalid", "reason": "mechanism not seen: all 9 discards failed"}
    analysis = analyse(run(), boots)
    assert {item["verdict"] for item in analysis["cells"][0]["metrics"]} == {"invalid"}
    assert len(analysis["invalid_boots"]) == 3
    assert analysis["verdict"]["verdict"] == "invalid"
    assert "no verdict on arm reporting" in analysis["verdict"]["text"]
    assert "invalid-boots" in codes(analysis)


def test_nothing_measured_is_an_analysis_too() -> None:
    analysis = analyse(run(), [])
    assert (analysis["cells"], analysis["verdict"]) == ([], None)


def test_a_metric_that_one_arm_cannot_have_says_which() -> None:
    boots = good_run()
    for boot in boots:
        boot["values"]["t50_s"] = [4.0 + boot["block"] / 100] if boot["arm"] == "reporting" else [None]
    metric = of(analyse(run(), boots), "t50_s")
    assert (metric["verdict"], metric["n"], metric["why"]) == ("invalid", 0, "no value in the reference")
    assert metric["value"] == pytest.approx(4.02)


def test_a_blocking_metric_without_a_value_is_a_warning() -> None:
    analysis = analyse(run(metrics={"residual_bytes": {"margin": 0.05}, "t50_s": {"margin": 0.1}}), good_run())
    assert "t50_s is a blocking metric" in text_of(analysis, "not-measured")


def test_the_blocking_family_is_adjusted_apart_from_all_other_metrics() -> None:
    boots = good_run(6)
    for boot in boots:
        for name in ("footprint_byte_s", "ready_s", "resident_peak_bytes"):
            boot["values"][name] = boot["values"]["residual_bytes"]
    analysis = analyse(run(6, metrics={"residual_bytes": {"margin": 0.05}}), boots)
    metric, other = of(analysis), of(analysis, "ready_s")
    assert (metric["blocking"], other["blocking"]) == (True, False)
    assert metric["p_holm"] == metric["p"]
    assert other["p_holm"] > other["p"]
    rules = {"residual_bytes": {"margin": 0.05}, "ready_s": {"margin": 0.05, "blocking": False}}
    assert of(analyse(run(6, metrics=rules), boots), "ready_s")["blocking"] is False


def test_several_cells_and_arms_are_each_compared_with_the_reference() -> None:
    boots = [
        measured(arm, block, {}, cell=cell, boot=f"{cell}.{arm}.{block}")
        for cell in ("small", "large")
        for block in (1, 2, 3)
        for arm in ("none", "idle-balloon", "reporting")
    ]
    analysis = analyse(run(arms=("none", "idle-balloon", "reporting")), boots)
    assert [(c["cell"], c["arm"]) for c in analysis["cells"]] == [
        ("small", "idle-balloon"),
        ("small", "reporting"),
        ("large", "idle-balloon"),
        ("large", "reporting"),
    ]
    assert (analysis["verdict"]["cell"], analysis["verdict"]["arm"]) == ("small", "reporting")


def test_emulation_marks_the_time_like_metrics_and_hardware_marks_none() -> None:
    emulated = analyse(run(), good_run())
    assert "refault_p99_s" in emulated["marked"]
    assert "residual_bytes" not in emulated["marked"]
    assert "t50_s" not in emulated["marked"]
    assert "emulated" in codes(emulated)
    real = analyse(run(accel="kvm"), [boot | {"accel": "kvm"} for boot in good_run()])
    assert real["marked"] == []
    assert "emulated" not in codes(real)


def test_a_boot_under_another_accelerator_is_left_out() -> None:
    boots = good_run()
    boots[0]["accel"] = "kvm"
    analysis = analyse(run(), boots)
    assert analysis["cells"][0]["complete_blocks"] == [2, 3]
    assert "other-accelerator" in codes(analysis)


def test_few_blocks_are_a_warning_and_ten_are_not() -> None:
    assert "3 complete blocks" in text_of(analyse(run(), good_run()), "few-blocks")
    assert "p = 0.25" in text_of(analyse(run(), good_run()), "few-blocks")
    assert "few-blocks" not in codes(analyse(run(10), good_run(10)))


def test_clean_data_raise_no_suspicion() -> None:
    assert codes(analyse(run(10), good_run(10))) == {"emulated"}


def test_a_drift_an_order_effect_and_two_groups_are_each_warned_of() -> None:
    def boots(level: Sequence[float], by_order: float = 0.0) -> list[dict[str, Any]]:
        jitter = [0.0, 0.5, -0.5, 0.2, -0.2, 0.4, -0.4, 0.1, -0.1, 0.3]
        found = []
        for i, base in enumerate(level):
            none, reporting = pair(i + 1, 0, 0)
            for boot, own in ((none, 700.0), (reporting, 140.0)):
                value = own * (1 + base + by_order * boot["order"] + 0.005 * jitter[(i + len(boot["arm"])) % 10])
                boot["values"]["residual_bytes"] = [value * MIB]
            found += [none, reporting]
        return found

    steady = [0.0] * 10
    assert "drift" in codes(analyse(run(10), boots([0.02 * i for i in range(10)])))
    assert "order-effect" in codes(analyse(run(10), boots(steady, by_order=0.05)))
    assert "bimodal" in codes(analyse(run(10), boots([0.0, 0.3] * 5)))
    assert not {"drift", "order-effect", "bimodal"} & codes(analyse(run(10), boots(steady)))


def test_unsettled_boots_and_the_boots_own_warnings_are_carried_up() -> None:
    boots = good_run()
    for boot in boots[1::2]:
        boot["phases"] = [phase("settle", 1, 2, result={"settled": False})]
        boot["warnings"] = [
            {"code": "failed-discards", "text": "2 discards failed"},
            {"code": "unsettled", "text": "iteration 0: …"},
        ]
    analysis = analyse(run(), boots)
    assert "arm reporting: residency had not come to rest" in text_of(analysis, "unsettled")
    assert "in 3 boots" in text_of(analysis, "unsettled")
    assert text_of(analysis, "failed-discards") == "local.cycle.b001.reporting: 2 discards failed (and 2 other boots)"


def test_a_capped_verdict_is_warned_of() -> None:
    # Tight enough to be significant, with two blocks far off the rest: mean and Hodges-Lehmann part.
    arm = [600.0, 601.0, 599.0, 600.0, 601.0, 599.0, 600.0, 560.0, 555.0]
    boots = [b for i, value in enumerate(arm) for b in pair(i + 1, 700 * MIB, value * MIB)]
    analysis = analyse(run(9, metrics={"residual_bytes": {"margin": 0.01}}), boots)
    assert of(analysis)["capped"]
    assert (of(analysis)["verdict"], of(analysis)["why"][:14]) == ("undecided", "would be bette")
    assert "robust-disagrees" in codes(analysis)


anything = st.lists(st.one_of(st.none(), st.floats(), st.floats(1, 1e9)), max_size=3)


@settings(CALM, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["none", "reporting", "stranger"]),
            st.integers(1, 4),
            st.sampled_from(["ok", "invalid", "failed"]),
            anything,
            anything,
        ),
        max_size=12,
    )
)
def test_any_set_of_boots_has_an_analysis_without_nan(
    boots: list[tuple[str, int, str, list[float], list[float]]],
) -> None:
    lines = [
        measured(arm, block, {"residual_bytes": one, "discarded_bytes": two}, status=status)
        for arm, block, status, one, two in boots
    ]
    analysis = analyse(run(), lines)
    json.dumps(analysis, allow_nan=False)
    assert all(item["verdict"] in WORDS for cell in analysis["cells"] for item in cell["metrics"])
