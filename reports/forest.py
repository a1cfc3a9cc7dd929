"""The forest picture: one line a host with its interval, and all of them combined below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports import words
from reports.axes import STEPS, figure_of, label_px, note, panes, short
from reports.combined import Forest, Line
from reports.svg import COLOUR, Picture, Size, Table, colour, picture

ALL = "all hosts"
_LINE_PX = 30
# "No difference" is drawn only where it does not squeeze the intervals into a corner.
_NEAR = 2.0
# Factors farther apart than this are shown on a logarithmic axis.
_MANY_TIMES = 5.0
# An end of an interval may be any number; beyond these it leaves the picture.
_SMALLEST_FACTOR, _LARGEST = 1e-6, 1e18


def forest(figure_id: str, shown: Forest, arm: int, each: str = "Host") -> Picture:
    """arm: the place of the arm under question, for its colour. each: what one line is."""
    shown = replace(shown, lines=tuple(_within(line, shown.kind) for line in shown.lines))
    names = [line.host or ALL for line in shown.lines]

    def draw(size: Size) -> Figure:
        (ax,) = panes(size, [(24, _LINE_PX * len(names))], label_px(names, size))
        log = _is_wide(shown)
        low, high = _range(shown, size, log=log)
        for row, line in enumerate(shown.lines):
            _draw(ax, row, line, colour(arm), low)
        if not shown.lines[-1].host:
            ax.axhline(len(names) - 1.5, color=COLOUR["rule"], lw=1)
        if low <= shown.none <= high:
            ax.axvline(shown.none, color=COLOUR["ink"], lw=1, ls=(0, (3, 2)), zorder=1)
            note(ax, "no difference", (shown.none, 1), ("data", "axes fraction"), (0, 4), va="bottom", ha="center",
                 color=COLOUR["muted"], fontsize=11)  # fmt: skip
        if log:
            ax.set_xscale("log")
        ax.set_xlim(low, high)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_yticks(range(len(names)), [short(name, size) for name in names])
        _axis(ax, shown, size, log=log)
        return figure_of(ax)

    rows = tuple((line.host or ALL, line.text if line.effect is not None else "no value", _interval(line, shown))
                 for line in shown.lines)  # fmt: skip
    title, said = f"{shown.title}, {each.lower()} by {each.lower()}", f"{_said(shown.lines)}."
    return picture(figure_id, title, said, draw, Table((each, "Effect", "95 % interval"), rows))


def _interval(line: Line, shown: Forest) -> str:
    return words.interval({"kind": shown.kind, "unit": shown.unit, "low": line.low, "high": line.high})


def _within(line: Line, kind: str) -> Line:
    def end(value: float | None) -> float | None:
        if value is None:
            return None
        return min(max(value, _SMALLEST_FACTOR if kind == "ratio" else -_LARGEST), _LARGEST)

    return replace(line, effect=end(line.effect), low=end(line.low), high=end(line.high))


def _ends(shown: Forest) -> tuple[float, float]:
    ends = [value for line in shown.lines for value in (line.effect, line.low, line.high) if value is not None]
    return min(ends), max(ends)


def _is_wide(shown: Forest) -> bool:
    low, high = _ends(shown)
    return shown.kind == "ratio" and low > 0 and high / low > _MANY_TIMES


def _range(shown: Forest, size: Size, *, log: bool) -> tuple[float, float]:
    """What the axis covers: all intervals, and no difference where that is near."""
    low, high, none = (*_ends(shown), shown.none)
    if log:
        low, high, none = math.log(low), math.log(high), math.log(none)
    span = (high - low) or abs(high) or 1.0
    if low - _NEAR * span <= none <= high + _NEAR * span:
        low, high = min(low, none), max(high, none)
    room = (high - low) or span
    low, high = low - 0.06 * room, high + (0.3 if size.narrow else 0.14) * room
    return (math.exp(low), math.exp(high)) if log else (low, high)


def _draw(ax: Axes, row: int, line: Line, paint: str, left: float) -> None:
    if line.effect is None:
        note(ax, "no value", (left, row), ("data", "data"), (6, 0), color=COLOUR["muted"], style="italic")
        return
    whole = not line.host
    if line.low is not None and line.high is not None:
        ax.plot([line.low, line.high], [row, row], color=paint, lw=5 if whole else 2, zorder=3)
    ax.plot([line.effect], [row], ls="", marker="D" if whole else "o", ms=10 if whole else 8, color=paint, mew=0,
            zorder=4)  # fmt: skip
    note(ax, line.text, (line.effect if line.high is None else line.high, row), ("data", "data"), (10, 0))


def _axis(ax: Axes, shown: Forest, size: Size, *, log: bool) -> None:
    ax.grid(axis="x")
    ax.tick_params(axis="both", length=0)
    ax.spines["left"].set_visible(False)
    ticks = LogLocator(10, subs=(1.0,) if size.narrow else (1.0, 2.0, 5.0), numticks=10)
    ax.xaxis.set_major_locator(ticks if log else MaxNLocator(4 if size.narrow else 8, steps=STEPS))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, shown)))
    label = "arm over reference" if shown.kind == "ratio" else "arm minus reference"
    ax.set_xlabel(f"{label}, with 95 % interval" + ("  † emulated CPU" if shown.marked else ""))


def _tick(value: float, shown: Forest) -> str:
    return f"×{value:g}" if shown.kind == "ratio" else words.signed(value, shown.unit)


def _said(lines: Sequence[Line]) -> str:
    return "; ".join(f"{line.host or ALL} {line.text if line.effect is not None else 'no value'}" for line in lines)
