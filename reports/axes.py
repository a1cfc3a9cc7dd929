"""Axes laid out by hand, and the words beside them: what all figures of a page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.svg import Size

CHAR_PX = 7.5
STEPS = (1, 2, 2.5, 5, 10)
_AXIS_PX = 46
_RIGHT_PX = 8


def short(name: str, size: Size) -> str:
    """A name that fits beside an axis."""
    longest = 14 if size.narrow else 26
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
