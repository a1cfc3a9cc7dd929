"""One boot's values: known answers from a synthetic guest, and None with a reason where something is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from analysis_boots import CALM, FREE, FREED, HELD, LEFT, LENGTH, SETTLE_END, TICK_S, WINDOW_S, boot, phase, rows
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.series import frame
from bench.analysis.summary import ONCE, Summary, boot_value, summarise
from bench.wire.metrics import metrics_of
from bench.wire.units import GIB, MIB

CAME_BACK = HELD - LEFT
# The bursts come 2, 4 and 6 s after the free: 40 %, 40 %, 20 %.
AREA = HELD * 2 + (HELD - 0.4 * CAME_BACK) * 2 + (HELD - 0.8 * CAME_BACK) * 2 + LEFT * 4

EXPECTED = {
    "resident_peak_bytes": HELD,
    "residual_bytes": LEFT,
    "returned_bytes": CAME_BACK,
    "returned_share": CAME_BACK / FREED,
    "t50_s": 4.0,
    "t90_s": 6.0,
    "t99_s": 6.0,
    "footprint_byte_s": AREA,
    "footprint_guest_share": AREA / (GIB * WINDOW_S),
    "first_touch_s_per_gib": 4.0,
    "first_touch_p50_s": 1e-6,
    "first_touch_p99_s": 9e-6,
    "first_touch_p999_s": 20e-6,
    "refault_s_per_gib": 8.0,
    "refault_p50_s": 2e-6,
    "refault_p99_s": 18e-6,
    "refault_p999_s": 40e-6,
    "free_s_per_gib": 1.0,
    "discarded_bytes": CAME_BACK,
    "discards": 3,
    "discard_gap_bytes": 0,
    "qemu_cpu_s": 0.1 * WINDOW_S,
    "stuck_free_bytes": 3 * MIB,
    "ready_s": 2.5,
    "held_free_bytes": FREED - CAME_BACK,
    "below_order_growth_bytes": 2 * MIB,
    "discard_mean_bytes": CAME_BACK / 3,
    "percpu_growth_bytes": MIB,
    "held_unexplained_bytes": FREED - CAME_BACK - 3 * MIB,
    "failed_discards": 0,
    "guest_cpu_s": 2.0,
    "guest_kworker_cpu_s": 0.3,
    "host_thp_faults": 200,
    "host_thp_splits": 7,
    "qemu_main_cpu_s": 0.1 * WINDOW_S,
    "qmp_round_trip_p50_s": 0.002,
    "qmp_round_trip_max_s": 0.5,
}
# Half a tick times what fell, and one tick, are what 20 Hz can tell.
SLACK = {"footprint_byte_s": TICK_S * CAME_BACK, "footprint_guest_share": TICK_S * CAME_BACK / (GIB * WINDOW_S)}


def value(summary: Summary, name: str) -> float | None:
    return summary.values[name][0]


def reasons(summary: Summary) -> str:
    return "\n".join(doubt.text for doubt in summary.doubts)


def without(name: str, **more: Any) -> dict[str, Any]:
    line = boot(**more)
    return line | {"phases": [p for p in line["phases"] if p["name"] != name]}


def test_the_known_answers_cover_every_metric() -> None:
    # An arm with a loop has more, one in which the host asks for memory has three,
    # and a boot with a probe has its shares.
    asked = {"given_share", "give_s_per_gib", "grow_s_per_gib"}
    probed = {metric.name for metric in metrics_of("cycle") if metric.name.startswith("probe_")}
    loops = {metric.name for metric in metrics_of("cycle") if metric.name.startswith("policy_")}
    assert {*EXPECTED, *loops, *asked, *probed} == {metric.name for metric in metrics_of("cycle")}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_synthetic_guest_has_the_known_value_of(name: str) -> None:
    summary = summarise(boot(), rows())
    slack = SLACK.get(name, TICK_S * 1.01 if name.startswith("t") else 1e-9 * (1 + abs(EXPECTED[name])))
    assert value(summary, name) == pytest.approx(EXPECTED[name], abs=slack, rel=0)
    assert summary.doubts == ()


def test_each_iteration_has_its_value_and_the_first_touch_only_the_first() -> None:
    summary = summarise(boot(iterations=3), rows(3))
    assert summary.values["residual_bytes"] == [LEFT] * 3
    assert summary.values["discarded_bytes"] == pytest.approx([CAME_BACK] * 3)
    assert summary.values["first_touch_s_per_gib"] == [4.0, None, None]
    assert summary.values["ready_s"] == [2.5, None, None]
    assert summary.warmups["residual_bytes"] == []


def test_warm_ups_are_kept_apart_but_the_boots_first_touch_is_not_lost() -> None:
    summary = summarise(boot(iterations=3, warmups=1), rows(3))
    assert summary.warmups["residual_bytes"] == [LEFT]
    assert summary.values["residual_bytes"] == [LEFT] * 2
    assert summary.warmups["first_touch_p50_s"] == [None]
    assert summary.values["first_touch_p50_s"] == [1e-6, None]
    assert all(len(summary.values[name]) == 2 for name in EXPECTED)


def test_an_arm_that_returns_nothing_has_no_times_and_nothing_is_doubtful_about_that() -> None:
    summary = summarise(boot(reporting=False), rows(reporting=False))
    assert value(summary, "returned_bytes") == 0
    assert value(summary, "returned_share") == 0
    assert value(summary, "discarded_bytes") == 0
    assert value(summary, "discards") == 0
    assert [value(summary, name) for name in ("t50_s", "t90_s", "t99_s")] == [None] * 3
    assert summary.doubts == ()


@pytest.mark.parametrize(("came_back", "has_time"), [(26.5, True), (25.0, False)])
def test_a_time_needs_a_twentieth_of_what_was_freed_to_have_come_back(came_back: float, has_time: bool) -> None:
    def seen(t: float) -> float:
        return HELD - (came_back * MIB if t > 10 + FREE + 3 else 0.0)

    series = frame((float(t), "ram", "resident_bytes", seen(t)) for t in np.arange(0, 45, TICK_S))
    assert (value(summarise(boot(), series), "t50_s") is not None) is has_time


def test_a_time_needs_8_mib_to_have_come_back_however_little_was_freed() -> None:
    line = boot()
    next(p for p in line["phases"] if p["name"] == "free")["result"]["bytes"] = 16 * MIB
    for came_back, has_time in ((8.5, True), (7.5, False)):
        series = frame(
            (float(t), "ram", "resident_bytes", HELD - (came_back * MIB if t > 18 else 0))
            for t in np.arange(0, 45, 0.05)
        )
        assert (value(summarise(line, series), "t90_s") is not None) is has_time


def test_the_plateau_is_the_median_of_the_last_fifth() -> None:
    settle_end = 10 + SETTLE_END

    def seen(t: float) -> float:
        if t < settle_end - 4:
            return 900.0 * MIB  # the first four fifths
        return (100.0 if t < settle_end - 1.5 else 500.0) * MIB

    series = frame((float(t), "ram", "resident_bytes", seen(t)) for t in np.arange(0, 45, TICK_S))
    assert value(summarise(boot(), series), "residual_bytes") == 100 * MIB


def test_cpu_of_all_threads_counts_and_a_value_that_did_not_change_is_carried_on() -> None:
    extra = [(12.0, "qemu", "cpu_vcpu_s", 3.0), (20.0, "qemu", "cpu_vcpu_s", 3.5), (39.0, "qemu", "cpu_vcpu_s", 99.0)]
    table = rows(keep=lambda row: row[2] != "cpu_vcpu_s")
    summary = summarise(boot(), frame([*table.itertuples(index=False, name=None), *extra]))
    assert value(summary, "qemu_cpu_s") == pytest.approx(0.1 * WINDOW_S + 0.5)


def test_a_window_longer_than_the_settle_phase_gives_no_footprint() -> None:
    summary = summarise(boot(window_s=21.0), rows())
    assert value(summary, "footprint_byte_s") is None
    assert value(summary, "qemu_cpu_s") is None
    assert value(summary, "residual_bytes") == LEFT
    assert "settle phase ended before the window of 21 s" in reasons(summary)


def test_a_series_that_ends_inside_the_window_gives_no_footprint() -> None:
    summary = summarise(boot(), rows(keep=lambda row: row[0] < 10 + FREE + WINDOW_S - 1))
    assert value(summary, "footprint_byte_s") is None
    assert value(summary, "residual_bytes") is None
    assert "does not cover the window" in reasons(summary)
    assert "last fifth" in reasons(summary)


def test_without_residency_no_discards_is_unknown_and_not_zero() -> None:
    summary = summarise(boot(), rows(keep=lambda row: row[1] != "ram"))
    assert value(summary, "discarded_bytes") is None
    assert "no ram.resident_bytes" in reasons(summary)


def test_discards_before_the_free_and_after_the_settle_do_not_count() -> None:
    late = 10 + SETTLE_END + 0.2
    table = frame([*rows().itertuples(index=False, name=None), (late, "discard", "bytes", 4096.0)])
    assert value(summarise(boot(), table), "discards") == 3


@pytest.mark.parametrize(
    ("gone", "lost", "kept"),
    [
        ("touch", "resident_peak_bytes", "residual_bytes"),
        ("free", "t50_s", "residual_bytes"),
        ("settle", "residual_bytes", "free_s_per_gib"),
        ("retouch", "refault_p99_s", "residual_bytes"),
        ("snapshot", "stuck_free_bytes", "residual_bytes"),
    ],
)
def test_a_phase_that_did_not_happen_is_named(gone: str, lost: str, kept: str) -> None:
    summary = summarise(without(gone), rows())
    assert value(summary, lost) is None
    assert value(summary, kept) is not None
    assert f"phase {gone} did not happen" in reasons(summary)
    assert lost in reasons(summary)


def test_a_guest_without_a_reporting_order_has_no_stuck_memory_and_that_is_no_doubt() -> None:
    line = boot()
    next(p for p in line["phases"] if p["name"] == "snapshot")["result"]["below_order_bytes"] = None
    summary = summarise(line, rows())
    assert value(summary, "stuck_free_bytes") is None
    assert summary.doubts == ()


def test_nothing_at_all_is_a_summary_too() -> None:
    summary = summarise({}, frame([]))
    assert all(values == [] for values in summary.values.values())
    assert "no counted iteration" in reasons(summary)


def test_a_boot_is_the_median_of_its_iterations_that_have_a_value() -> None:
    assert boot_value([3.0, None, 1.0, 8.0]) == 3.0
    assert boot_value([1.0, 2.0]) == 1.5
    assert boot_value([None, float("nan"), float("inf")]) is None
    assert boot_value([]) is None


def test_only_facts_of_the_boot_come_once() -> None:
    quantiles = {f"first_touch_{q}_s" for q in ("p50", "p99", "p999")}
    others = {"day_growth_bytes", "shrink_untouched_bytes_per_s"}
    assert set(ONCE) == {"ready_s", "filled_resident_bytes", "first_touch_s_per_gib", *others, *quantiles}


weird = st.one_of(st.none(), st.floats(), st.just("text"), st.booleans(), st.integers(-10, 10))
SHORT_SERIES = rows(keep=lambda row: row[0] < 20)


@CALM
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["touch", "free", "settle", "retouch", "snapshot"]), st.floats(0, 60), st.floats(0, 60)
        ),
        max_size=6,
    ),
    st.dictionaries(st.sampled_from(["ns", "bytes", "p50_ns", "below_order_bytes", "settled"]), weird),
    st.one_of(st.none(), st.floats()),
)
def test_odd_phases_and_answers_never_raise_and_never_give_a_value_that_is_not_finite(
    steps: list[tuple[str, float, float]], answer: dict[str, Any], window_s: float | None
) -> None:
    line = boot(phases=[phase(name, a, b, result=answer) for name, a, b in steps], window_s=window_s)
    for values in summarise(line, SHORT_SERIES).values.values():
        assert all(item is None or np.isfinite(item) for item in values)


def test_the_second_iteration_is_told_apart_from_the_first() -> None:
    def seen(t: float) -> float:
        first, second = 10 + FREE + 1, 10 + LENGTH + FREE + 1
        fell = 300 if first < t < 10 + LENGTH else 100 if t >= second else 0
        return float(HELD - fell * MIB)

    series = frame((float(t), "ram", "resident_bytes", seen(t)) for t in np.arange(0, 75, TICK_S))
    assert summarise(boot(iterations=2), series).values["returned_bytes"] == [300 * MIB, 100 * MIB]
