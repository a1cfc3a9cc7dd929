"""The verdict table: what it says, and that it fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from analysis_boots import CALM, measured, run
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.analyse import analyse
from bench.analysis.shown import amount
from bench.analysis.tables import WIDTH, text_table, verdict_rows, verdict_table
from bench.wire.metrics import METRICS, metrics_of
from bench.wire.units import MIB


def analysis(accel: str = "tcg", reference: str = "none") -> dict[str, Any]:
    boots = []
    for block in (1, 2, 3):
        for arm, held, share in ((reference, 700, 0.0), ("reporting", 140, 0.9)):
            values: dict[str, Sequence[float | None]] = {
                "residual_bytes": [(held + block % 2) * MIB],
                "returned_share": [share + block % 2 / 1000],
                "t50_s": [4.0 + block / 100 if share else None],
                "refault_p99_s": [(20 + block) * 1e-6],
            }
            boots.append(measured(arm, block, values, accel=accel))
    return analyse(run(accel=accel, arms=(reference, "reporting")), boots)


def line_of(table: str, name: str) -> str:
    return next(line for line in table.splitlines() if name in line.split()[1:2])


def test_a_row_shows_both_values_the_effect_its_interval_and_the_verdict() -> None:
    row = line_of(verdict_table(analysis()), "residual_bytes")
    assert row.startswith("better ")
    assert "×0.2" in row
    assert row.split()[-4:] == ["701", "MiB", "141", "MiB"]


def test_a_row_says_on_how_many_blocks_it_rests_how_noisy_they_are_and_what_could_have_been_seen() -> None:
    head, row = (line_of(verdict_table(analysis()), name) for name in ("metric", "residual_bytes"))
    assert [word for word in head.split() if word in ("n", "noise", "sees")] == ["n", "noise", "sees"]
    assert re.search(r" 3 +0\.\d+ % +×1\.0\d+ ", row), row


def test_a_difference_is_shown_with_its_sign_and_unit() -> None:
    row = line_of(verdict_table(analysis()), "returned_share")
    assert "+90 %" in row or "+90.0 %" in row


def test_the_headline_comes_first_and_the_warnings_last() -> None:
    lines = verdict_table(analysis()).splitlines()
    assert lines[0].startswith("better: Still resident after the free: 79.")
    assert any(line.startswith("! few-blocks: ") for line in lines[-10:])


def test_times_of_an_emulated_cpu_carry_a_mark_and_hardware_times_do_not() -> None:
    assert " refault_p99_s† " in verdict_table(analysis())
    assert "† time of an emulated CPU (tcg)" in verdict_table(analysis())
    assert "†" not in verdict_table(analysis("kvm"))


def test_what_only_one_arm_has_is_shown_without_a_verdict() -> None:
    row = line_of(verdict_table(analysis()), "t50_s")
    assert "4.02 s" in row
    assert row.startswith("–")
    assert "invalid" not in row


def test_metrics_that_no_arm_has_are_left_out_of_the_text_but_not_of_the_rows() -> None:
    assert "stuck_free_bytes" not in verdict_table(analysis())
    assert verdict_rows(analysis())["metric"].tolist() == [metric.name for metric in metrics_of("cycle")]


def test_a_run_without_a_complete_block_says_so() -> None:
    found = analyse(run(), [measured("none", 1, {}, status="failed", reason="no READY in 60 s")])
    table = verdict_table(found)
    assert "0 of 3 blocks complete" in table
    assert "! local.cycle.b001.none: no READY in 60 s" in table


def test_an_empty_run_has_an_empty_table() -> None:
    assert verdict_table(analyse(run(), [])).strip().startswith("! emulated")


@pytest.mark.parametrize("reference", ["none", "an-arm-with-a-name-far-too-long-for-a-column"])
def test_no_line_is_wider_than_the_terminal(reference: str) -> None:
    assert max(len(line) for line in verdict_table(analysis(reference=reference)).splitlines()) <= WIDTH


@settings(CALM, max_examples=25)
@given(st.lists(st.floats(1e-12, 1e18), min_size=6, max_size=6))
def test_no_value_makes_a_line_too_wide(values: list[float]) -> None:
    boots = [
        measured(arm, block, {name: [values[i]] for name in METRICS})
        for i, (arm, block) in enumerate((a, b) for b in (1, 2, 3) for a in ("none", "reporting"))
    ]
    assert max(len(line) for line in verdict_table(analyse(run(), boots)).splitlines()) <= WIDTH


def test_columns_are_as_wide_as_their_content() -> None:
    assert text_table(("a", "bb"), [("xxx", "1")]) == ["a    bb", "xxx   1"]


@pytest.mark.parametrize(
    ("value", "kind", "unit", "text"),
    [
        (0.2, "ratio", "byte", "×0.2"),
        (1.0123, "ratio", "byte", "×1.012"),
        (5.0 * MIB, "difference", "byte", "+5 MiB"),
        (-5.0 * MIB, "difference", "byte", "-5 MiB"),
        (0.0, "difference", "count", "0"),
        (None, "ratio", "byte", "–"),
    ],
)
def test_effects_are_shown_as_a_factor_or_with_a_sign(value: float | None, kind: str, unit: str, text: str) -> None:
    assert amount(value, {"kind": kind, "unit": unit}) == text
