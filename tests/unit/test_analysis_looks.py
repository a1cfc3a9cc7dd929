"""The levels of repeated looks: against published ones, an independent recursion, and simulated t tests."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import special

from bench.analysis.compare import compare
from bench.analysis.looks import ONE_LOOK, Levels, levels
from bench.analysis.verdict import decide
from bench.wire.metric import Metric

pytestmark = pytest.mark.once

RATIO = Metric("some", "Some metric", "byte", "lower", "ratio", "for a test")
PLANNED = (6, 10, 15, 20, 30)


def crossing(looks: Sequence[int], bound: float) -> float:
    """Chance that the standardised mean of standard normal values is beyond ±bound at any of the looks.

    The density of the sum over the runs that were within the bounds so far, carried from look to look by quadrature
    (Armitage, McPherson and Rowe, J. R. Statist. Soc. A 132, 1969).
    """
    nodes, weights = np.polynomial.legendre.leggauss(128)
    at, mass, before = np.zeros(1), np.ones(1), 0
    for blocks in looks:
        half, step = bound * math.sqrt(blocks), math.sqrt(blocks - before)
        here = half * nodes
        density = np.exp(-0.5 * ((here[:, None] - at) / step) ** 2) @ mass / (step * math.sqrt(2 * math.pi))
        at, mass, before = here, density * half * weights, blocks
    return 1 - float(np.sum(mass))


# Armitage, McPherson and Rowe, table 2: overall level at a nominal one of 0.05.
@pytest.mark.parametrize(("looks", "overall"), [(2, 0.083), (3, 0.107), (4, 0.126), (5, 0.142), (10, 0.193)])
def test_the_oracle_knows_how_often_looking_again_at_5_percent_errs(looks: int, overall: float) -> None:
    assert crossing(range(1, looks + 1), 1.959964) == pytest.approx(overall, abs=6e-4)


# Pocock, Biometrika 64 (1977), table 1: nominal level for an overall one of 0.05, known variance.
@pytest.mark.parametrize(("looks", "level"), [(2, 0.0294), (3, 0.0221), (4, 0.0182), (5, 0.0158), (6, 0.0142)])
def test_even_looks_at_many_blocks_have_the_levels_that_pocock_gives(looks: int, level: float) -> None:
    found = levels(tuple(500 * look for look in range(1, looks + 1)))
    assert found.different == pytest.approx(level, rel=0.02)


@pytest.mark.parametrize("looks", [(300, 500, 750, 1000, 1500), (1000, 1001), (1000, 9000)])
def test_uneven_looks_at_many_blocks_err_as_often_as_the_oracle_says(looks: tuple[int, ...]) -> None:
    found = levels(looks)
    assert crossing(looks, -special.ndtri(found.different / 2)) == pytest.approx(0.05, abs=0.001)
    assert crossing(looks, -special.ndtri(found.equivalent)) == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize("looks", [PLANNED, (3, 4, 5), (2, 20)])
def test_t_tests_at_few_blocks_err_in_5_percent_over_all_looks(looks: tuple[int, ...]) -> None:
    values = np.random.default_rng(5).normal(0, 1, (100_000, looks[-1]))
    t = [np.mean(values[:, :n], axis=1) / (np.std(values[:, :n], axis=1, ddof=1) / math.sqrt(n)) for n in looks]
    above = np.min([special.stdtr(n - 1, -one) for n, one in zip(looks, t, strict=True)], axis=0)
    below = np.min([special.stdtr(n - 1, one) for n, one in zip(looks, t, strict=True)], axis=0)
    found = levels(looks)
    assert float(np.mean(2 * np.minimum(above, below) < found.different)) == pytest.approx(0.05, abs=0.003)
    assert float(np.mean(above < found.equivalent)) == pytest.approx(0.05, abs=0.003)


def test_a_level_lies_between_bonferroni_and_that_of_one_look() -> None:
    for last in (11, 20, 1000):
        assert 0.025 < levels((10, last)).different < 0.05
    assert levels((10, 1000)).different < levels((10, 11)).different
    assert levels((10,)) == ONE_LOOK


@pytest.mark.parametrize("looks", [(), (1, 2), (6, 6), (10, 6)])
def test_looks_that_do_not_rise_are_refused(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising numbers of blocks"):
        levels(looks)


def test_a_stricter_level_widens_the_intervals_and_the_reasons_name_it() -> None:
    a, b = [100.0, 103, 98, 101, 99, 102], [131.0, 133, 128, 130.5, 129, 133.5]
    strict = levels(PLANNED)
    one, five = compare(a, b, RATIO), compare(a, b, RATIO, strict)
    assert five.levels == strict
    assert five.d_low < one.d_low
    assert five.d_low90 < one.d_low90
    assert five.p == one.p
    assert decide(five, RATIO, 0.05, 0.99 * strict.different, 3).why.endswith(f"p below {strict.different:.3g}")
    assert decide(five, RATIO, 0.05, 1.01 * strict.different, 3).word == "undecided"
    same = compare(a, [x * f for x, f in zip(a, (1.001, 0.999, 1, 1, 1, 1), strict=True)], RATIO, Levels(0.01, 0.01))
    assert decide(same, RATIO, 0.05, 1.0, 3).why == "the 98 % interval lies inside the margin"
