"""What a guest is to do without: decided from what it has available, and stable once it got there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.host.policy.sizing import Bounds, Size, decide
from bench.wire.units import MIB

WHOLE = 1000 * MIB
BOUNDS = Bounds(low=0.1, keep=0.2, high=0.3, step=0.25)


def of(available: int, without: int = 0, most: int = WHOLE) -> Size:
    return Size(WHOLE, available * MIB, without * MIB, most)


def test_a_guest_with_much_available_gives_a_step_at_a_time_down_to_what_it_keeps() -> None:
    assert decide(of(800), BOUNDS, wanted=True) == 250 * MIB
    assert decide(of(350, without=450), BOUNDS, wanted=True) == 600 * MIB


def test_nobody_gives_what_nobody_wants() -> None:
    assert decide(of(800), BOUNDS, wanted=False) is None


def test_a_guest_that_is_short_gets_memory_wanted_elsewhere_or_not() -> None:
    for wanted in (True, False):
        assert decide(of(50, without=500), BOUNDS, wanted) == 250 * MIB
    assert decide(of(50, without=100), BOUNDS, wanted=True) == 0


def test_between_low_and_high_nothing_happens() -> None:
    for available in (100, 200, 300):
        assert decide(of(available, without=300), BOUNDS, wanted=True) is None


def test_no_more_is_asked_for_than_the_mechanism_can_take() -> None:
    assert decide(of(800, without=200, most=256 * MIB), BOUNDS, wanted=True) == 256 * MIB
    assert decide(of(800, without=256, most=256 * MIB), BOUNDS, wanted=True) is None


@given(st.integers(0, WHOLE), st.integers(0, WHOLE), st.booleans())
def test_a_guest_that_did_as_it_was_told_comes_to_rest(available: int, without: int, wanted: bool) -> None:
    for _ in range(8):
        target = decide(Size(WHOLE, available, without, WHOLE), BOUNDS, wanted)
        if target is None:
            return
        assert 0 <= target <= WHOLE
        available, without = max(0, min(WHOLE, available + without - target)), target
    raise AssertionError(f"still moving: {available} available, {without} less")
