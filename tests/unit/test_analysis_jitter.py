"""The metrics of a probe, on answers whose shares can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import boot, phase, rows

from bench.analysis.summary import Summary, summarise
from bench.analysis.validity import boot_doubts, judge
from bench.wire.metrics import metrics_of
from bench.wire.units import MIB

BEFORE = {"mean": 200.0, "p1": 150, "p50": 210, "p99": 220, "longest_ns": 10**7, "quanta": 300, "covered": True}
AFTER = {"mean": 180.0, "p1": 21, "p50": 189, "p99": 210, "longest_ns": 5 * 10**7, "quanta": 700, "covered": True}
AGAIN = {**AFTER, "mean": 50.0}
SHARES = {
    "probe_work_share": 0.9,
    "probe_p1_share": 0.1,
    "probe_p50_share": 0.9,
    "probe_p99_share": 1.0,
    "probe_quiet_p1_share": 150 / 210,
    "probe_longest_s": 0.05,
    "probe_again_share": 0.25,
}


def jitter_boot(begun: dict[str, Any] | None = None, **windows: dict[str, Any]) -> dict[str, Any]:
    line = boot(workload="jitter")
    counted = {"before": BEFORE, "after": AFTER, "again": AGAIN, **windows}
    line["phases"] += [
        phase("probe", 14, 14.1, result=begun or {"kind": "work", "cpu": 1}),
        phase("probe-end", 36, 36.1, result={"windows": counted}),
        phase("again", 35, 36, result={"ns": 10**9, "bytes": 512 * MIB}),
    ]
    return line


def reasons(summary: Summary) -> str:
    return "\n".join(doubt.text for doubt in summary.doubts)


def test_shares_are_of_what_the_probe_got_done_before_the_free() -> None:
    found = summarise(jitter_boot(), rows())
    assert set(found.values) == {metric.name for metric in metrics_of("jitter")}
    assert {name: found.values[name][0] for name in SHARES} == pytest.approx(SHARES)
    assert found.values["returned_share"][0] == pytest.approx(500 / 512)
    assert judge(jitter_boot(), rows())[0] == "ok"
    assert boot_doubts(jitter_boot(), rows(), found) == []


def test_a_window_that_was_not_counted_to_its_end_has_no_share() -> None:
    found = summarise(jitter_boot(after={**AFTER, "covered": False}), rows())
    assert found.values["probe_work_share"] == [None]
    assert found.values["probe_again_share"] == pytest.approx([0.25])
    assert "the probe had no more room to count in" in reasons(found)
    assert "no quantum of the probe lies in its window after" in reasons(
        summarise(jitter_boot(after={"quanta": 0, "covered": True}), rows())
    )


def test_a_probe_that_got_nothing_done_before_is_no_measure() -> None:
    found = summarise(jitter_boot(before={**BEFORE, "mean": 0.0, "p50": 0}), rows())
    assert [found.values[name][0] for name in ("probe_work_share", "probe_p1_share")] == [None, None]
    assert "the probe got nothing done before the free" in reasons(found)


def test_a_cycle_without_a_probe_misses_nothing() -> None:
    found = summarise(boot(), rows())
    assert found.values["probe_work_share"] == [None]
    assert found.doubts == ()


def test_a_copy_that_fits_into_a_cache_is_a_doubt() -> None:
    begun = {"kind": "bandwidth", "cpu": 1, "buffer_bytes": 16 * MIB, "cache_bytes": 32 * MIB}
    line = jitter_boot(begun)
    (doubt,) = boot_doubts(line, rows(), summarise(line, rows()))
    assert (doubt.code, doubt.text) == (
        "probe-in-cache",
        "the probe copies 16 MiB, and a cache of the guest's CPU has 32 MiB",
    )
    for other in ({**begun, "cache_bytes": 8 * MIB}, {**begun, "cache_bytes": None}, {**begun, "kind": "work"}):
        line = jitter_boot(other)
        assert boot_doubts(line, rows(), summarise(line, rows())) == []
