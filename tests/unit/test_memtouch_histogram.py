"""The histogram's buckets, its stated error, and what a touch puts into it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads import memtouch
from workloads.memtouch import _memtouch
from workloads.memtouch.histogram import BUCKETS, RELATIVE_ERROR, Histogram, bucket_bounds

lib = _memtouch.lib
COVERED = 2**40 - 1
# Evenly over the powers of two, so that small and great values are both tried.
latency = st.integers(0, 39).flatmap(lambda bits: st.integers(0, 2 ** (bits + 1) - 1))


def test_the_buckets_follow_each_other_without_gap_from_zero_to_eighteen_minutes() -> None:
    assert lib.mt_bucket_lower(0) == 0
    assert all(lib.mt_bucket_upper(i) + 1 == lib.mt_bucket_lower(i + 1) for i in range(BUCKETS - 1))
    assert lib.mt_bucket_upper(BUCKETS - 1) == COVERED
    assert COVERED > 100 * 10**9


@settings(deadline=None)
@given(latency)
def test_a_value_is_in_its_bucket_and_the_upper_bound_is_within_the_stated_error(ns: int) -> None:
    lower, upper = bucket_bounds(ns)
    assert lower <= ns <= upper
    assert upper - ns <= RELATIVE_ERROR * ns
    assert RELATIVE_ERROR <= 0.01


@settings(deadline=None)
@given(st.integers(0, 255))
def test_below_256_ns_a_bucket_holds_one_value(ns: int) -> None:
    assert bucket_bounds(ns) == (ns, ns)


@settings(deadline=None)
@given(st.lists(latency, min_size=1, max_size=300), st.floats(0, 1))
def test_a_quantile_is_the_nearest_rank_value_or_above_it_by_the_stated_error(values: list[int], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert exact <= histogram.quantile(q) <= exact * (1 + RELATIVE_ERROR)
    assert histogram.quantile(1) == histogram.max_ns == max(values)
    assert histogram.count == len(values)


def test_a_value_beyond_the_range_is_counted_last_and_its_maximum_is_exact() -> None:
    histogram = Histogram()
    histogram.record(2**50)
    assert histogram.buckets() == [(COVERED, 1)]
    assert histogram.quantile(0.5) == histogram.max_ns == 2**50


def test_an_empty_histogram_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram().quantile(0.5)
    with pytest.raises(ValueError, match="0 to 1"):
        Histogram().quantile(99)


def test_a_touch_adds_one_latency_a_page_and_their_sum_is_its_time() -> None:
    histogram = Histogram()
    with memtouch.map_region(8 << 20, thp="never") as region:
        touched = region.touch("write", histogram)
        assert histogram.count == touched.pages
        assert 0 < histogram.quantile(0.5) <= histogram.quantile(0.99) <= histogram.max_ns <= touched.ns
        total = sum(upper * count for upper, count in histogram.buckets())
        # Pages follow each other without gap: their latencies are the whole time, but for the loop's last clock reading
        # (during which the machine may do something else for a while).
        assert touched.ns * 0.5 <= total <= touched.ns * (1 + RELATIVE_ERROR)
        assert region.verify("word").bad_pages == 0


def test_a_histogram_adds_up_over_touches() -> None:
    histogram = Histogram()
    with memtouch.map_region(1 << 20) as region:
        pages = region.touch("fill", histogram).pages
        first = histogram.max_ns
        region.touch("read", histogram)
        assert histogram.count == 2 * pages
        assert histogram.max_ns >= first


def test_the_cost_of_the_clock_is_not_above_the_fastest_page_of_a_histogram() -> None:
    histogram = Histogram()
    with memtouch.map_region(8 << 20) as region:
        region.touch("write")
        region.touch("write", histogram)
    fastest = histogram.buckets()[0][0]
    # Half as much again: clocks of coarse steps, and a processor that changes its frequency in between.
    assert 0 < memtouch.clock_cost_ns() <= 1.5 * fastest
