"""Strips of several metrics on one axis, and the footprint against both denominators: plain data to a Picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.wire.units import MIB, show
from reports.axes import STEPS, figure_of, label_px, note, panes, short
from reports.svg import COLOUR, WIDE, Picture, Size, Table, colour, marker, picture
from reports.words import NOTHING

_ROW_PX = 34
_TITLE_PX = 34
_SHORT_NAME = 9
# More boots than this are told by their median.
_MOST_DOTS = 60


@dataclass(frozen=True)
class Strips:
    """One panel of strips: a title, and one value a boot for each arm. silent: what to say of an arm without values."""

    title: str
    values: Mapping[str, Sequence[float]]
    silent: str = "no value"


def strips(figure_id: str, title: str, panels: Sequence[Strips], arms: Sequence[str], axis: str,
           show_value: Callable[[float], str]) -> Picture:  # fmt: skip
    """One dot a boot, a bar at the median, in one panel a metric; all panels share the axis."""

    def draw(size: Size) -> Figure:
        names = [arm for panel in panels for arm in panel.values]
        axes = panes(size, [(_TITLE_PX, len(panel.values) * _ROW_PX) for panel in panels], label_px(names, size))
        for ax, panel in zip(axes, panels, strict=True):
            _draw_panel(ax, panel, arms, size, show_value)
        _value_axis(axes, axis, size)
        return figure_of(axes[0])

    said = "; ".join(f"{panel.title}: {_said(panel, show_value)}" for panel in panels)
    return picture(figure_id, title, f"{said}.", draw, _table(panels, show_value))


def _table(panels: Sequence[Strips], show_value: Callable[[float], str]) -> Table:
    rows = [
        (panel.title, arm, str(len(values)), *_five(values, show_value))
        for panel in panels
        for arm, values in panel.values.items()
    ]
    return Table(("What", "Arm", "Boots", "Lowest", "Median", "Highest"), tuple(rows))


def _five(values: Sequence[float], show_value: Callable[[float], str]) -> tuple[str, ...]:
    if not values:
        return (NOTHING,) * 3
    return tuple(show_value(value) for value in (min(values), median(values), max(values)))


def _said(panel: Strips, show_value: Callable[[float], str]) -> str:
    return ", ".join(
        f"arm {arm} median {show_value(median(values))} of {len(values)} boots"
        if values
        else f"arm {arm} {panel.silent}"
        for arm, values in panel.values.items()
    )


def _draw_panel(ax: Axes, panel: Strips, arms: Sequence[str], size: Size, show_value: Callable[[float], str]) -> None:
    names = list(panel.values)
    for row, arm in enumerate(names):
        values, index = panel.values[arm], arms.index(arm)
        if not values:
            note(ax, panel.silent, (0, row), ("axes fraction", "data"), (6, 0), color=COLOUR["muted"], style="italic")
            continue
        data = pd.DataFrame({"value": values, "row": row})
        sns.stripplot(data=data, x="value", y="row", orient="h", native_scale=True, jitter=False, ax=ax, size=9,
                      color=colour(index), alpha=0.65, marker=marker(index), linewidth=0, zorder=3)  # fmt: skip
        ax.plot([median(values)] * 2, [row - 0.32, row + 0.32], color=COLOUR["ink"], lw=2, zorder=4)
        note(ax, show_value(median(values)), (max(values), row), ("data", "data"), (12, 0))
    ax.set_yticks(range(len(names)), [short(name, size) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_title(panel.title)
    ax.set_ylabel("")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _value_axis(axes: Sequence[Axes], label: str, size: Size) -> None:
    last = axes[-1]
    for ax in axes[:-1]:
        ax.sharex(last)
        ax.tick_params(labelbottom=False)
    high = max((ax.dataLim.x1 for ax in axes if np.isfinite(ax.dataLim.x1)), default=1.0)
    last.set_xlim(0, high * (1.34 if size.narrow else 1.16) or 1)
    last.xaxis.set_major_locator(MaxNLocator(4 if size.narrow else 8, steps=STEPS))
    for ax in axes:
        ax.grid(axis="x")
        ax.tick_params(axis="x", length=0)
        ax.set_xlabel("")
        ax.spines["bottom"].set_visible(ax is last)
    last.set_xlabel(label)


def footprint(figure_id: str, values: Mapping[str, Sequence[float]], arms: Sequence[str], guest: float,
              reference: str) -> Picture:  # fmt: skip
    """Mean resident bytes of each arm against the configured guest size and the reference's own resident set.

    values: one value a boot, bytes, for each arm.
    """
    shown = {arm: list(items) for arm, items in values.items() if items}
    base = median(shown[reference]) if shown.get(reference) else None

    def words(arm: str, size: Size) -> str:
        middle = median(shown[arm])
        share = "{:.0f} % of guest" if size.narrow else "{:.1f} % of the guest"
        text = f"{show(middle, 'byte')} · {share.format(100 * middle / guest)}"
        if not base or arm == reference:
            return text
        name = "reference" if size.narrow and len(reference) > _SHORT_NAME else short(reference, size)
        return f"{text} · {share.format(100 * middle / base).partition(' of ')[0]} of {name}"

    def draw(size: Size) -> Figure:
        (ax,) = panes(size, [(8, len(shown) * 64)], label_px(list(shown), size))
        for row, arm in enumerate(shown):
            index = arms.index(arm)
            points = [value / MIB for value in shown[arm]]
            ax.barh(row + 0.16, guest / MIB, height=0.46, color=COLOUR["soft"], lw=0, zorder=1)
            ax.barh(row + 0.16, median(points), height=0.46, color=colour(index), alpha=0.8, lw=0, zorder=2)
            if len(points) <= _MOST_DOTS:
                ax.plot(points, [row + 0.16] * len(points), ls="", marker=marker(index), ms=5, color=COLOUR["ink"],
                        alpha=0.7, mew=0, zorder=3)  # fmt: skip
            ax.text(0, row - 0.13, words(arm, size), va="bottom", ha="left", fontsize=11 if size.narrow else 12)
            if base:
                ax.plot([base / MIB] * 2, [row - 0.13, row + 0.45], color=COLOUR["ink"], lw=1.4, ls=(0, (3, 2)),
                        zorder=4)  # fmt: skip
        _footprint_axis(ax, guest, size)
        ax.set_yticks([row + 0.16 for row in range(len(shown))], [short(arm, size) for arm in shown])
        ax.set_ylim(len(shown) - 0.5, -0.5)
        return figure_of(ax)

    said = "; ".join(f"arm {arm}: {words(arm, WIDE)}" for arm in shown)
    table = _shares({arm: median(items) for arm, items in shown.items()}, guest, base, reference)
    return picture(figure_id, "Footprint against both denominators", f"Mean resident memory, {said}.", draw, table)


def _shares(medians: Mapping[str, float], guest: float, base: float | None, reference: str) -> Table:
    rows = tuple(
        (arm, show(value, "byte"), show(value / guest, "share"), show(value / base, "share") if base else NOTHING)
        for arm, value in medians.items()
    )
    return Table(("Arm", "Mean resident", "Share of the guest", f"Share of {reference}"), rows)


def _footprint_axis(ax: Axes, guest: float, size: Size) -> None:
    ax.set_xlim(0, guest / MIB)
    ax.xaxis.set_major_locator(MaxNLocator(4 if size.narrow else 8, steps=STEPS))
    ax.set_xlabel(
        "MiB, up to the configured size" if size.narrow else "mean resident MiB; the axis ends at the configured size"
    )
    ax.tick_params(axis="both", length=0)
    ax.spines["left"].set_visible(False)
