"""The table for a mail: arms down, cells across, a true standard deviation, 75 columns."""

from __future__ import annotations

from typing import Any

from analysis_boots import measured

from bench.analysis.lkml import WIDTH, mail_table

RUN: dict[str, Any] = {
    "plan": "overhead",
    "question": "Is it harmless?",
    "accel": "tcg",
    "reference": "none",
    "arms": ["none", "reporting"],
    "metrics": {"faults_per_s": {"margin": 0.05}},
}


def of(cell: str, arm: str, block: int, value: float) -> dict[str, Any]:
    return measured(arm, block, {"faults_per_s": [value]}, cell=cell, workload="faults")


def test_means_deviations_and_differences_are_those_of_boots() -> None:
    boots = [of("pf1", "none", block, value) for block, value in enumerate((1000.0, 1010.0, 990.0), 1)]
    boots += [of("pf1", "reporting", block, value) for block, value in enumerate((980.0, 985.0, 975.0), 1)]
    table = mail_table(RUN, boots)
    lines = [line.split() for line in table.splitlines()]
    assert ["none", "1000", "1.00%"] in lines
    assert ["reporting", "980", "0.51%", "-2.00%"] in lines
    assert "software emulation (TCG)" in table


def test_one_boot_has_no_deviation_and_what_is_missing_is_a_dash() -> None:
    boots = [of("pf1", "none", 1, 1000.0), of("pf1", "reporting", 1, 990.0), of("pf2", "none", 1, 500.0)]
    lines = [line.split() for line in mail_table(RUN, boots).splitlines()]
    assert ["none", "1000", "-", "500", "-"] in lines
    assert ["reporting", "990", "-", "-1.00%", "-"] in lines


def test_no_line_is_wider_than_a_mail() -> None:
    names = ["page-fault-one-with-a-long-name", "two", "three", "four"]
    boots = [of(cell, arm, block, 123456.789 * block) for cell in names for arm in RUN["arms"] for block in (1, 2)]
    assert max(len(line) for line in mail_table(RUN, boots).splitlines()) <= WIDTH


def test_any_other_run_has_base_and_head_with_their_deviations_and_the_change() -> None:
    about = {**RUN, "plan": "quick", "metrics": {"residual_bytes": {"margin": 0.05}}}
    boots = [
        measured(arm, block, {"residual_bytes": [value * 2**20], "t50_s": [None if arm == "none" else 2.0]})
        for block in (1, 2, 3)
        for arm, value in (("none", 400.0 + block), ("reporting", 150.0 + block))
    ]
    table = mail_table(about, boots)
    lines = table.splitlines()
    assert table.isascii()
    assert max(map(len, lines)) <= WIDTH
    assert "local, cycle: base none, head reporting" in lines
    row = next(line for line in lines if line.rstrip().endswith("better"))
    assert row.split() == ["402", "MiB", "0.2%", "-62.2%", "152", "MiB", "0.7%", "residual_bytes", "better"]
    assert next(line for line in lines if "t50_s" in line).split()[:3] == ["-", "-", "-"]
