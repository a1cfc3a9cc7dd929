"""What a loop beside guests did, from its log; and what is said where it did nothing."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import boot, rows

from bench.analysis.summary import summarise
from bench.analysis.values_policy import policy_doubts, policy_problems
from bench.wire.units import MIB


def action(size: int, took_s: float = 1.0, reached: bool = True) -> dict[str, Any]:
    return {"t_s": 1.0, "done_s": 1.0 + took_s, "bytes": size, "wanted_bytes": size, "reached": reached}


def looped(actions: list[dict[str, Any]], looks: int = 9) -> dict[str, Any]:
    answer = {"kind": "balloon", "looks": looks, "actions": actions, "count": len(actions), "cpu_ns": 20_000_000}
    line = boot()
    end = {"name": "policy-end", "kind": "host", "iteration": 0, "warmup": False, "start_s": 90.0, "end_s": 90.1}
    return {**line, "policy": "balloon", "phases": [*line["phases"], {**end, "result": answer}]}


def test_what_was_taken_and_given_is_summed_apart_and_reactions_are_of_what_was_taken() -> None:
    line = looped([action(64 * MIB, 0.5), action(32 * MIB, 1.5), action(-16 * MIB, 9.0)])
    values = summarise(line, rows()).values
    assert values["policy_actions"] == [3]
    assert values["policy_taken_bytes"] == [96 * MIB]
    assert values["policy_returned_bytes"] == [16 * MIB]
    assert values["policy_reaction_s"] == [pytest.approx(1.0)]
    assert values["policy_cpu_s"] == [pytest.approx(0.02)]
    # Its pages are not traced one by one.
    assert values["discarded_bytes"] == [None]


def test_an_arm_without_a_loop_has_no_values_of_one() -> None:
    values = summarise(boot(), rows()).values
    assert [values[name] for name in ("policy_actions", "policy_taken_bytes", "policy_cpu_s")] == [[None]] * 3


def test_a_loop_that_never_acted_is_doubtful_and_one_that_never_looked_is_invalid() -> None:
    assert [doubt.code for doubt in policy_doubts(looped([]))] == ["policy-idle"]
    assert policy_problems(looped([])) == []
    assert "never looked" in policy_problems(looped([], looks=0))[0]
    assert [doubt.code for doubt in policy_doubts(looped([action(MIB, reached=False)]))] == ["policy-short"]
