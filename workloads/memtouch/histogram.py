"""Page latencies in log-linear buckets of fixed memory (34 KiB), with a known error."""

from __future__ import annotations

import math
from typing import Any

from workloads.memtouch._memtouch import ffi, lib

#: A reported quantile q and the true one v satisfy v <= q <= v * (1 + RELATIVE_ERROR); below 256 ns they are equal.
RELATIVE_ERROR = 1 / 128

BUCKETS = int(lib.MT_BUCKETS)


class Histogram:
    """Counts of latencies in ns. 128 buckets a power of two, as in HdrHistogram; `max_ns` is exact.

    The error bound holds from 0 ns to 2**40 - 1 ns (18 minutes); what is greater is counted in the last bucket.
    """

    def __init__(self) -> None:
        self._counts: Any = ffi.new("uint64_t[]", BUCKETS)
        self.max_ns = 0

    @property
    def counts_pointer(self) -> Any:
        """The uint64_t[BUCKETS] that C adds to; valid as long as this object lives."""
        return self._counts

    @property
    def count(self) -> int:
        """How many latencies were recorded."""
        return sum(self._counts)

    def record(self, ns: int) -> None:
        """Add one latency, as C does for each page."""
        self._counts[lib.mt_bucket(ns)] += 1
        self.max_ns = max(self.max_ns, ns)

    def buckets(self) -> list[tuple[int, int]]:
        """(upper bound in ns, count) of each bucket that is not empty, ascending; the bound is inclusive."""
        return [(int(lib.mt_bucket_upper(i)), count) for i, count in enumerate(self._counts) if count]

    def quantile(self, q: float) -> int:
        """The nearest-rank quantile in ns, rounded up to its bucket's upper bound but never above `max_ns`.

        Nearest rank: the smallest value with at least ceil(q * count) values at or below it. ValueError when q is not
        in 0..1 or nothing was recorded.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q: {q} is not a quantile: give a number from 0 to 1")
        buckets = self.buckets()
        if not buckets:
            raise ValueError("the histogram is empty: no quantile")
        rank = max(1, math.ceil(q * sum(count for _, count in buckets)))
        seen = 0
        for upper, count in buckets[:-1]:
            seen += count
            if seen >= rank:
                return upper
        return self.max_ns  # it is in the last bucket that is not empty


def bucket_bounds(ns: int) -> tuple[int, int]:
    """The inclusive (lower, upper) bounds in ns of the bucket that `ns` is counted in."""
    bucket = lib.mt_bucket(ns)
    return int(lib.mt_bucket_lower(bucket)), int(lib.mt_bucket_upper(bucket))
