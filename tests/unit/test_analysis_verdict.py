"""The verdict words, each reached, in their order; and Holm."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from analysis_boots import CALM, metric
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import Comparison, compare
from bench.analysis.verdict import WORDS, Verdict, decide, default_margin, holm
from bench.wire.metrics import METRICS, Metric

LOWER, HIGHER, NEITHER = metric(), metric(direction="higher"), metric(direction="none")
M = math.log1p(0.05)


def interval(d: float, half95: float, n: int = 10, p: float = 0.001) -> Comparison:
    """A comparison with a 95 % interval d ± half95 and a 90 % one of four fifths of it."""
    return Comparison(
        n=n,
        p=p,
        effect=math.exp(d),
        d=d,
        d_robust=d,
        d_low=d - half95,
        d_high=d + half95,
        d_low90=d - 0.8 * half95,
        d_high90=d + 0.8 * half95,
    )


def word(comparison: Comparison, p_holm: float | None = 0.001, of: Metric = LOWER) -> str:
    return decide(comparison, of, 0.05, p_holm, 3).word


def test_each_word_is_reached_from_plain_data() -> None:
    base = [100.0, 103.0, 98.0, 101.0, 99.0, 102.0]
    noise = [1.01, 0.99, 1.0, 1.005, 0.995, 1.0]
    wild = [1.3, 0.7, 1.2, 0.8, 1.1, 0.9]
    reached = {}
    for name, factors in {
        "equivalent": noise,
        "worse": [1.2 * x for x in noise],
        "better": [0.8 * x for x in noise],
        "undecided": wild,
    }.items():
        found = compare(base, [x * f for x, f in zip(base, factors, strict=True)], LOWER)
        reached[name] = decide(found, LOWER, 0.05, found.p, 3).word
    found = compare(base[:2], base[:2], LOWER)
    reached["invalid"] = decide(found, LOWER, 0.05, found.p, 3).word
    assert reached == {name: name for name in WORDS}


def test_equivalent_is_the_90_percent_interval_inside_the_margin_even_where_zero_is_not_in_it() -> None:
    assert word(interval(0.02, 0.01)) == "equivalent"
    assert word(interval(0.0, M / 0.8 - 1e-9)) == "equivalent"
    assert word(interval(0.0, M / 0.8 + 1e-9)) == "undecided"


def test_a_clear_difference_smaller_than_the_margin_is_neither_better_nor_worse() -> None:
    assert word(interval(0.9 * M, 0.5 * M)) == "undecided"
    assert word(interval(-0.9 * M, 0.5 * M)) == "undecided"
    assert word(interval(1.01 * M, 0.5 * M)) == "worse"
    assert word(interval(-1.01 * M, 0.5 * M)) == "better"


def test_a_difference_that_holm_takes_back_is_undecided() -> None:
    assert word(interval(0.2, 0.1), p_holm=0.049) == "worse"
    assert word(interval(0.2, 0.1), p_holm=0.05) == "undecided"
    assert word(interval(0.2, 0.1), p_holm=None) == "undecided"


def test_a_metric_without_a_direction_can_be_equivalent_but_not_better_or_worse() -> None:
    assert word(interval(0.3, 0.1), of=NEITHER) == "undecided"
    assert word(interval(-0.3, 0.1), of=NEITHER) == "undecided"
    assert word(interval(0.0, 0.01), of=NEITHER) == "equivalent"


@pytest.mark.parametrize(
    ("d", "half", "would"), [(0.2, 0.1, "worse"), (-0.2, 0.1, "better"), (0.0, 0.01, "equivalent")]
)
def test_a_robust_estimate_half_a_margin_away_holds_the_verdict_at_undecided(d: float, half: float, would: str) -> None:
    plain = interval(d, half)
    near, far = (dataclasses.replace(plain, d_robust=d + share * M) for share in (0.49, 0.51))
    assert decide(near, LOWER, 0.05, 0.001, 3).word == would
    held = decide(far, LOWER, 0.05, 0.001, 3)
    assert held == Verdict("undecided", f"would be {would}, but robust estimate and mean disagree", capped=True)


def test_too_few_blocks_come_before_everything_else() -> None:
    assert word(interval(0.3, 0.1, n=2)) == "invalid"
    assert word(Comparison(n=2, identical=True, d=0.0)) == "invalid"


def test_the_margin_of_a_difference_is_in_its_own_unit() -> None:
    of = metric(kind="difference")
    found = compare([0.0, 1.0, 0.0, 1.0], [30.0, 32.0, 29.0, 33.0], of)
    assert decide(found, of, 40.0, found.p, 3).word == "equivalent"
    assert decide(found, of, 20.0, found.p, 3).word == "worse"


def test_every_metric_has_a_margin_that_can_be_reached() -> None:
    for of in METRICS.values():
        assert default_margin(of) > 0, of.name


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_counts_only_tests_that_were_made_and_keeps_the_order() -> None:
    assert holm([None, 0.02, math.nan, 0.01]) == [None, 0.02, None, 0.02]


@CALM
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_never_below_p_never_above_bonferroni_and_keeps_the_ranking(p_values: list[float]) -> None:
    adjusted = [value for value in holm(p_values) if value is not None]
    assert len(adjusted) == len(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert all(adjusted[i] <= adjusted[j] for i, j in itertools.pairwise(order))
