"""What the host went through: time in which its tasks waited for memory, and what was swapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.analysis.envelope import envelope
from bench.analysis.members import HOST_PAGE_BYTES
from bench.analysis.series import NO_CURVE, Curve, shifted
from bench.wire.units import MIB, show
from reports.axes import STEPS, figure_of, legend, legend_px, panes
from reports.data import MEMORY_FULL, MEMORY_SOME, SWAP_IN, SWAP_OUT, SWAPPED, Seen
from reports.svg import Picture, Size, Table, colour, dashes, picture
from reports.words import NOTHING, is_number

_HEIGHT_PX, _LEFT_PX, _PARTS = 200.0, 84.0, 230
_US = 1e-6


@dataclass(frozen=True)
class _Kind:
    """A line of the series. counter: it only rises, and is shown from 0 at the boot's first phase."""

    line: str
    title: str
    unit: str
    factor: float
    counter: bool


_KINDS = (
    _Kind(MEMORY_SOME, "Tasks of the host waited for memory, some of them", "second", _US, True),
    _Kind(MEMORY_FULL, "Tasks of the host waited for memory, all of them", "second", _US, True),
    _Kind(SWAP_OUT, "Written to the host's swap", "byte", HOST_PAGE_BYTES, True),
    _Kind(SWAP_IN, "Read from the host's swap", "byte", HOST_PAGE_BYTES, True),
    _Kind(SWAPPED, "Guest memory in the host's swap", "byte", 1.0, False),
)


def pressure(figure_id: str, boots: Mapping[str, Sequence[Seen]], arms: Sequence[str]) -> list[Picture]:
    """One picture for each line that moved in some boot: a host that never swapped has no picture of it."""
    found = []
    for number, kind in enumerate(_KINDS, start=1):
        by_arm = {arm: [curve for one in part if len(curve := _curve(one, kind))] for arm, part in boots.items()}
        by_arm = {arm: curves for arm, curves in by_arm.items() if curves}
        if any(np.any(curve.v > 0) for curves in by_arm.values() for curve in curves):
            found.append(_draw(f"{figure_id}{number}", kind, by_arm, arms))
    return found


def _curve(one: Seen, kind: _Kind) -> Curve:
    """From the boot's first phase to its last, in the unit that is shown."""
    phases = [phase for phase in one.boot.get("phases") or [] if is_number(phase.get("start_s"))]
    if not phases:
        return NO_CURVE
    start, end = phases[0]["start_s"], max(float(phase.get("end_s") or phase["start_s"]) for phase in phases)
    whole = one.lines.get(kind.line, NO_CURVE)
    before = whole.at(start)
    inside = whole.between(start, end)
    if before is None and not len(inside):
        return NO_CURVE
    first = before if before is not None else float(inside.v[0])
    # A row is left out while nothing changes: the value holds to both ends.
    t = np.r_[start, inside.t, end]
    v = np.r_[first, inside.v, inside.v[-1] if len(inside) else first]
    return shifted(Curve(t, (v - (first if kind.counter else 0)) * kind.factor), start)


def _draw(figure_id: str, kind: _Kind, by_arm: Mapping[str, Sequence[Curve]], arms: Sequence[str]) -> Picture:
    end = max(float(curve.t[-1]) for curves in by_arm.values() for curve in curves)
    bands = {arm: envelope(curves, 0.0, end, _PARTS) for arm, curves in by_arm.items()}
    scale = MIB if kind.unit == "byte" else 1.0

    def draw(size: Size) -> Figure:
        (ax,) = panes(size, [(legend_px(list(bands), size), _HEIGHT_PX)], _LEFT_PX)
        for arm, band in bands.items():
            paint = colour(arms.index(arm))
            ax.fill_between(band.t, band.low / scale, band.high / scale, color=paint, alpha=0.16, lw=0)
            ax.plot(band.t, band.median / scale, color=paint, lw=2.2, ls=dashes(arms.index(arm)))
        ax.set_ylim(bottom=0)
        ax.margins(x=0)
        ax.grid(axis="y")
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value * scale, kind.unit)))
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("seconds after the first phase")
        legend(ax, list(bands), arms, size)
        return figure_of(ax)

    rows = tuple((arm, str(len(by_arm[arm])), *_row(by_arm[arm], kind)) for arm in by_arm)
    said = "; ".join(f"arm {arm}: {row[0]} at the end, {row[1]} at most" for arm, row in _by_arm(by_arm, kind))
    head = ("Arm", "Boots", "At the end, median", "Highest of all")
    return picture(figure_id, kind.title, f"{said}.", draw, Table(head, rows))


def _by_arm(by_arm: Mapping[str, Sequence[Curve]], kind: _Kind) -> list[tuple[str, tuple[str, str]]]:
    return [(arm, _row(curves, kind)) for arm, curves in by_arm.items()]


def _row(curves: Sequence[Curve], kind: _Kind) -> tuple[str, str]:
    if not curves:
        return NOTHING, NOTHING
    last, most = np.median([curve.v[-1] for curve in curves]), max(float(np.max(curve.v)) for curve in curves)
    return show(float(last), kind.unit), show(most, kind.unit)
