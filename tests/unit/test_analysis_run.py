"""A whole run: which boots count, the shape of analysis.json, the warnings and the headline."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from analysis_boots import CALM, measured, phase, run
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.analyse import analyse
from bench.analysis.blocks import boot_values, chosen, complete_blocks
from bench.analysis.tables import verdict_table
from bench.analysis.verdict import WORDS
from bench.wire.metrics import metrics_of
from bench.wire.units import MIB

CELL = ("local", "cycle")
TOP_KEYS = [
    *("schema", "accel", "marked", "cells", "combined", "warnings"),
    *("invalid_boots", "failed_boots", "skipped", "controls", "pareto", "out_of_memory", "verdict"),
]
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
    assert [item["metric"] for item in cell["metrics"]] == [metric.name for metric in metrics_of("cycle")]
    assert all(set(item) >= METRIC_KEYS | {"reference_blocks", "arm_blocks"} for item in cell["metrics"])


def test_the_last_digit_of_a_double_is_no_part_of_an_analysis() -> None:
    boots = good_run()
    nudged = [
        {**boot, "values": {k: [v and math.nextafter(v, 0) for v in vs] for k, vs in boot["values"].items()}}
        for boot in boots
    ]
    assert nudged != boots
    assert analyse(run(), nudged) == analyse(run(), boots)


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


def test_a_kernel_or_qemu_that_was_replaced_during_the_run_is_warned_of_with_its_arm() -> None:
    boots = good_run()
    for boot in boots:
        boot["files"] = {"qemu_sha256": "q", "kernel_sha256": boot["arm"]}
    assert "files-changed" not in codes(analyse(run(), boots))
    next(boot for boot in boots if boot["arm"] == "reporting")["files"]["kernel_sha256"] = "another"
    (warning,) = [doubt for doubt in analyse(run(), boots)["warnings"] if doubt["code"] == "files-changed"]
    assert "local: the boots of arm reporting ran 2 different guest kernels" in warning["text"]


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


def test_an_arm_whose_boot_is_missing_takes_its_block_from_no_other_pair() -> None:
    boots = [measured(arm, block, {}) for block in (1, 2) for arm in ("none", "idle-balloon", "reporting")]
    boots[-1]["status"] = "invalid"
    found = analyse(run(2, arms=("none", "idle-balloon", "reporting")), boots)["cells"]
    assert {cell["arm"]: cell["complete_blocks"] for cell in found} == {"idle-balloon": [1, 2], "reporting": [1]}


def test_what_a_host_cannot_do_is_listed_and_compared_with_nothing() -> None:
    plan = run(2, arms=("none", "reporting", "reporting-damon"))
    lacking = {"status": "skipped", "reason": "this kernel has no DAMON_RECLAIM"}
    boots = good_run(2) + [measured("reporting-damon", block, {}, **lacking) for block in (1, 2)]
    analysis = analyse(plan, boots)
    assert [cell["arm"] for cell in analysis["cells"]] == ["reporting"]
    assert analysis["skipped"] == [
        {"host": "local", "cell": "cycle", "arm": "reporting-damon", "reason": lacking["reason"], "boots": 2}
    ]
    assert complete_blocks(plan, boots, CELL) == [1, 2]
    assert all(item.complete for item in boot_values(plan, boots))


def test_an_arm_may_be_compared_with_another_one_than_the_runs_reference() -> None:
    plan = run(2, arms=("none", "reporting", "none-file", "reporting-file")) | {
        "against": {"reporting-file": "none-file"}
    }
    boots = [
        measured(arm, block, {"residual_bytes": [(200 + index) * MIB]})
        for block in (1, 2)
        for index, arm in enumerate(plan["arms"])
    ]
    found = analyse(plan, boots)["cells"]
    assert [(cell["arm"], cell["reference"]) for cell in found] == [
        ("reporting", "none"),
        ("reporting-file", "none-file"),
    ]
    assert of(analyse(plan, boots), cell=1)["reference_value"] == 202 * MIB


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


LABS = ("lab-1", "lab-2", "lab-3")


def on(host: str, boots: Sequence[dict[str, Any]], times: float = 1.0) -> list[dict[str, Any]]:
    """The boots on another host, where every arm's residency is some times as high."""
    found = []
    for boot in boots:
        values = boot["values"] | {"residual_bytes": [times * v for v in boot["values"]["residual_bytes"]]}
        found.append(boot | {"host": host, "boot": boot["boot"].replace("local", host, 1), "values": values})
    return found


def of_all(analysis: dict[str, Any], name: str = "residual_bytes") -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in analysis["combined"][0]["metrics"] if item["metric"] == name)
    return found


def test_one_host_has_nothing_to_be_combined_with() -> None:
    assert analyse(run(hosts=["local"]), good_run())["combined"] == []
    assert analyse(run(host="local"), good_run())["combined"] == []


def test_several_hosts_are_combined_beside_each_of_them() -> None:
    boots = [boot for i, host in enumerate(LABS) for boot in on(host, good_run(4), 1 + i)]
    analysis = analyse(run(4, hosts=list(LABS)), boots)
    assert [cell["host"] for cell in analysis["cells"]] == list(LABS)
    (pair,) = analysis["combined"]
    assert {k: pair[k] for k in ("cell", "reference", "arm", "hosts", "hosts_asked", "left_out")} == {
        "cell": "cycle",
        "reference": "none",
        "arm": "reporting",
        "hosts": list(LABS),
        "hosts_asked": list(LABS),
        "left_out": {},
    }
    metric = of_all(analysis)
    assert (metric["verdict"], metric["n"], metric["hosts"]) == ("better", 12, 3)
    assert metric["per_host"] == {
        cell["host"]: of(analysis, cell=i)["effect"] for i, cell in enumerate(analysis["cells"])
    }
    assert metric["low"] < metric["effect"] < metric["high"]
    assert metric["heterogeneity_p"] > 0.9
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis


def test_the_headline_of_several_hosts_is_the_combined_sentence() -> None:
    boots = [boot for host in LABS for boot in on(host, good_run())]
    verdict = analyse(run(hosts=list(LABS)), boots)["verdict"]
    assert verdict["hosts"] == list(LABS)
    assert "less with arm reporting than with none on 3 hosts (95 % interval ×0." in verdict["text"]
    assert verdict["text"].endswith(", 9 blocks).")


def test_the_combined_comparisons_are_families_of_their_own() -> None:
    boots = [boot for host in LABS for boot in on(host, good_run(6))]
    for boot in boots:
        for name in ("ready_s", "footprint_byte_s"):
            boot["values"][name] = boot["values"]["residual_bytes"]
    analysis = analyse(run(6, hosts=list(LABS)), boots)
    assert of_all(analysis)["p_holm"] == of_all(analysis)["p"], "one blocking metric, combined once"
    assert of(analysis)["p_holm"] > of(analysis)["p"], "the same metric on three hosts"
    assert of_all(analysis, "ready_s")["p_holm"] > of_all(analysis, "ready_s")["p"]


def test_hosts_that_were_asked_and_left_nothing_are_named() -> None:
    boots = [boot for host in LABS[:2] for boot in on(host, good_run())] + on("lab-3", good_run(1))
    analysis = analyse(run(hosts=[*LABS, "lab-4"]), boots)
    (pair,) = analysis["combined"]
    assert pair["hosts"] == ["lab-1", "lab-2"]
    assert pair["hosts_asked"] == [*LABS, "lab-4"]
    assert pair["left_out"] == {"lab-4": "no complete block", "lab-3": "1 of at least 3 complete blocks"}
    assert "lab-4: no complete block of cycle" in text_of(analysis, "host-missing")
    assert "without lab-4: no complete block" in verdict_table(analysis)


def test_the_only_host_that_is_left_gives_the_headline_and_is_named() -> None:
    lost = [boot | {"status": "failed", "reason": "gone"} for boot in on("lab-1", good_run(1))]
    analysis = analyse(run(hosts=["lab-1", "lab-2"]), lost + on("lab-2", good_run()))
    assert analysis["combined"] == []
    assert (analysis["verdict"]["host"], analysis["verdict"]["verdict"]) == ("lab-2", "better")
    assert "host lab-2 only" in analysis["verdict"]["text"]
    assert "lab-1: no complete block" in text_of(analysis, "host-missing")


def test_hosts_that_differ_have_no_combined_verdict_and_are_warned_of() -> None:
    boots = on("lab-1", good_run(5)) + on("lab-2", good_run(5))
    for boot in boots:
        if (boot["host"], boot["arm"]) == ("lab-2", "reporting"):
            boot["values"]["residual_bytes"] = [3 * boot["values"]["residual_bytes"][0]]
    analysis = analyse(run(5, hosts=["lab-1", "lab-2"]), boots)
    metric = of_all(analysis)
    assert (metric["verdict"], metric["effect"], metric["low"], metric["p"]) == ("undecided", None, None, None)
    assert metric["differ"] == ["lab-1", "lab-2"]
    assert "the hosts differ: ×0.2 on lab-1 and ×0.6" in metric["why"]
    assert "no verdict on arm reporting against none: the hosts differ" in analysis["verdict"]["text"]
    assert analysis["verdict"]["verdict"] == "undecided"
    assert "residual_bytes has no combined verdict" in text_of(analysis, "hosts-differ")
    assert "hosts differ" in verdict_table(analysis)


def test_the_combined_table_comes_before_that_of_each_host() -> None:
    table = verdict_table(analyse(run(hosts=list(LABS)), [boot for host in LABS for boot in on(host, good_run())]))
    places = [table.index(f"{start}, cycle: reporting") for start in ("3 hosts combined", *LABS)]
    assert places == sorted(places)
    assert max(map(len, table.splitlines())) <= 120
    assert "returned_share" not in table, "a metric that no host has is left out"


anything = st.lists(st.one_of(st.none(), st.floats(), st.floats(1, 1e9)), max_size=3)


@settings(CALM, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["none", "reporting", "stranger"]),
            st.sampled_from(LABS[:2]),
            st.integers(1, 4),
            st.sampled_from(["ok", "invalid", "failed"]),
            anything,
            anything,
        ),
        max_size=24,
    )
)
def test_any_set_of_boots_has_an_analysis_without_nan(
    boots: list[tuple[str, str, int, str, list[float], list[float]]],
) -> None:
    lines = [
        measured(arm, block, {"residual_bytes": one, "discarded_bytes": two}, status=status, host=host)
        for arm, host, block, status, one, two in boots
    ]
    analysis = analyse(run(min_blocks=2, hosts=list(LABS)), lines)
    verdict_table(analysis)
    json.dumps(analysis, allow_nan=False)
    assert all(item["verdict"] in WORDS for cell in analysis["cells"] for item in cell["metrics"])


def test_guests_whose_kernels_chose_other_pages_are_told_apart() -> None:
    boots = good_run()
    for boot in boots:
        boot["guest"] = {**boot["guest"], "thp_enabled": "always"}
    assert "thp-differs" not in codes(analyse(run(), boots))
    boots[-1]["guest"]["thp_enabled"] = "never"
    (warning,) = [item for item in analyse(run(), boots)["warnings"] if item["code"] == "thp-differs"]
    assert warning["text"].endswith("differ: always in none, reporting; never in reporting")
