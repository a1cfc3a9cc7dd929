"""Two clusters, drift and order: found where they are, rarely where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bench.analysis.doubts import depends_on, is_clear, two_clusters


@pytest.mark.parametrize("n", [6, 8, 10, 15, 30])
def test_two_clusters_are_rarely_seen_in_normal_data_and_mostly_seen_in_two_groups(n: int) -> None:
    rng = np.random.default_rng(n)
    false = sum(two_clusters(rng.normal(0, 1, n).tolist()) is not None for _ in range(1000))
    half = n // 2
    groups = [np.concatenate([rng.normal(0, 1, half), rng.normal(8, 1, n - half)]) for _ in range(200)]
    true = sum(two_clusters(group.tolist()) is not None for group in groups)
    assert false <= 25, f"{false} of 1000"
    assert true >= 100, f"{true} of 200"


def test_two_clusters_are_given_back_whole() -> None:
    assert two_clusters([10, 1, 11, 2, 12, 1.5]) == ([1, 1.5, 2], [10, 11, 12])


def test_one_stray_value_is_no_second_cluster_and_few_values_are_none() -> None:
    assert two_clusters([1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 99]) is None
    assert two_clusters([1, 1, 9, 9]) is None
    assert two_clusters([3.0] * 8) is None


def test_a_trend_is_clear_and_its_absence_is_not() -> None:
    rng = np.random.default_rng(5)
    x = np.arange(12.0)
    assert is_clear(depends_on((x + rng.normal(0, 0.5, 12)).tolist(), x.tolist()))
    assert not is_clear(depends_on(rng.normal(0, 1, 12).tolist(), x.tolist()))


@given(
    st.lists(st.tuples(st.integers(-1000, 1000), st.integers(0, 20)), min_size=6, max_size=30),
    st.sampled_from([1e-9, 1.0, 4096.0]),
)
def test_the_p_of_a_line_is_that_of_scipy(pairs: list[tuple[int, int]], unit: float) -> None:
    values, position = [v * unit for v, _ in pairs], [float(x) for _, x in pairs]
    assume(len(set(values)) > 1 and len(set(position)) > 1)
    theirs = float(stats.linregress(position, values).pvalue)
    # r of a perfect line is 1 or next to it, by rounding: p is 0 or next to it.
    assert depends_on(values, position) == pytest.approx(theirs, rel=1e-6, abs=1e-12)


def test_what_cannot_be_told_is_none_and_never_clear() -> None:
    assert depends_on([1, 2, 3], [1, 2, 3]) is None
    assert depends_on([5.0] * 8, list(range(8))) is None
    assert depends_on([1.0, 2, 3, 4, 5, 6], [1] * 6) is None
    assert not is_clear(None)
