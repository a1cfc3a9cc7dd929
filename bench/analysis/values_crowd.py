"""How the metrics of several guests in one group are read. docs/metrics.md has the definitions."""

from __future__ import annotations

import statistics

import numpy as np

from bench.analysis.doubts import Doubt
from bench.analysis.members import HOST_PAGE_BYTES, each_guest, risen
from bench.analysis.series import NO_CURVE, Curve
from bench.analysis.values import NO_COUNTER, Boot, How, Iteration, Missing, number
from bench.wire.units import GIB


def density_doubts(boot: Boot) -> list[Doubt]:
    """A search that ended because there were no more guests to start."""
    guests = boot.get("guests") or []
    answers = [_answer(about, "full") for about in guests]
    if not guests or not all(answer and answer.get("full") is False for answer in answers):
        return []
    return [Doubt("density-capped", f"all {len(guests)} guests fit: there may be room for more (guests)")]


def _answer(about: Boot, phase: str) -> dict[str, object] | None:
    found = [item for item in about.get("phases") or [] if item.get("name") == phase]
    return dict(found[0].get("result") or {}) if found else None


def _span(it: Iteration) -> tuple[float, float]:
    """From the first touch until all have settled."""
    guests = each_guest(it)
    return min(guest.moment("touch", "start_s") for guest in guests), max(
        guest.moment("settle", "end_s") for guest in guests
    )


def _risen(it: Iteration, name: str) -> float:
    return risen(it, name, *_span(it))


def _charged(it: Iteration) -> Curve:
    """Memory and swap of the group, at the moments of either."""
    both = it.curves.get("cgroup.current_and_swap_bytes", NO_CURVE)
    if len(both):
        return both
    memory, swap = (it.curves.get(f"cgroup.{name}", NO_CURVE) for name in ("current_bytes", "swap_bytes"))
    if len(memory) == 0 or len(swap) == 0:
        raise Missing(NO_COUNTER)
    t = np.union1d(memory.t, swap.t)
    t = t[t >= max(memory.t[0], swap.t[0])]
    index = [np.searchsorted(curve.t, t, side="right") - 1 for curve in (memory, swap)]
    return Curve(t, memory.v[index[0]] + swap.v[index[1]])


def _steps(it: Iteration) -> tuple[Curve, float, float]:
    """The charge in the span, with a value at either end."""
    start, end = _span(it)
    curve = _charged(it)
    first, last = curve.at(start), curve.at(end)
    if first is None or last is None:
        raise Missing("the group was not sampled from the first touch on")
    inside = curve.between(start, end)
    edges = Curve(np.concatenate(([start], inside.t, [end])), np.concatenate(([first], inside.v, [last])))
    return edges, start, end


def _peak(it: Iteration) -> float:
    return float(_steps(it)[0].v.max())


def _mean(it: Iteration) -> float:
    curve, start, end = _steps(it)
    area = curve.integral(start, end)
    if area is None or end <= start:
        raise Missing("the group was not sampled from the first touch on")
    return area / (end - start)


def _end(it: Iteration) -> float:
    return float(_steps(it)[0].v[-1])


def _touches(it: Iteration) -> list[float]:
    return [guest.result("touch", "ns") / 1e9 / (guest.result("touch", "bytes") / GIB) for guest in each_guest(it)]


def _major_faults(it: Iteration) -> float:
    start, end = _span(it)
    total = 0.0
    for guest in each_guest(it):
        curve = guest.curves.get("qemu.major_faults", NO_CURVE)
        last = curve.at(end)
        if last is None:
            raise Missing(NO_COUNTER)
        # One that was started later had none before.
        total += last - (curve.at(start) or 0.0)
    return total


def _stalled(kind: str) -> How:
    def value(it: Iteration) -> float:
        name = f"cgroup.pressure_{kind}_us"
        return _risen(it, name if name in it.curves else f"psi.memory_{kind}_us") / 1e6

    return value


def _fitting(it: Iteration) -> float:
    count = 0
    for guest in each_guest(it):
        full = guest.phase("full").get("result", {}).get("full")
        if number(guest.result("full", "out_bytes")) is None or not isinstance(full, bool):
            raise Missing("phase full answered nothing")
        if full:
            break
        count += 1
    return float(count)


_SWAP: dict[str, How] = {
    "swapped_out_bytes": lambda it: _risen(it, "vmstat.pswpout") * HOST_PAGE_BYTES,
    "swapped_in_bytes": lambda it: _risen(it, "vmstat.pswpin") * HOST_PAGE_BYTES,
    "group_peak_bytes": _peak,
}
CROWD: dict[str, How] = {
    **_SWAP,
    "group_mean_bytes": _mean,
    "group_end_bytes": _end,
    "crowd_touch_s_per_gib": lambda it: statistics.median(_touches(it)),
    "crowd_touch_max_s_per_gib": lambda it: max(_touches(it)),
    "crowd_major_faults": _major_faults,
    "pressure_some_s": _stalled("some"),
    "pressure_full_s": _stalled("full"),
}
DENSITY: dict[str, How] = {"density_guests": _fitting, **_SWAP}
