"""How the metrics of `cache` are read from phases and curves. docs/metrics.md has the definitions."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench.analysis.values import (
    LEAST_RETURNED_BYTES,
    LEAST_RETURNED_SHARE,
    LITTLE,
    PLATEAU_SHARE,
    How,
    Iteration,
    Missing,
    latency,
    number,
    seconds_per_gib,
)

_LATENCIES = {"p50": "wait_p50_ns", "p99": "wait_p99_ns", "p999": "wait_p999_ns"}
# A reader that did fewer of its reads was not the user that the window is meant to have.
LEAST_READS_SHARE = 0.9


def _window(it: Iteration) -> tuple[float, float]:
    """The plan's fixed window from when the reader begins: the same length for every arm, whatever comes first."""
    length = number(it.boot.get("window_s"))
    if length is None:
        raise Missing("the boot has no window_s")
    start = it.moment("reader", "start_s")
    if it.moment("window", "end_s") < start + length:
        raise Missing(f"phase window ended before {length:g} s were over")
    return start, start + length


def _footprint(it: Iteration) -> float:
    start, end = _window(it)
    area = it.ram().integral(start, end)
    if area is None:
        raise Missing("the series does not cover the window")
    return area


def _before(it: Iteration) -> float:
    value = it.ram().at(_window(it)[0])
    if value is None:
        raise Missing("no sample before the window")
    return value


def _resident(it: Iteration) -> float:
    start, end = _window(it)
    last = it.ram().between(end - PLATEAU_SHARE * (end - start), end)
    if len(last) == 0:
        raise Missing("no sample in the last fifth of the window")
    return statistics.median(float(value) for value in last.v)


def _returned(it: Iteration) -> float:
    return _before(it) - _resident(it)


def _t50(it: Iteration) -> float:
    back, start, end = _returned(it), *_window(it)
    if back < max(LEAST_RETURNED_BYTES, LEAST_RETURNED_SHARE * it.result("read", "bytes")):
        raise Missing(LITTLE)
    curve = it.ram().between(start, end)
    reached = curve.t[curve.v <= _before(it) - back / 2]
    if len(reached) == 0:
        raise Missing("the level was not reached")
    return float(reached[0]) - start


def _unreturned(it: Iteration) -> float:
    given_up = it.result("snapshot-read", "buffers_bytes") - it.result("snapshot", "buffers_bytes")
    return given_up - _returned(it)


def _reader(key: str) -> Callable[[Iteration], float]:
    value = latency("reader-end", key)

    def of(it: Iteration) -> float:
        reads, due = it.result("reader-end", "reads"), it.result("reader-end", "due")
        if reads < LEAST_READS_SHARE * due:
            raise Missing(f"the reader did {reads:.0f} of {due:.0f} reads: it could not keep its pace")
        return value(it)

    return of


def _share_from_disk(phase: str) -> Callable[[Iteration], float]:
    return lambda it: it.result(phase, "disk_bytes") / it.result(phase, "bytes")


CACHE: dict[str, How] = {
    "cache_footprint_byte_s": _footprint,
    "cache_resident_bytes": _resident,
    "cache_returned_bytes": _returned,
    "cache_returned_share": lambda it: _returned(it) / it.result("read", "bytes"),
    "cache_t50_s": _t50,
    "cache_kept_bytes": lambda it: it.result("snapshot", "buffers_bytes"),
    "cache_unreturned_bytes": _unreturned,
    "cache_reread_bytes": lambda it: it.result("reader-end", "disk_bytes"),
    "cache_refaults": lambda it: it.result("reader-end", "refault_pages"),
    **{f"reader_{name}_s": _reader(key) for name, key in _LATENCIES.items()},
    "cold_s_per_gib": seconds_per_gib("read"),
    "warm_hot_s_per_gib": seconds_per_gib("reread-hot"),
    "warm_hot_disk_share": _share_from_disk("reread-hot"),
    "warm_s_per_gib": seconds_per_gib("reread"),
    "warm_disk_share": _share_from_disk("reread"),
}
