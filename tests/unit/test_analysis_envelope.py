"""Curves made small for a drawing: no extreme is lost."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_boots import CALM
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.envelope import envelope, reduced
from bench.analysis.series import Curve


def curve(*points: tuple[float, float]) -> Curve:
    t, v = zip(*points, strict=True)
    return Curve(np.array(t, dtype=float), np.array(v, dtype=float))


@CALM
@given(st.lists(st.floats(0, 1e6), min_size=50, max_size=400), st.integers(3, 12))
def test_every_part_keeps_its_first_last_lowest_and_highest_sample(values: list[float], parts: int) -> None:
    whole = Curve(np.linspace(0, 10, len(values)), np.array(values))
    small = reduced(whole, 0, 10, parts)
    assert len(small) <= 4 * parts
    assert (small.v.min(), small.v.max()) == (whole.v.min(), whole.v.max())
    assert (small.t[0], small.t[-1]) == (whole.t[0], whole.t[-1])
    assert np.all(np.diff(small.t) > 0)
    assert np.isin(small.v, whole.v).all()


def test_a_short_curve_stays_as_it_is() -> None:
    short = curve((0, 1), (1, 5), (2, 2))
    assert reduced(short, 0, 2, 10) is short


def test_a_spike_of_one_sample_in_one_boot_is_in_the_envelope() -> None:
    flat = Curve(np.arange(0, 10, 0.05), np.full(200, 100.0))
    spiked = Curve(flat.t, np.where(np.arange(200) == 77, 900.0, 100.0))
    found = envelope([flat, spiked], 0, 10, 20)
    assert found.high.max() == 900
    assert np.flatnonzero(found.high == 900).tolist() == [7]
    assert found.low.min() == 100


def test_the_median_is_that_of_the_boots_that_are_there() -> None:
    boots = [curve((0, v), (5, v)) for v in (1, 2, 9)] + [curve((0, 7), (2, 7))]
    found = envelope(boots, 0, 6, 3)
    assert found.median.tolist()[:2] == pytest.approx([4.5, 2])
    assert found.boots.tolist() == [4, 3, 0]
    assert np.isnan(found.median[2])
    assert found.t.tolist() == [1, 3, 5]


def test_a_value_holds_between_two_samples_that_are_far_apart() -> None:
    found = envelope([curve((0, 4), (9.5, 6), (10, 6))], 0, 10, 10)
    assert found.low.tolist() == [4.0] * 9 + [6]
    assert found.high.tolist() == [4.0] * 9 + [6]


def test_no_boots_give_no_values_and_no_warning() -> None:
    found = envelope([], 0, 1, 2)
    assert np.isnan(found.low).all()
    assert found.boots.tolist() == [0, 0]
