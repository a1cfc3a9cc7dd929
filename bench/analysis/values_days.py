"""How the metrics of `days` are read: several guests, each with a day of work. docs/metrics.md has the definitions."""

from __future__ import annotations

import statistics

import numpy as np

from bench.analysis.members import each_guest
from bench.analysis.series import Curve
from bench.analysis.values import How, Iteration, Missing
from bench.analysis.values_footprint import day, work_s


def _span(guests: list[Iteration]) -> tuple[float, float]:
    """From the begin of the first guest's day to the end of the last one's."""
    days = [day(guest) for guest in guests]
    start, end = min(start for start, _ in days), max(end for _, end in days)
    if end <= start:
        raise Missing("the days have no length")
    return start, end


def _sum(it: Iteration) -> tuple[Curve, list[Curve]]:
    """The residency of all guests together at every moment at which one of them was read, and each guest's own."""
    guests = each_guest(it)
    start, end = _span(guests)
    own = [guest.ram() for guest in guests]
    if not all(curve.covers(start, end) for curve in own):
        raise Missing("the series of a guest does not cover the days")
    inside = [curve.between(start, end) for curve in own]
    grid = np.unique(np.concatenate([[start, end], *(curve.t for curve in inside)]))
    total = np.sum([curve.on(grid) for curve in own], axis=0)
    return Curve(grid, total), inside


def _area(it: Iteration) -> tuple[float, float]:
    """Byte-seconds of all guests, and the length in s."""
    guests = each_guest(it)
    start, end = _span(guests)
    areas = [guest.ram().integral(start, end) for guest in guests]
    known = [area for area in areas if area is not None]
    if len(known) < len(areas):
        raise Missing("the series of a guest does not cover the days")
    return sum(known), end - start


def _peak(it: Iteration) -> float:
    return float(_sum(it)[0].v.max())


def _peak_share(it: Iteration) -> float:
    total, own = _sum(it)
    return float(total.v.max()) / sum(float(curve.v.max()) for curve in own)


def _mean(it: Iteration) -> float:
    area, length = _area(it)
    return area / length


DAYS: dict[str, How] = {
    "days_peak_bytes": _peak,
    "days_resident_bytes": _mean,
    "days_footprint_byte_s": lambda it: _area(it)[0],
    "days_peak_share": _peak_share,
    "days_end_bytes": lambda it: float(_sum(it)[0].v[-1]),
    "days_work_s": lambda it: statistics.median(work_s(guest) for guest in each_guest(it)),
}
