"""How the metrics of `faults` and `refault` are read from phases and curves. docs/metrics.md has the definitions."""

from __future__ import annotations

from collections.abc import Callable

from bench.analysis.members import HOST_PAGE_BYTES
from bench.analysis.series import NO_CURVE
from bench.analysis.values import (
    DISCARD,
    NO_REPORTS,
    NOT_ASKED,
    How,
    Iteration,
    Missing,
    latency,
    mean_resident,
    seconds_per_gib,
)
from bench.wire.metrics_cost import STATES
from bench.wire.units import GIB, show_bytes

# So long an idle time makes the extra cost of wanting the memory again this share of it.
BREAK_EVEN_SHARE = 0.01
SWAP_IN = "vmstat.pswpin"
# So much of what is touched has to be read from swap for the touch to be one of swapped pages. Not all: the guest may
# take other free pages, and the counter is read at ticks.
LEAST_READ_SHARE = 0.8
_KEYS = {"p50": "p50_ns", "p99": "p99_ns", "p999": "p999_ns"}


def _filled(it: Iteration) -> float:
    if "fill" not in it.phases:
        raise Missing(NOT_ASKED)
    value = it.ram().at(it.moment("fill", "end_s"))
    if value is None:
        raise Missing("no sample before the end of the fill")
    return value


def _asked(name: str, value: Callable[[Iteration], float]) -> Callable[[Iteration], float]:
    """The touch of one state; pages are swapped out only where plan and host allow it."""

    def of(it: Iteration) -> float:
        if name == "swapped":
            if "pageout" not in it.phases:
                raise Missing(NOT_ASKED)
            skipped = it.phase("pageout").get("result", {}).get("skipped")
            if skipped:
                raise Missing(f"nothing was swapped out: {skipped}")
            _check_read_back(it)
        return value(it)

    return of


def _check_read_back(it: Iteration) -> None:
    """Raises Missing where the touch found pages that the host still had in memory: those cost no swap-in at all."""
    curve, start, end = it.curves.get(SWAP_IN, NO_CURVE), it.moment("swapped", "start_s"), it.moment("swapped", "end_s")
    before, after = curve.at(start), curve.at(end)
    if before is None or after is None:
        raise Missing(f"the series has no {SWAP_IN}")
    read, touched = (after - before) * HOST_PAGE_BYTES, it.result("swapped", "bytes")
    if read < LEAST_READ_SHARE * touched:
        discarded = float(it.curves.get(DISCARD, NO_CURVE).between(start, end).v.sum())
        raise Missing(
            f"{show_bytes(read)} of {show_bytes(touched)} were read from swap, {show_bytes(discarded)} discarded "
            "meanwhile: the guest took other free memory for the rest, or the host still had it in memory"
        )


def _cost(state: str) -> Callable[[Iteration], float]:
    return _asked(state, seconds_per_gib(state))


def _kept_discarded(it: Iteration) -> float:
    it.ram()  # without residency nothing was sampled
    seen = it.curves.get(DISCARD, NO_CURVE).between(it.moment("free-kept", "start_s"), it.moment("kept", "end_s"))
    freed = it.result("free-kept", "bytes")
    if freed <= 0:
        raise Missing("nothing was freed")
    return float(seen.v.sum()) / freed


def _dearer(it: Iteration) -> float:
    """Seconds per GiB that a reported page costs more than a kept one."""
    if not it.boot.get("must_discard"):
        raise Missing(NO_REPORTS)
    return _cost("reported")(it) - _cost("kept")(it)


def _break_even(it: Iteration) -> float:
    extra = _dearer(it) * it.result("reported", "bytes") / GIB
    if extra <= 0:
        raise Missing("touching what was reported cost nothing more")
    return extra / BREAK_EVEN_SHARE


def _break_even_swap(it: Iteration) -> float:
    reported = _dearer(it)
    swapped = _cost("swapped")(it) - _cost("kept")(it)
    if swapped <= 0:
        raise Missing("touching what was swapped out cost nothing more")
    return reported / swapped


_CHURNS, _VERIFIED = ("churn-under", "churn-over"), ("verify-under", "verify")


FAULTS: dict[str, How] = {
    "faults_per_s": lambda it: it.result("faults", "per_second"),
    "filled_resident_bytes": _filled,
    "working_resident_bytes": lambda it: mean_resident(it, "faults"),
}
REFAULT: dict[str, How] = {
    **{f"{state}_s_per_gib": _cost(state) for state in STATES},
    **{f"{state}_{name}_s": _asked(state, latency(state, key)) for state in STATES for name, key in _KEYS.items()},
    "kept_discarded_share": _kept_discarded,
    "break_even_s": _break_even,
    "break_even_swap_share": _break_even_swap,
}
INTEGRITY: dict[str, How] = {
    "verified_bytes": lambda it: sum(it.result(name, "bytes") for name in (*_CHURNS, *_VERIFIED)),
    "churn_cycles": lambda it: sum(it.result(name, "cycles") for name in _CHURNS),
}
