"""What a gate says of a run: each verdict, each status, each control, by the rules of its plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gate_runs import ARMS, METRICS, boots, facts, gate_of, judged, statuses

from bench.analysis.gate import EXIT_CODES, Measured, red_places, rows_of
from bench.analysis.interaction import interactions
from bench.analysis.rules import Rule
from bench.controller.plan import load_plan, resolve

Boot = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def test_what_is_as_good_or_better_passes() -> None:
    gate = judged(boots())
    assert (gate["verdict"], gate["exit_code"], gate["problems"]) == ("pass", 0, [])
    assert statuses(gate) == {"residual_bytes": "pass", "refault_s_per_gib": "pass"}
    assert [item["control"] for item in gate["controls"]] == ["effect", "same"]
    assert all(item["seen"] for item in gate["controls"])


def test_what_is_worse_is_no_regression_until_it_was_seen_again() -> None:
    gate = judged(boots(refault=1.3))
    assert (gate["verdict"], gate["exit_code"]) == ("unconfirmed", 3)
    assert statuses(gate)["refault_s_per_gib"] == "red"
    assert red_places(Measured("x", facts(), boots(refault=1.3))) == [("cycle", "reporting", "refault_s_per_gib")]


def test_what_is_worse_twice_is_a_regression_and_both_are_shown() -> None:
    gate = judged(boots(refault=1.3), again=boots(refault=1.28, seed=4))
    assert (gate["verdict"], gate["exit_code"]) == ("regression", 1)
    row = next(row for row in gate["rows"] if row["status"] == "confirmed")
    assert row["metric"] == "refault_s_per_gib"
    assert row["effect"] == pytest.approx(1.3, rel=0.02)
    assert row["again"]["effect"] == pytest.approx(1.28, rel=0.02)
    assert gate["confirmation"] == {"run": "again", "seed": 2}


def test_what_is_worse_once_and_then_not_is_undecided() -> None:
    first, again = boots(refault=1.3), boots(refault=1.0, seed=4)
    assert judged(first, again=again)["verdict"] == "pass"
    assert statuses(judged(first, again=again))["refault_s_per_gib"] == "not confirmed"
    assert judged(first, again=again, on_undecided="fail")["verdict"] == "undecided"


def test_a_confirmation_that_cannot_be_believed_confirms_nothing() -> None:
    again = boots(refault=1.3, seed=4)
    again[0] |= {"status": "invalid", "reason": "mechanism not seen: nothing was discarded"}
    gate = judged(boots(refault=1.3), again=again)
    assert gate["verdict"] == "invalid"
    assert gate["problems"] == [
        "measured again, and cannot be believed: local.cycle.b001.none: mechanism not seen: nothing was discarded"
    ]


@pytest.mark.parametrize(("policy", "strict", "verdict"), [
    ("pass", False, "pass"), ("fail", False, "undecided"), ("pass", True, "undecided"),
])  # fmt: skip
def test_undecided_fails_where_the_plan_or_the_rule_says_so(policy: str, strict: bool, verdict: str) -> None:
    rules = [{"metric": "residual_bytes"}, {"metric": "refault_s_per_gib", "strict": strict}]
    gate = judged(boots(refault=1.06, sd=0.08), facts(gate=gate_of(rules=rules, on_undecided=policy)))
    assert statuses(gate)["refault_s_per_gib"] == "undecided"
    assert (gate["verdict"], gate["exit_code"]) == (verdict, EXIT_CODES[verdict])


def test_a_rule_that_does_not_block_is_noted_and_fails_nothing() -> None:
    rules = [{"metric": "residual_bytes"}, {"metric": "refault_*", "blocking": False}]
    gate = judged(boots(refault=2.0), facts(gate=gate_of(rules=rules)))
    assert gate["verdict"] == "pass"
    assert statuses(gate)["refault_s_per_gib"] == "noted"


def test_the_first_rule_that_fits_counts_with_its_margin() -> None:
    rules = [
        {"metric": "refault_s_per_gib", "margins": {"refault_s_per_gib": 0.5}},
        {"metric": "refault_*", "margins": {"refault_s_per_gib": 0.01}},
        {"metric": "residual_bytes"},
    ]
    gate = judged(boots(refault=1.3), facts(gate=gate_of(rules=rules)))
    assert gate["verdict"] == "pass"
    assert next(row["margin"] for row in gate["rows"] if row["metric"] == "refault_s_per_gib") == 0.5


def test_a_quarantined_rule_fails_nothing_and_is_told_with_reason_and_owner() -> None:
    held = {
        "metric": "refault_*",
        "reason": "two groups since the new microcode",
        "owner": "ann",
        "until": "2027-01-31",
    }
    gate = judged(boots(refault=1.3), facts(gate=gate_of(quarantine=[held])))
    assert gate["verdict"] == "pass"
    row = next(row for row in gate["rows"] if row["metric"] == "refault_s_per_gib")
    assert (row["status"], row["quarantine"]["owner"]) == ("quarantined", "ann")


def dropped(arm: str) -> Callable[[list[Boot]], list[Boot]]:
    return lambda lines: [line for line in lines if line["arm"] != arm]


def with_status(arm: str, status: str, reason: str, blocks: int = 99) -> Callable[[list[Boot]], list[Boot]]:
    return lambda lines: [
        {**line, "status": status, "reason": reason} if line["arm"] == arm and line["block"] <= blocks else line
        for line in lines
    ]


def without(metric: str, arm: str) -> Callable[[list[Boot]], list[Boot]]:
    return lambda lines: [
        {**line, "values": {**line["values"], metric: [None]}} if line["arm"] == arm else line for line in lines
    ]


@pytest.mark.parametrize(("change", "said"), [
    (dropped("reporting"), "missing: local, cycle: 0 of at least 3 complete blocks of reporting"),
    (with_status("reporting", "failed", "QEMU exited with 1"), "missing: local, cycle: 0 of at least 3 complete"),
    (with_status("reporting", "skipped", "no such kernel"), "missing: local, cycle: arm reporting was skipped"),
    (with_status("reporting", "invalid", "mechanism not seen: reporting was not negotiated", 1),
     "cannot be believed: local.cycle.b001.reporting: mechanism not seen"),
    (without("refault_s_per_gib", "reporting"), "no verdict: refault_s_per_gib of reporting in cycle: no value in arm"),
    (dropped("reporting-again"), "missing: local, cycle: 0 of at least 3 complete blocks of reporting-again"),
    (lambda lines: lines[:0], "missing: local, cycle: no boot"),
])  # fmt: skip
def test_what_is_missing_or_cannot_be_believed_is_invalid_and_never_a_pass(
    change: Callable[[list[Boot]], list[Boot]], said: str
) -> None:
    gate = judged(change(boots()))
    assert (gate["verdict"], gate["exit_code"]) == ("invalid", 4)
    assert any(problem.startswith(said) for problem in gate["problems"]), gate["problems"]


def test_a_host_that_was_not_quiet_for_a_moment_costs_a_block_and_no_more() -> None:
    gate = judged(with_status("none", "invalid", "the host did not get quiet within 120 s: load", 2)(boots()))
    assert gate["verdict"] == "pass"


def test_a_regression_in_a_run_that_cannot_be_believed_is_invalid() -> None:
    lines = with_status("none", "invalid", "mechanism not seen: all 3 discards failed", 1)(boots(refault=1.5))
    assert judged(lines, again=boots(refault=1.5))["verdict"] == "invalid"


def test_a_gate_that_does_not_see_a_known_effect_sees_nothing() -> None:
    gate = judged(boots(residual=1.0))
    assert gate["verdict"] == "invalid"
    (problem,) = gate["problems"]
    assert problem.startswith("control on local, cycle: residual_bytes of reporting against none: ×")
    assert problem.endswith("equivalent (the 90 % interval lies inside the margin); it must be better")


def test_arms_that_are_the_same_and_differ_make_the_gate_invalid() -> None:
    lines = [
        {**line, "values": {**line["values"], "refault_s_per_gib": [1.5 + 0.001 * line["block"]]}}
        if line["arm"] == "reporting-again"
        else line
        for line in boots()
    ]
    (problem,) = judged(lines)["problems"]
    assert problem == (
        "control on local, cycle: reporting-again is reporting once more: refault_s_per_gib differs where nothing does"
    )


def test_a_run_without_its_controls_is_no_gate() -> None:
    lines, about = boots(arms=ARMS[:2]), facts(arms=list(ARMS[:2]), same_as={})
    assert any(problem.startswith("no A/A control: add an arm") for problem in judged(lines, about)["problems"])
    alone = facts(arms=["none"], same_as={}, reference="none")
    assert any(
        problem.startswith("no control of a known") for problem in judged(boots(arms=["none"]), alone)["problems"]
    )


def test_the_effect_that_a_plan_names_is_the_control() -> None:
    wanted = {"arm": "reporting", "metric": "returned_share", "cell": "cycle"}
    gate = judged(boots(residual=1.0), facts(gate=gate_of(effect=wanted, rules=[{"metric": "refault_*"}])))
    assert gate["verdict"] == "pass"
    assert gate["controls"][0]["metric"] == "returned_share"


def test_a_pattern_passes_over_what_this_workload_does_not_give_and_a_name_does_not() -> None:
    rules = [{"metric": "residual_bytes"}, {"metric": "t*_s"}]
    assert "t50_s" not in statuses(judged(boots(), facts(gate=gate_of(rules=rules))))
    rules = [{"metric": "residual_bytes"}, {"metric": "t50_s"}]
    assert judged(boots(), facts(gate=gate_of(rules=rules)))["verdict"] == "invalid"


def test_without_a_gate_in_the_plan_its_metrics_are_the_rules() -> None:
    about = facts()
    del about["gate"]
    assert sorted(statuses(judged(boots(), about))) == sorted(METRICS)


def test_a_manifest_names_what_must_be_there() -> None:
    gate = judged(boots(), facts(gate=gate_of(manifest=["cycle", "faults"])))
    assert gate["problems"] == ["missing: local, faults: no boot"]


def change_run() -> tuple[dict[str, Any], list[Boot]]:
    """The head makes what comes back dearer by 30 %, in a guest with reporting only."""
    lines = []
    for side, price in (("base", 1.0), ("head", 1.3)):
        mine = boots(refault=price, arms=ARMS if side == "base" else ARMS[:2], seed=round(10 * price))
        lines += [{**line, "arm": f"{side}-{line['arm']}", "boot": f"{line['boot']}.{side}"} for line in mine]
    arms = [f"{side}-{arm}" for arm in ARMS[:2] for side in ("base", "head")] + ["base-reporting-again"]
    written = {"arms": list(ARMS), "reference": "none", "against": {}, "same_as": {"reporting-again": "reporting"}}
    return facts(
        arms=arms,
        reference="base-none",
        against={"head-none": "base-none", "head-reporting": "base-reporting"},
        same_as={"base-reporting-again": "base-reporting"},
        change={"base": {}, "head": {"kernel_args": ["x"]}, **written},
    ), lines


def test_a_change_is_judged_head_against_base_and_the_effect_is_the_bases() -> None:
    about, lines = change_run()
    gate = judged(lines, about)
    assert (gate["question"], gate["verdict"]) == ("regression", "unconfirmed")
    found = {(row["arm"], row["metric"]): row["status"] for row in gate["rows"]}
    assert found["head-reporting", "refault_s_per_gib"] == "red"
    assert found["head-none", "refault_s_per_gib"] == "pass"
    assert (gate["controls"][0]["arm"], gate["controls"][0]["reference"]) == ("base-reporting", "base-none")


def test_the_difference_of_differences_is_what_the_change_does_to_reporting_alone() -> None:
    about, lines = change_run()
    (item,) = interactions(about, lines, ["refault_s_per_gib"])
    assert (item["arm"], item["n"]) == ("reporting", 6)
    assert item["effect"] == pytest.approx(1.3, rel=0.02)
    assert item["low"] < 1.3 < item["high"]
    assert interactions(facts(), boots(), ["refault_s_per_gib"]) == []


def test_rules_name_arms_with_and_without_their_side() -> None:
    assert Rule("*", arm="reporting").fits("cycle", "head-reporting", "x")
    assert Rule("*", arm="head-*").fits("cycle", "head-reporting", "x")
    assert not Rule("*", arm="head-*").fits("cycle", "reporting", "x")
    assert not Rule("refault_*").fits("cycle", "reporting", "residual_bytes")


def two_hosts(head: float) -> tuple[dict[str, Any], list[Boot]]:
    lines = [
        {**line, "host": host, "boot": line["boot"].replace("local", host)}
        for host, price, seed in (("lab-1", 1.3, 5), ("lab-2", head, 6))
        for line in boots(refault=price, seed=seed)
    ]
    return facts(hosts=["lab-1", "lab-2"]), lines


def test_several_hosts_have_one_row_and_disagreement_is_undecided() -> None:
    about, lines = two_hosts(1.3)
    gate = judged(lines, about)
    (row,) = [row for row in gate["rows"] if row["metric"] == "refault_s_per_gib"]
    assert (row["hosts"], row["status"]) == (["lab-1", "lab-2"], "red")
    about, lines = two_hosts(0.8)
    gate = judged(lines, about)
    assert statuses(gate)["refault_s_per_gib"] == "undecided"
    assert gate["verdict"] == "pass"


def test_a_host_without_boots_is_missing() -> None:
    about, lines = two_hosts(1.0)
    gate = judged([line for line in lines if line["host"] == "lab-1"], about)
    assert "missing: lab-2, cycle: no boot" in gate["problems"]


def test_a_floor_above_the_margin_is_said_aloud() -> None:
    floor = {"sd": 0.2, "least_margin": 0.3, "n": 6, "blocks": {}}
    known = {
        "local": {"cells": {"cycle": {"refault_s_per_gib": floor, "residual_bytes": {**floor, "least_margin": 0.01}}}}
    }
    gate = judged(boots(), floors=known)
    found = {row["metric"]: row["floor"]["carries"] for row in gate["rows"]}
    assert found == {"residual_bytes": True, "refault_s_per_gib": False}
    assert judged(boots())["rows"][0]["floor"] is None


def test_holms_family_of_the_confirmation_is_what_was_red() -> None:
    about = facts()
    keep = {("cycle", "reporting", "refault_s_per_gib")}
    (row,) = rows_of(Measured("x", about, boots(refault=1.3)), keep)
    assert row["p_holm"] == row["p"]


def test_the_plan_with_a_known_regression_has_all_that_a_gate_wants() -> None:
    file = load_plan(str(ROOT / "benchmarks/injected-regression.yaml"))
    plan = resolve(file, "tcg")
    assert plan.gate is not None
    assert plan.reference_of("head") == "reporting"
    assert plan.same_as == {"reporting-again": "reporting"}
