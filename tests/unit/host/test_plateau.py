"""When a series has settled: not between two steps of the staircase that free page reporting makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.host.plateau import Plateau
from bench.wire.units import MIB

TICK_S = 0.05
# Bursts of at most 256 MiB every 2 s, as Linux 6.1 reports them.
STEPS = ((2.0, 640), (4.0, 384), (6.0, 144))


def staircase(t: float) -> float:
    """Residency in bytes, t seconds after a free of 670 MiB."""
    return MIB * next((value for when, value in reversed(STEPS) if t >= when), 810)


def settled_at(window_s: float, until_s: float = 20.0, origin_s: float = 0.0) -> float:
    plateau = Plateau(window_s, 2 * MIB)
    for tick in range(int(until_s / TICK_S)):
        plateau.add(origin_s + tick * TICK_S, staircase(tick * TICK_S))
        if plateau.settled:
            return tick * TICK_S
    return until_s


@pytest.mark.parametrize("origin_s", [0.0, 3.0, 12345.678])
def test_a_staircase_with_steps_of_two_seconds_settles_only_after_its_last_step(origin_s: float) -> None:
    settled = settled_at(2.5, origin_s=origin_s)
    assert settled == pytest.approx(6.0 + 2.5, abs=2 * TICK_S)


def test_a_window_shorter_than_the_pause_between_steps_settles_too_early() -> None:
    assert settled_at(1.5) < 2.0


def test_nothing_has_settled_before_a_whole_window_was_seen() -> None:
    plateau = Plateau(2.5, MIB)
    for t, expected in ((0.0, False), (1.0, False), (2.4, False), (2.5, True)):
        plateau.add(t, 5.0)
        assert plateau.settled is expected


def test_a_new_plateau_has_not_settled() -> None:
    assert not Plateau(1.0, 1.0).settled


def test_a_sampler_that_stands_still_settles_nothing() -> None:
    plateau = Plateau(1.0, MIB)
    for _ in range(1000):
        plateau.add(7.0, 5.0)
    assert not plateau.settled


def test_a_change_as_large_as_the_tolerance_is_still_flat_and_one_more_byte_is_not() -> None:
    for change, expected in ((MIB, True), (MIB + 1, False)):
        plateau = Plateau(1.0, MIB)
        for t, value in ((0.0, 0), (0.5, change), (1.0, change)):
            plateau.add(t, value)
        assert plateau.settled is expected


def test_a_late_rise_unsettles_what_had_settled() -> None:
    plateau = Plateau(1.0, MIB)
    for t in (0.0, 0.5, 1.0):
        plateau.add(t, 0.0)
    assert plateau.settled
    plateau.add(1.1, 2.0 * MIB)
    assert not plateau.settled


def test_a_slow_slope_that_leaves_the_tolerance_within_the_window_never_settles() -> None:
    plateau = Plateau(2.0, MIB)
    for tick in range(400):
        plateau.add(tick * TICK_S, 800 * MIB - tick * TICK_S * 0.6 * MIB)
        assert not plateau.settled


@given(st.lists(st.floats(0, 100), min_size=2, max_size=60), st.floats(0.1, 2.0), st.floats(0, 50))
def test_settled_means_that_the_last_window_lies_within_the_tolerance(
    values: list[float], window_s: float, tolerance: float
) -> None:
    plateau = Plateau(window_s, tolerance)
    for index, value in enumerate(values):
        plateau.add(index * 0.1, value)
        seen = [v for i, v in enumerate(values[: index + 1]) if i * 0.1 >= index * 0.1 - window_s]
        assert plateau.settled == (index * 0.1 >= window_s and max(seen) - min(seen) <= tolerance)
