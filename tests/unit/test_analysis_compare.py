"""Paired intervals: against scipy's own, and on data that break a t test. Simulated: test_simulation.py."""

from __future__ import annotations

import math
from itertools import combinations_with_replacement

import numpy as np
import pytest
from analysis_boots import CALM, metric
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.analysis.compare import Comparison, compare, hodges_lehmann
from bench.analysis.verdict import WORDS, Verdict, decide, holm
from bench.wire.metrics import Metric

RATIO, HIGHER, PLAIN = metric(), metric(direction="higher"), metric(kind="difference")


def judged(comparison: Comparison, of: Metric, margin: float = 0.05) -> Verdict:
    return decide(comparison, of, margin, comparison.p, 3)


def test_the_interval_of_a_ratio_is_that_of_a_paired_t_test_of_the_logarithms() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.lognormal(5, 0.3, 9), rng.lognormal(5.1, 0.3, 9)
    oracle = stats.ttest_rel(np.log(b), np.log(a))
    inner = oracle.confidence_interval(0.95)
    found = compare(a.tolist(), b.tolist(), RATIO)
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.low, found.high) == pytest.approx((math.exp(inner.low), math.exp(inner.high)))
    assert found.effect == pytest.approx(stats.gmean(b) / stats.gmean(a))


def test_the_interval_of_a_difference_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(0, 5, 6), rng.normal(3, 5, 6)
    oracle = stats.ttest_rel(b, a)
    inner, narrow = oracle.confidence_interval(0.95), oracle.confidence_interval(0.90)
    found = compare(a.tolist(), b.tolist(), PLAIN)
    assert (found.d_low90, found.d_high90) == pytest.approx((narrow.low, narrow.high))
    assert (found.p, found.low, found.high) == pytest.approx((oracle.pvalue, inner.low, inner.high))
    assert found.effect == pytest.approx(b.mean() - a.mean())


def test_the_effect_is_arm_over_reference_and_more_is_worse_only_where_lower_is_better() -> None:
    a, b = [100.0, 101.0, 99.0, 100.5], [50.0, 51.0, 49.5, 50.0]
    lower, higher = compare(a, b, RATIO), compare(a, b, HIGHER)
    assert lower.effect == higher.effect == pytest.approx(0.5, rel=0.01)
    assert lower.d == pytest.approx(-higher.d)
    assert lower.d < 0
    assert judged(lower, RATIO).word == "better"
    assert judged(higher, HIGHER).word == "worse"


def test_the_interval_holds_the_effect_and_the_90_percent_one_lies_inside_it() -> None:
    found = compare([10, 11, 12, 9], [12, 13, 12, 11], HIGHER)
    assert found.low is not None
    assert found.high is not None
    assert found.effect is not None
    assert found.low < found.effect < found.high
    assert found.d_low < found.d_low90 < found.d < found.d_high90 < found.d_high


def test_a_host_that_drifts_does_not_widen_the_paired_interval() -> None:
    drift = np.linspace(1, 2, 8)
    a, b = 100 * drift, 90 * drift * np.array([1.01, 0.99, 1, 1.01, 0.99, 1, 1.005, 0.995])
    found = compare(a.tolist(), b.tolist(), RATIO)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.02


def test_only_blocks_with_both_values_count() -> None:
    a: list[float | None] = [10.0, None, 11.0, 12.0, 10.0]
    b: list[float | None] = [20.0, 21.0, None, 23.0, 21.0]
    assert compare(a, b, RATIO) == compare([10.0, 12.0, 10.0], [20.0, 23.0, 21.0], RATIO)
    assert compare([10.0, 12.0, 10.0, 9.0], [20.0, 23.0, 21.0], RATIO).n == 3


def test_hodges_lehmann_is_the_median_of_all_means_of_two() -> None:
    d = [3.0, -1.0, 7.0, 4.5, 100.0]
    by_hand = np.median([(x + y) / 2 for x, y in combinations_with_replacement(d, 2)])
    assert hodges_lehmann(np.array(d)) == pytest.approx(float(by_hand))
    found = compare([1.0, 1.0, 1.0, 1.0, 1.0], [1 + x for x in d], PLAIN)
    assert found.hodges_lehmann == pytest.approx(float(by_hand))


def test_the_same_value_everywhere_is_equivalent_in_every_kind() -> None:
    for kind in ("ratio", "difference", "exact"):
        of = metric(kind=kind)
        found = compare([5.0] * 4, [5.0] * 4, of)
        assert judged(found, of) == Verdict("equivalent", "the same value in every block")
        assert found.effect == (1.0 if kind == "ratio" else 0.0)
    assert judged(compare([0.0] * 3, [0.0] * 3, PLAIN), PLAIN).word == "equivalent"


@pytest.mark.parametrize(("kind", "b"), [("ratio", [20.0, 22.0, 18.0]), ("difference", [15.0, 16.0, 14.0])])
def test_a_constant_difference_without_a_resolution_has_no_interval_and_is_undecided(kind: str, b: list[float]) -> None:
    of = metric(kind=kind)
    found = compare([10.0, 11.0, 9.0], b, of)
    assert found.constant
    assert (found.p, found.low, found.high) == (None, None, None)
    assert judged(found, of).word == "undecided"


def test_a_constant_difference_with_a_resolution_has_an_interval_as_wide_as_that_allows() -> None:
    of = metric(kind="difference", resolution=1.0)
    clear, unclear = compare([10.0] * 3, [60.0] * 3, of), compare([10.0] * 3, [11.0] * 3, of)
    half = stats.t.ppf(0.975, 2) / math.sqrt(6)
    assert (clear.low, clear.high) == pytest.approx((50 - half, 50 + half))
    assert decide(clear, of, 8, clear.p, 3).word == "worse"
    assert decide(unclear, of, 0.5, unclear.p, 3).word == "undecided"


def test_the_resolution_of_a_ratio_is_relative_to_the_smaller_arm() -> None:
    of = metric(resolution=5.0)
    found = compare([1000.0] * 3, [100.0] * 3, of)
    half = stats.t.ppf(0.975, 2) * (5.0 / 100.0) / math.sqrt(6)
    assert found.d_high - found.d == pytest.approx(half)


def test_more_blocks_do_not_make_rounding_smaller() -> None:
    of = metric(kind="difference", resolution=1.0)
    many = compare([10.0] * 100, [10.0, 11.0] * 50, of)
    assert many.low is not None
    assert many.high is not None
    assert many.high - many.low > 1.0


def test_an_exact_metric_that_differs_is_never_called_better_or_worse() -> None:
    of = metric(kind="exact")
    assert judged(compare([9.0] * 4, [9.0, 9.0, 9.0, 10.0], of), of).word == "undecided"


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ([1.0, 2.0, 0.0], [1.0, 2.0, 3.0], "above zero"),
        ([1.0, 2.0, 3.0], [1.0, -2.0, 3.0], "above zero"),
        ([1.0, 2.0, math.nan], [1.0, 2.0, 3.0], "not finite"),
        ([1.0, 2.0, 3.0], [1.0, math.inf, 3.0], "not finite"),
        ([None, None], [1.0, 2.0], "no block"),
        ([], [], "no block"),
        ([1.0, 2.0], [1.0, 2.5], "2 of at least 3"),
        ([1.0], [2.0], "1 of at least 3"),
    ],
)
def test_data_that_cannot_be_compared_are_invalid_and_say_why(
    a: list[float | None], b: list[float | None], why: str
) -> None:
    verdict = judged(compare(a, b, RATIO), RATIO)
    assert verdict.word == "invalid"
    assert why in verdict.why


numbers = st.one_of(
    st.none(), st.just(0.0), st.floats(), st.floats(1, 100), st.sampled_from([1.0, 5e-324, 1e308, -1e308])
)
metrics = st.builds(
    metric,
    kind=st.sampled_from(["ratio", "difference", "exact"]),
    direction=st.sampled_from(["lower", "higher", "none"]),
    resolution=st.sampled_from([0.0, 1e-9, 1.0]),
)


@CALM
@given(st.lists(numbers, max_size=12), st.lists(numbers, max_size=12), metrics, st.floats(0, 10), st.integers(0, 5))
def test_any_data_have_a_verdict_and_only_finite_figures(
    a: list[float | None], b: list[float | None], of: Metric, margin: float, least: int
) -> None:
    found = compare(a, b, of)
    word = decide(found, of, margin, holm([found.p])[0], least).word
    assert word in WORDS
    shown = (found.effect, found.low, found.high, found.hodges_lehmann, found.p)
    assert all(value is None or not math.isnan(value) for value in shown)
    known = [pair for pair in zip(a, b, strict=False) if None not in pair]
    broken = any(value is not None and not math.isfinite(value) for pair in known for value in pair)
    if broken or len(known) < max(1, least):
        assert word == "invalid"


@CALM
@given(
    st.integers(1, 12),
    st.floats(1, 1e6),
    st.floats(-0.9, 1e6),
    st.sampled_from(["ratio", "difference"]),
    st.floats(0, 0.5),
)
def test_a_constant_difference_is_never_significant(n: int, a: float, step: float, kind: str, margin: float) -> None:
    of = metric(kind=kind)
    found = compare([a] * n, [a + step] * n, of)
    assert judged(found, of, margin).word not in ("better", "worse")
