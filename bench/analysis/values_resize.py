"""How the metrics of `resize` are read from phases and curves. docs/metrics.md has the definitions."""

from __future__ import annotations

from bench.analysis.values import (
    LEAST_RETURNED_BYTES,
    LEAST_RETURNED_SHARE,
    LITTLE,
    NO_GIVE,
    NOT_ASKED,
    How,
    Iteration,
    Missing,
    number,
    plateau,
)
from bench.analysis.values_jitter import AGAIN, PROBE

# As t90_s: the last pages that come late would make every speed one of waiting for them.
MOST_SHARE = 0.9
# The moment is late by up to one of them.
LEAST_SAMPLES = 3


def _wanted(it: Iteration) -> tuple[float, float]:
    """When the host wanted the memory, in s, and the residency then."""
    start = it.moment("ask", "start_s")
    value = it.ram().at(start)
    if value is None:
        raise Missing("no sample before the host wanted the memory")
    return start, value


def _shrunk(it: Iteration) -> float:
    return _wanted(it)[1] - plateau(it)


def _spare(it: Iteration) -> float:
    """Bytes that the guest could do without."""
    spare = it.result("read" if "read" in it.phases else "free", "bytes")
    if spare <= 0:
        raise Missing("the guest had nothing that it could do without")
    return spare


def _shrink_touched(it: Iteration) -> float:
    (start, before), back = _wanted(it), _shrunk(it)
    if back < max(LEAST_RETURNED_BYTES, LEAST_RETURNED_SHARE * _spare(it)):
        raise Missing(LITTLE)
    curve = it.ram().between(start, it.moment("settle", "end_s"))
    reached = curve.t[curve.v <= before - MOST_SHARE * back]
    if len(reached) == 0:
        raise Missing("the level was not reached")
    hz = number((it.boot.get("sampler") or {}).get("hz"))
    passed = float(reached[0]) - start
    if hz and passed < LEAST_SAMPLES / hz:
        raise Missing(f"it left within {passed:.3f} s, too few samples for a speed: sample_hz {hz:g} is too low")
    return MOST_SHARE * back / passed


def _told(it: Iteration, asked: str, answered: str) -> float:
    """Bytes a second of a target: what was reached by phase `asked`, over the time of phase `answered`."""
    if not it.boot.get("give"):
        raise Missing(NO_GIVE)
    if asked not in it.phases and asked == "give-untouched":
        raise Missing(NOT_ASKED)
    reached, ns = it.result(asked, "reached_bytes"), it.result(answered, "ns")
    if reached <= 0 or ns <= 0:
        raise Missing("the guest gave nothing up")
    return reached / (ns / 1e9)


def _grow_touch(it: Iteration) -> float:
    start = it.moment("grow" if "grow" in it.phases else "map-again", "start_s")
    return it.result("again", "bytes") / (it.moment("again", "end_s") - start)


RESIZE: dict[str, How] = {
    **PROBE,
    **AGAIN,
    "shrink_touched_bytes_per_s": _shrink_touched,
    "shrink_untouched_bytes_per_s": lambda it: _told(it, "give-untouched", "give-untouched"),
    "grow_bytes_per_s": lambda it: _told(it, "give", "grow"),
    "grow_touch_bytes_per_s": _grow_touch,
    "shrunk_bytes": _shrunk,
    "shrunk_share": lambda it: _shrunk(it) / _spare(it),
}
