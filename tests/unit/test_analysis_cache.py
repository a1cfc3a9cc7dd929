"""The metrics of `cache`, on a boot whose answers can be worked out by hand."""

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

SIZE = 256 * MIB
READ = {"bad_pages": 0, "first_bad": None, "refault_pages": 0}
READER = {
    **READ,
    "bytes": 5000 * 4096,
    "ns": 10**10,
    "reads": 5000,
    "due": 5000,
    "disk_bytes": 8 * MIB,
    "refault_pages": 2048,
    "wait_p50_ns": 1000,
    "wait_p99_ns": 2000,
    "wait_p999_ns": 3000,
}


def cache_boot(reader: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read 256 MiB, pressed from 20 to 30 s, read again: 16 MiB of 32 MiB of the hot set, then all but that."""
    steps: list[tuple[str, float, float, dict[str, Any]]] = [
        ("proof-free", 5, 6, {"bytes": 32 * MIB}),
        ("proof-settle", 6, 14, {"settled": True}),
        ("read", 15, 17, {**READ, "bytes": SIZE, "ns": 2 * 10**9, "disk_bytes": SIZE}),
        ("snapshot-read", 19, 19.1, {"buffers_bytes": SIZE}),
        ("reader", 20, 20.1, {"period_ns": 1000}),
        ("window", 21, 31, {}),
        ("reader-end", 31, 31.2, {**READER, **(reader or {})}),
        ("snapshot", 31.2, 31.3, {"buffers_bytes": 56 * MIB}),
        ("reread-hot", 32, 33, {**READ, "bytes": 32 * MIB, "ns": 10**9, "disk_bytes": 16 * MIB}),
        ("reread", 33, 35, {**READ, "bytes": SIZE, "ns": 3 * 10**9, "disk_bytes": 224 * MIB}),
    ]
    return boot(
        phases=[phase(name, start, end, result=result) for name, start, end, result in steps],
        workload="cache",
        window_s=10.0,
    )


def series(end_mib: float = 220.0, discarded_at: float = 7.0) -> pd.DataFrame:
    """400 MiB until 22 s, then falling in a straight line, and flat from 26 s on."""
    ticks = np.arange(0, 50, 0.05)
    values = np.interp(ticks, [22, 26], [400, end_mib])
    rows: list[Any] = [(float(t), "ram", "resident_bytes", float(v) * MIB) for t, v in zip(ticks, values, strict=True)]
    return frame([*rows, (discarded_at, "discard", "bytes", 32.0 * MIB)])


def test_what_came_back_and_what_it_cost() -> None:
    found = summarise(cache_boot(), series()).values
    assert set(found) == {metric.name for metric in metrics_of("cache")}
    expected = {
        "cache_footprint_byte_s": (2 * 400 + 4 * 310 + 4 * 220) * MIB,
        "cache_resident_bytes": 220 * MIB,
        "cache_returned_bytes": 180 * MIB,
        "cache_returned_share": 180 / 256,
        "cache_t50_s": 4.0,
        "cache_kept_bytes": 56 * MIB,
        "cache_unreturned_bytes": 20 * MIB,
        "cache_reread_bytes": 8 * MIB,
        "cache_refaults": 2048,
        "reader_p50_s": 1e-6,
        "reader_p99_s": 2e-6,
        "reader_p999_s": 3e-6,
        "cold_s_per_gib": 2.0 / (SIZE / GIB),
        "warm_hot_s_per_gib": 1.0 / (32 * MIB / GIB),
        "warm_hot_disk_share": 0.5,
        "warm_s_per_gib": 3.0 / (SIZE / GIB),
        "warm_disk_share": 0.875,
    }
    assert {name: found[name][0] for name in expected} == pytest.approx(expected, rel=0.02)


def test_little_that_came_back_has_no_half_time() -> None:
    found = summarise(cache_boot(), series(end_mib=395)).values
    assert found["cache_t50_s"] == [None]
    assert found["cache_returned_bytes"] == pytest.approx([5 * MIB])


def test_a_reader_that_did_not_keep_its_pace_has_no_latencies() -> None:
    summary = summarise(cache_boot({"reads": 4000}), series())
    assert summary.values["reader_p99_s"] == [None]
    assert any("4000 of 5000 reads: it could not keep its pace" in doubt.text for doubt in summary.doubts)


def test_a_window_that_was_cut_short_has_no_footprint() -> None:
    line = cache_boot()
    next(phase for phase in line["phases"] if phase["name"] == "window")["end_s"] = 29.0
    found = summarise(line, series()).values
    assert (found["cache_footprint_byte_s"], found["cache_returned_bytes"]) == ([None], [None])


def test_refaults_that_the_kernel_does_not_count_are_missing_and_not_zero() -> None:
    assert summarise(cache_boot({"refault_pages": None}), series()).values["cache_refaults"] == [None]


def test_reporting_is_proved_by_a_free_of_its_own() -> None:
    assert judge(cache_boot(), series())[0] == "ok"
    assert judge(cache_boot(), series(discarded_at=16.0))[1].startswith("mechanism not seen")


def test_wrong_content_of_the_page_cache_makes_the_boot_invalid() -> None:
    bad = {"bad_pages": 1, "first_bad": {"address": 4096, "expected": 5, "found": 0}}
    status, reason, evidence = judge(cache_boot(bad), series())
    assert (status, "in phase reader-end" in reason) == ("invalid", True)
    assert "first bad page at address 0x1000: expected 0x5, found 0x0" in evidence[0]
