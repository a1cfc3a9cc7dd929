"""A metric boot by boot: strips joined by block, and the share of boots at or below each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.wire.metrics import METRICS
from bench.wire.units import GIB, MIB, show
from reports.axes import EMULATED, STEPS, figure_of, label_px, panes, short
from reports.svg import COLOUR, Picture, Size, Table, colour, dashes, marker, pair
from reports.words import NOTHING

# More blocks than this are told by their quantiles; the value of every boot is among the raw data.
MANY_BLOCKS = 40
_ROW_PX, _ABOVE_PX, _LEAST_PX = 46.0, 12.0, 150.0
_BYTES = ("byte", "byte-second", "byte/second")
# (block, value) of each usable boot, by arm
ByArm = Mapping[str, Sequence[tuple[int, float]]]


def boots(figure_id: str, metric: str, title: str, values: ByArm, arms: Sequence[str], *, marked: bool) -> Picture:
    """values: the arms that have some, the reference first. arms: all of the run, for colours and marks."""
    unit = METRICS[metric].unit
    scale = _scale(unit, [value for part in values.values() for _, value in part])
    scaled = {arm: [(block, value / scale) for block, value in part] for arm, part in values.items()}

    def strips(size: Size) -> Figure:
        (ax,) = panes(size, [(_ABOVE_PX, max(_LEAST_PX, _ROW_PX * len(scaled)))], label_px(list(scaled), size))
        _draw_strips(ax, scaled, arms)
        ax.set_yticks(range(len(scaled)), [short(arm, size) for arm in scaled])
        ax.set_ylim(len(scaled) - 0.5, -0.5)
        _value_axis(ax, metric, scale, marked=marked)
        return figure_of(ax)

    def ecdf(size: Size) -> Figure:
        (ax,) = panes(size, [(_ABOVE_PX, max(_LEAST_PX, _ROW_PX * len(scaled)))], 54)
        _draw_ecdf(ax, scaled, arms)
        _value_axis(ax, metric, scale, marked=marked)
        return figure_of(ax)

    said = "; ".join(f"arm {arm}: {_said([value for _, value in part], unit)}" for arm, part in values.items())
    draws = (("each boot, joined by block", strips), ("share of boots at or below a value", ecdf))
    return pair(figure_id, title, f"{said}.", draws, _table(values, unit))


def _scale(unit: str, values: Sequence[float]) -> float:
    """What one of the axis is: steps of whole bytes are no round numbers in MiB or GiB."""
    most = max(map(abs, values))
    return next((float(scale) for scale in (GIB, MIB) if unit in _BYTES and most >= scale), 1.0)


def _said(values: Sequence[float], unit: str) -> str:
    if len(values) == 1:
        return f"{show(values[0], unit)} in one boot"
    middle, low, high = (show(value, unit) for value in (median(values), min(values), max(values)))
    return f"median {middle}, from {low} to {high}, {len(values)} boots"


def _table(values: ByArm, unit: str) -> Table:
    blocks = sorted({block for part in values.values() for block, _ in part})
    if len(blocks) > MANY_BLOCKS:
        rows = [(arm, str(len(part)), *_quantiles([value for _, value in part], unit)) for arm, part in values.items()]
        head = ("Arm", "Boots", "Lowest", "5 %", "25 %", "Median", "75 %", "95 %", "Highest")
        return Table(head, tuple(rows), "The value of every boot is in values.csv, among the raw data.")
    found = {arm: dict(part) for arm, part in values.items()}
    rows = [
        (str(block), *(show(found[arm][block], unit) if block in found[arm] else NOTHING for arm in values))
        for block in blocks
    ]
    return Table(("Block", *values), tuple(rows))


def _quantiles(values: Sequence[float], unit: str) -> list[str]:
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else list(values) * 19
    return [show(value, unit) for value in (min(values), *(cuts[i] for i in (0, 4, 9, 14, 18)), max(values))]


def _draw_strips(ax: Axes, values: ByArm, arms: Sequence[str]) -> None:
    many = max(len(part) for part in values.values()) > MANY_BLOCKS
    _join(ax, values, alpha=0.12 if many else 0.55)
    for row, (arm, part) in enumerate(values.items()):
        index, numbers = arms.index(arm), [value for _, value in part]
        if many:
            # A dot is a line without length, with round ends: a tenth of the bytes of a mark.
            x = np.repeat(numbers, 3)
            x[2::3] = np.nan
            ax.plot(x, np.full(len(x), float(row)), color=colour(index), lw=5, alpha=0.25, solid_capstyle="round")
        else:
            ax.plot(numbers, [row] * len(part), ls="", marker=marker(index), ms=8.5, mew=0, color=colour(index),
                    alpha=0.75, zorder=3)  # fmt: skip
        ax.plot([median(numbers)] * 2, [row - 0.26, row + 0.26], color=COLOUR["ink"], lw=2, zorder=4)


def _join(ax: Axes, values: ByArm, alpha: float) -> None:
    """A line from arm to arm for each block, as one path."""
    found = [dict(part) for part in values.values()]
    x: list[float] = []
    y: list[float] = []
    for block in dict.fromkeys(block for part in found for block in part):
        steps = [(part[block], row) for row, part in enumerate(found) if block in part]
        x += [value for value, _ in steps] + [np.nan]
        y += [row for _, row in steps] + [np.nan]
    ax.plot(x, y, color=COLOUR["muted"], lw=1, alpha=alpha, zorder=2)


def _draw_ecdf(ax: Axes, values: ByArm, arms: Sequence[str]) -> None:
    for arm, part in values.items():
        ordered = np.sort([value for _, value in part])
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        index = arms.index(arm)
        ax.step(np.r_[ordered[0], ordered], np.r_[0, share], where="post", color=colour(index), lw=2.2,
                ls=dashes(index))  # fmt: skip
    ax.set_ylim(0, 1.03)
    ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
    ax.grid(axis="y")


def _value_axis(ax: Axes, metric: str, scale: float, *, marked: bool) -> None:
    unit = METRICS[metric].unit
    low, high = float(ax.dataLim.x0), float(ax.dataLim.x1)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ax.set_xlim(max(0.0, low - room) if low >= 0 else low - room, high + room)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value * scale, unit)))
    ax.grid(axis="x")
    ax.tick_params(axis="both", length=0)
    ax.spines["left"].set_visible(False)
    if marked:
        ax.set_xlabel(EMULATED)
