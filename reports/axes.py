"""Axes laid out by hand, and the words beside them: what all figures of a page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.svg import Size, colour, dashes

CHAR_PX = 7.5
EMULATED = "† emulated CPU"
STEPS = (1, 2, 2.5, 5, 10)
_AXIS_PX = 46
_RIGHT_PX = 8


def short(name: str, size: Size, most: int = 0) -> str:
    """A name that fits beside an axis, or into `most` characters."""
    longest = most or (14 if size.narrow else 26)
    return name if len(name) <= longest else name[: longest - 1] + "…"


def panes(size: Size, rows: Sequence[tuple[float, float]], left: float) -> list[Axes]:
    """Axes one below the other. rows: the gap above and the height of each, in pixels, with room for an x label below.

    Laid out by hand: matplotlib's own layout draws every figure twice.
    """
    total = sum(gap + height for gap, height in rows) + _AXIS_PX
    figure = Figure(figsize=size.inches(total))
    axes, used = [], 0.0
    for gap, height in rows:
        used += gap + height
        box = (left / size.width, 1 - used / total, (size.width - left - _RIGHT_PX) / size.width, height / total)
        axes.append(figure.add_axes(box))
    return axes


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def label_px(names: Sequence[str], size: Size) -> float:
    """Room for the longest of some names beside an axis."""
    return 12 + CHAR_PX * max(len(short(name, size)) for name in names)


def note(ax: Axes, text: str, at: tuple[float, float], where: tuple[str, str], shift: tuple[float, float],
         va: str = "center", **looks: Any) -> None:  # fmt: skip
    """Text beside a point: `shift` pixels from `at`, which is in the coordinates `where`."""
    ax.annotate(text, at, xycoords=where, xytext=shift, textcoords="offset points", va=va, **looks)


def legend_px(names: Sequence[str], size: Size) -> float:
    """Height of a legend above an axis."""
    return 10.0 + 24 * -(-len(names) // _legend_columns(names, size))


def legend(ax: Axes, names: Sequence[str], arms: Sequence[str], size: Size) -> None:
    """Colour and dashes of each arm, above the axis. arms: all of the run."""
    handles = [Line2D([], [], color=colour(arms.index(name)), ls=dashes(arms.index(name)), lw=2.4) for name in names]
    ax.legend(handles, [short(name, size) for name in names], loc="lower left", bbox_to_anchor=(-0.01, 1.0),
              ncols=_legend_columns(names, size), frameon=False, handlelength=2.4, borderpad=0.2)  # fmt: skip


def _legend_columns(names: Sequence[str], size: Size) -> int:
    widest = 70 + CHAR_PX * max(len(short(name, size)) for name in names)
    return max(1, min(len(names), int(0.7 * size.width // widest)))
