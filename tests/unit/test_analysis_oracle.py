"""Verdicts against statsmodels, an implementation that is not ours; and data that must never be called significant."""

from __future__ import annotations

import math

import numpy as np
import pytest
from analysis_boots import CALM, metric
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_paired

from bench.analysis.compare import Comparison, compare
from bench.analysis.series import FloatArray
from bench.analysis.verdict import Verdict, decide, holm
from bench.wire.metrics import Metric

pytestmark = pytest.mark.once

RATIO, PLAIN, HIGHER = metric(), metric(kind="difference"), metric(direction="higher")
# 30 % worse, with little noise: as clear as anything can be.
CLEAR = [100.0, 103.0, 98.0, 101.0, 99.0, 102.0]
WORSE = [131.0, 133.0, 128.0, 130.5, 129.0, 133.5]


def plain_word(verdict: Verdict) -> str:
    """The word before the robust estimate was asked, which statsmodels has no counterpart of."""
    return verdict.why.removeprefix("would be ").split(",")[0] if verdict.capped else verdict.word


def family(
    seed: int, size: int, n: int, sd: float, shift: float, of: Metric
) -> tuple[FloatArray, FloatArray, list[Comparison]]:
    """Two arms on the scale of d, (size, n) each, with effects between none and `shift`; and their comparisons."""
    rng = np.random.default_rng(seed)
    a = rng.normal(3, 0.5, (size, n))
    b = a + rng.uniform(0, 1, (size, 1)) * shift + rng.normal(0, sd, (size, n))
    measured = (np.exp(a), np.exp(b)) if of.kind == "ratio" else (a, b)
    return a, b, [compare(x.tolist(), y.tolist(), of) for x, y in zip(*measured, strict=True)]


def oracle(a: FloatArray, b: FloatArray, m: float, significant: bool) -> str:
    """The rule of docs/method.md, with more as worse, from the figures of statsmodels."""
    if ttost_paired(b, a, -m, m)[0] < 0.05:
        return "equivalent"
    d = DescrStatsW(b - a)
    low, high = d.tconfint_mean(0.05)
    if significant and abs(d.mean) >= m and (low > 0 or high < 0):
        return "worse" if d.mean > 0 else "better"
    return "undecided"


@CALM
@given(
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(3, 20),
    st.floats(0.001, 0.2),
    st.floats(-0.3, 0.3),
    st.floats(0.01, 0.3),
    st.sampled_from([RATIO, PLAIN]),
)
def test_every_word_of_a_family_is_that_of_the_paired_tost_the_t_interval_and_holm_of_statsmodels(
    seed: int, size: int, n: int, sd: float, shift: float, margin: float, of: Metric
) -> None:
    a, b, found = family(seed, size, n, sd, shift, of)
    p_holm = holm([one.p for one in found])
    significant, adjusted, *_ = multipletests([DescrStatsW(d).ttest_mean(0)[1] for d in b - a], method="holm")
    assert p_holm == pytest.approx(adjusted.tolist())
    m = math.log1p(margin) if of.kind == "ratio" else margin
    words = [plain_word(decide(one, of, margin, p, 3)) for one, p in zip(found, p_holm, strict=True)]
    assert words == [oracle(x, y, m, bool(s)) for x, y, s in zip(a, b, significant, strict=True)]


def test_random_families_reach_every_word_that_a_test_of_significance_can_give() -> None:
    reached = set()
    for seed, shift in ((1, 0.3), (2, -0.3)):
        _, _, found = family(seed, 12, 8, 0.03, shift, RATIO)
        p_holm = holm([one.p for one in found])
        reached |= {plain_word(decide(one, RATIO, 0.05, p, 3)) for one, p in zip(found, p_holm, strict=True)}
    assert reached == {"equivalent", "worse", "better", "undecided"}


@CALM
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_that_of_statsmodels_with_ties_zeros_and_ones(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def word(a: list[float | None], b: list[float | None], of: Metric = RATIO, least: int = 3) -> str:
    found = compare(a, b, of)
    return decide(found, of, 0.05, holm([found.p, 0.5])[0], least).word


def test_the_data_that_are_spoilt_below_are_significant() -> None:
    assert (word([*CLEAR], [*WORSE]), word([*CLEAR], [*WORSE], HIGHER)) == ("worse", "better")


@CALM
@given(
    st.integers(0, 1),
    st.integers(0, 5),
    st.sampled_from([0.0, -0.0, -1.0, math.nan, math.inf, -math.inf]),
    st.sampled_from([RATIO, HIGHER, PLAIN]),
)
def test_one_value_that_is_none_makes_clear_data_invalid(side: int, at: int, spoilt: float, of: Metric) -> None:
    arms: list[list[float | None]] = [[*CLEAR], [*WORSE]]
    arms[side][at] = spoilt
    expected = {"invalid"} if of.kind == "ratio" or not math.isfinite(spoilt) else {"worse", "undecided"}
    assert word(arms[0], arms[1], of) in expected


@CALM
@given(st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)), st.integers(0, 6), st.integers(0, 6))
def test_unequal_blocks_are_judged_by_those_that_both_arms_have(
    lost: set[int], gone: set[int], len_a: int, len_b: int
) -> None:
    a = [None if i in lost else value for i, value in enumerate(CLEAR)][:len_a]
    b = [None if i in gone else value for i, value in enumerate(WORSE)][:len_b]
    both = [i for i in range(min(len_a, len_b)) if i not in lost | gone]
    alone = compare([CLEAR[i] for i in both], [WORSE[i] for i in both], RATIO)
    # As texts: without a block there are NaNs, which are equal to nothing.
    assert str(compare(a, b, RATIO)) == str(alone)
    assert (word(a, b) == "invalid") == (len(both) < 3)


@CALM
@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.sampled_from([RATIO, HIGHER, PLAIN]))
def test_one_block_is_never_significant_whatever_is_asked_for(a: float, b: float, of: Metric) -> None:
    assert word([a], [b], of) == "invalid"
    assert word([a], [b], of, least=1) in {"invalid", "undecided", "equivalent"}
    assert (word([a], [b], of, least=1) == "equivalent") == (a == b)


@CALM
@given(
    st.lists(st.floats(1e-3, 1e9), min_size=3, max_size=12),
    st.one_of(st.floats(1e-3, 0.99), st.floats(1.01, 1e3)),
    st.sampled_from([RATIO, HIGHER]),
)
def test_a_constant_ratio_of_values_that_vary_is_never_significant(
    values: list[float], factor: float, of: Metric
) -> None:
    assert word([*values], [value * factor for value in values], of) == "undecided"


@CALM
@given(
    st.lists(st.integers(0, 2**40), min_size=3, max_size=12),
    st.one_of(st.integers(1, 2**40), st.integers(-(2**40), -1)),
)
def test_a_constant_difference_of_values_that_vary_is_never_significant(values: list[int], step: int) -> None:
    assert word([*values], [value + step for value in values], PLAIN) == "undecided"


@pytest.mark.parametrize("kind", ["ratio", "difference", "exact"])
def test_zeros_in_both_arms_are_the_same_or_no_ratio(kind: str) -> None:
    assert word([0.0] * 6, [0.0] * 6, metric(kind=kind)) == ("invalid" if kind == "ratio" else "equivalent")
