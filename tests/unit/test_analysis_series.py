"""Curves: steps, integrals and bands with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_boots import CALM
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.series import NO_CURVE, Curve, curves, frame, shifted


def curve(*points: tuple[float, float]) -> Curve:
    t, v = zip(*points, strict=True)
    return Curve(np.array(t, dtype=float), np.array(v, dtype=float))


def test_a_value_holds_until_the_next_row() -> None:
    stairs = curve((1, 10), (2, 20), (5, 50))
    assert [stairs.at(t) for t in (0.99, 1, 1.5, 2, 4.9, 5, 99)] == [None, 10, 10, 20, 20, 50, 50]


def test_the_last_of_two_rows_at_one_moment_counts() -> None:
    assert curves(frame([(1.0, "a", "b", 1.0), (1.0, "a", "b", 2.0)]))["a.b"].at(1.0) == 2.0


def test_the_integral_of_a_constant_is_its_value_times_the_time() -> None:
    assert curve((0, 7), (1, 7), (10, 7)).integral(0.5, 9.5) == pytest.approx(63)


def test_the_integral_of_a_ramp_is_exact_at_any_sampling() -> None:
    ramp = curve((0, 0), (1, 1), (1.3, 1.3), (7, 7), (10, 10))
    assert ramp.integral(2.0, 6.5) == pytest.approx((6.5**2 - 2.0**2) / 2)


def test_the_integral_of_a_triangle_is_half_its_box() -> None:
    assert curve((0, 0), (2, 8), (4, 0)).integral(0, 4) == pytest.approx(16)


def test_a_fall_between_two_ticks_is_off_by_half_a_tick_at_most_and_by_nothing_on_average() -> None:
    tick, drop = 0.05, 100.0
    errors = []
    for moment in np.linspace(5, 5 + tick, 50, endpoint=False):
        t = np.arange(0, 10.01, tick)
        seen = Curve(t, np.where(t < moment, drop, 0.0))
        area = seen.integral(0, 10)
        assert area is not None
        errors.append(area - drop * moment)
    assert max(abs(error) for error in errors) <= drop * tick / 2 * 1.001
    assert abs(np.mean(errors)) < drop * tick / 20


def test_a_window_that_is_not_covered_has_no_integral() -> None:
    line = curve((1, 5), (4, 5))
    assert line.integral(0.9, 3) is None
    assert line.integral(2, 4.1) is None
    assert line.integral(3, 2) is None
    assert NO_CURVE.integral(0, 1) is None


def test_a_grid_gets_steps_and_nothing_outside_of_what_was_seen() -> None:
    values = curve((1, 10), (2, 20)).on(np.array([0.5, 1.0, 1.9, 2.0, 2.5]))
    np.testing.assert_array_equal(values, [np.nan, 10, 10, 20, np.nan])
    assert np.isnan(NO_CURVE.on(np.array([1.0]))).all()


def test_a_shifted_curve_has_its_origin_at_zero() -> None:
    assert shifted(curve((12, 1), (13, 2)), 12).at(0.5) == 1


def test_curves_are_named_by_source_and_name_sorted_and_finite() -> None:
    found = curves(
        frame([(2.0, "ram", "x", 2.0), (1.0, "ram", "x", 1.0), (3.0, "ram", "x", float("nan")), (1.0, "psi", "x", 9.0)])
    )
    assert sorted(found) == ["psi.x", "ram.x"]
    assert found["ram.x"].t.tolist() == [1.0, 2.0]
    assert curves(frame([])) == {}


def test_the_largest_gap_counts_from_edge_to_edge() -> None:
    line = curve((0, 0), (1, 0), (4, 0), (5, 0))
    assert line.largest_gap(0, 5) == 3
    assert line.largest_gap(1.5, 3.5) == 2
    assert NO_CURVE.largest_gap(1, 3) == 2


# Times are seconds in microseconds, as the host side rounds them.
TIMES = st.integers(0, 100_000_000).map(lambda micros: micros / 1e6)


@CALM
@given(
    st.lists(st.tuples(TIMES, st.floats(-1e9, 1e9)), min_size=1, max_size=30, unique_by=lambda p: p[0]), TIMES, TIMES
)
def test_an_integral_lies_between_the_extremes_times_the_length(
    points: list[tuple[float, float]], one: float, other: float
) -> None:
    line = curve(*sorted(points))
    start, end = sorted((one, other))
    area = line.integral(start, end)
    if area is not None:
        slack = 1e-6 * (1 + float(np.abs(line.v).max()) * (end - start))
        assert line.v.min() * (end - start) - slack <= area <= line.v.max() * (end - start) + slack
