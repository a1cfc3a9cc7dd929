"""The metrics of `faults` and `refault`, on boots whose answers can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_boots import boot, phase

from bench.analysis.series import frame
from bench.analysis.summary import summarise
from bench.analysis.validity import judge
from bench.wire.metrics import metrics_of
from bench.wire.units import GIB, MIB

QUARTER = GIB // 4


def touched(seconds: float) -> dict[str, Any]:
    return {"ns": int(seconds * 1e9), "bytes": QUARTER, "p50_ns": 1000, "p99_ns": 2000, "p999_ns": 3000}


def refault_boot(reporting: bool = True, **answers: dict[str, Any]) -> dict[str, Any]:
    """Of an arm that reports."""
    steps: list[tuple[str, float, float, dict[str, Any]]] = [
        ("fresh", 10, 11, touched(1.0)),
        ("free-kept", 11, 12, {"bytes": QUARTER}),
        ("kept", 12, 13, touched(0.5)),
        ("free", 13, 14, {"bytes": QUARTER}),
        ("settle", 14, 34, {"settled": True}),
        ("reported", 34, 35, touched(0.75)),
        ("pageout", 35, 36, {"bytes": QUARTER}),
        ("swapped", 36, 38, touched(1.5)),
    ]
    phases = [phase(name, start, end, result=answers.get(name, result)) for name, start, end, result in steps]
    return boot(phases=phases, workload="refault", reporting=reporting)


def series(discarded_at: float = 20.0, read_back: float = 1.0) -> pd.DataFrame:
    ticks = np.arange(0, 50, 0.05)
    rows: list[Any] = [(float(t), "ram", "resident_bytes", (100 + min(t, 40)) * MIB) for t in ticks]
    swapped_in = [(0.0, "vmstat", "pswpin", 7.0), (37.0, "vmstat", "pswpin", 7 + read_back * QUARTER / 4096)]
    return frame([*rows, *swapped_in, (discarded_at, "discard", "bytes", 64.0 * MIB)])


def test_a_page_costs_what_touching_it_took_in_each_state() -> None:
    found = summarise(refault_boot(), series()).values
    assert set(found) == {metric.name for metric in metrics_of("refault")}
    costs = [found[f"{state}_s_per_gib"][0] for state in ("fresh", "kept", "reported", "swapped")]
    assert costs == pytest.approx([4.0, 2.0, 3.0, 6.0])
    assert found["swapped_p999_s"] == [3e-6]
    assert found["break_even_s"] == pytest.approx([25.0])  # a quarter of a second more, a hundred times
    assert found["break_even_swap_share"] == pytest.approx([0.25])
    assert found["kept_discarded_share"] == [0.0]


def test_a_report_between_free_and_touch_is_seen() -> None:
    found = summarise(refault_boot(), series(discarded_at=12.5)).values
    assert found["kept_discarded_share"] == pytest.approx([64 * MIB / QUARTER])


def test_without_swap_on_the_host_nothing_is_said_of_swapped_pages() -> None:
    summary = summarise(refault_boot(pageout={"skipped": "no swap"}), series())
    assert summary.values["swapped_s_per_gib"] == [None]
    assert summary.values["break_even_swap_share"] == [None]
    assert any("nothing was swapped out: no swap" in doubt.text for doubt in summary.doubts)


def test_nothing_breaks_even_in_an_arm_that_reports_nothing() -> None:
    summary = summarise(refault_boot(reporting=False), series())
    assert (summary.values["break_even_s"], summary.values["break_even_swap_share"]) == ([None], [None])
    assert summary.values["swapped_s_per_gib"] == pytest.approx([6.0])
    assert summary.doubts == ()


def test_pages_that_the_host_still_had_were_not_swapped_pages() -> None:
    summary = summarise(refault_boot(), series(read_back=0.4))
    assert summary.values["swapped_s_per_gib"] == [None]
    assert any("102 MiB of 256 MiB were read from swap, 0 B discarded" in doubt.text for doubt in summary.doubts)


def test_pages_that_were_reported_meanwhile_were_not_swapped_pages_and_that_is_said() -> None:
    summary = summarise(refault_boot(), series(read_back=0.4, discarded_at=37.5))
    assert summary.values["swapped_s_per_gib"] == [None]
    assert any("were read from swap, 64 MiB discarded meanwhile" in doubt.text for doubt in summary.doubts)


def test_what_counts_is_the_share_of_what_was_touched_not_of_what_the_whole_guest_had_in_swap() -> None:
    assert summarise(refault_boot(pageout={"bytes": GIB}), series(read_back=0.9)).values["swapped_s_per_gib"] != [None]


def test_reporting_that_costs_nothing_has_no_time_to_break_even() -> None:
    assert summarise(refault_boot(reported=touched(0.5)), series()).values["break_even_s"] == [None]


def faults_boot(fill: bool = True) -> dict[str, Any]:
    filled = [
        phase("fill", 5, 10),
        phase("fill-free", 10, 10.1),
        phase("fill-settle", 10.1, 25, result={"settled": True}),
    ]
    work = [
        phase("faults", start, start + 5, index, result={"per_second": 1000.0 + index, "seconds": 5.0})
        for index, start in enumerate((30, 36))
    ]
    return boot(phases=[*(filled if fill else []), *work], workload="faults")


def test_faults_are_counted_each_iteration_and_the_fill_once() -> None:
    found = summarise(faults_boot(), series()).values
    assert found["faults_per_s"] == [1000.0, 1001.0]
    assert found["filled_resident_bytes"] == [110 * MIB, None]
    assert found["working_resident_bytes"] == pytest.approx([132.5 * MIB, 138.4 * MIB], rel=1e-3)


def test_an_arm_that_reports_must_discard_what_was_filled_and_freed() -> None:
    assert judge(faults_boot(), series())[0] == "ok"
    status, reason, _ = judge(faults_boot(), series(discarded_at=28.0))
    assert (status, reason.split(":")[0]) == ("invalid", "mechanism not seen")
    assert judge(faults_boot(fill=False), series())[1] == "mechanism not seen: discards were not measured"
