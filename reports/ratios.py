"""The forest picture of the plan's metrics: factor, interval, and the band of what counts as no difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports.axes import figure_of, label_px, note, panes, short
from reports.primary import Answer, Estimate, by_metric
from reports.svg import COLOUR, Picture, Size, Table, colour, marker, picture

_TITLE_PX, _ROW_PX, _ABOVE_PX = 30.0, 26.0, 26.0
# An end of an interval may be any number; beyond these it leaves the picture.
_SMALLEST, _LARGEST = 1e-4, 1e4
_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_FINE = (0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.15, 1.2)


def ratios(figure_id: str, answer: Answer, arms: Sequence[str]) -> Picture | None:
    """None where no metric of the answer has a factor: differences have units of their own, and are in the table."""
    groups = by_metric(answer.estimates)
    if not groups:
        return None
    height = sum(_TITLE_PX + _ROW_PX * len(group) for group in groups.values())
    ends = _ends([estimate for group in groups.values() for estimate in group])

    def draw(size: Size) -> Figure:
        names = [estimate.arm for group in groups.values() for estimate in group]
        (ax,) = panes(size, [(_ABOVE_PX, height)], label_px(names, size))
        ax.set_xscale("log")
        ax.set_ylim(height, 0)
        _axis(ax, ends, size)
        at, ticks = 0.0, []
        for group in groups.values():
            title = f"{group[0].title}{' †' if group[0].marked else ''}"
            note(ax, short(title, size, 44), (0, at + 0.6 * _TITLE_PX), ("axes fraction", "data"),
                 (-ax.get_position().x0 * size.width, 0), weight="bold", fontsize=12.5)  # fmt: skip
            at += _TITLE_PX
            for estimate in group:
                _row(ax, estimate, at + _ROW_PX / 2, arms, size)
                ticks.append((at + _ROW_PX / 2, short(estimate.arm, size)))
                at += _ROW_PX
        ax.set_yticks([place for place, _ in ticks], [name for _, name in ticks])
        return figure_of(ax)

    shown = [estimate for group in groups.values() for estimate in group]
    said = "; ".join(f"{one.title}, arm {one.arm}: {one.shown}, {one.interval}, {one.label}" for one in shown)
    rows = tuple((one.title, one.arm, one.shown, one.interval, one.margin_shown, one.label) for one in shown)
    table = Table(("Metric", "Arm", "Effect", "95 % interval", "Margin", "Verdict"), rows)
    return picture(figure_id, "Effects at a glance", f"{said}.", draw, table)


def _within(value: float) -> float:
    return min(max(value, _SMALLEST), _LARGEST)


def _ends(shown: Sequence[Estimate]) -> tuple[float, float]:
    """What the axis covers: all intervals, no difference, and room for the words at the right."""
    found = [1.0]
    for one in shown:
        found += [_within(value) for value in (one.effect, one.low, one.high) if value is not None]
        found += [1 - one.margin, 1 + one.margin] if one.margin and one.margin < 1 else []
    low, high = min(found), max(found)
    room = max(math.log(high / low), 0.05)
    return low * math.exp(-0.05 * room), high * math.exp(0.05 * room)


def _row(ax: Axes, one: Estimate, y: float, arms: Sequence[str], size: Size) -> None:
    assert one.effect is not None
    place = arms.index(one.arm) if one.arm in arms else 1
    paint = colour(place)
    if one.margin and one.margin < 1:
        ax.barh(y, 2 * one.margin, left=1 - one.margin, height=0.8 * _ROW_PX, color=COLOUR["soft"], lw=0, zorder=0)
    if one.low is not None and one.high is not None:
        ax.plot([_within(one.low), _within(one.high)], [y, y], color=paint, lw=2.4, zorder=3)
    ax.plot([_within(one.effect)], [y], ls="", marker=marker(place), ms=8, mew=0, color=paint, zorder=4)
    text = one.label if size.narrow else f"{one.shown}  {one.label}"
    note(ax, text, (1, y), ("axes fraction", "data"), (8, 0), fontsize=12)


def _axis(ax: Axes, ends: tuple[float, float], size: Size) -> None:
    """The words stand to the right of the axis, which gives them room."""
    box = ax.get_position()
    room = (110 if size.narrow else 190) / size.width
    ax.set_position((box.x0, box.y0, box.width - room, box.height))
    ax.set_xlim(*ends)
    choice = _TICKS if ends[1] / ends[0] > 1.8 else _FINE
    within = [tick for tick in choice if ends[0] <= tick <= ends[1]]
    most = 4 if size.narrow else 9
    step = -(-len(within) // most)
    # Counted from "no difference", which is always there.
    centre = within.index(1)
    ax.xaxis.set_major_locator(FixedLocator(within[centre % step :: step]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"×{value:g}"))
    ax.axvline(1, color=COLOUR["ink"], lw=1, ls=(0, (3, 2)), zorder=1)
    note(ax, "no difference", (1, 1), ("data", "axes fraction"), (0, 5), va="bottom", ha="center",
         color=COLOUR["muted"], fontsize=11)  # fmt: skip
    ax.grid(axis="x")
    ax.tick_params(axis="both", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("arm over reference" if size.narrow else "arm over reference, with 95 % interval; band: the margin")
