"""The figures of a page. Each is a function from plain data to a Picture; nothing here decides anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bench.analysis.series import band
from bench.wire.units import show, show_seconds
from reports.axes import CHAR_PX, STEPS, figure_of, label_px, note, panes, short
from reports.data import PHASES, ArmTrace
from reports.svg import COLOUR, WIDE, Picture, Size, colour, dashes, marker, picture

EMULATED = "† emulated CPU"
_SINGLES = 60
_GRID_POINTS = 900
_ROW_PX = 34
_TITLE_PX = 34
_SHORT_NAME = 9


@dataclass(frozen=True)
class Strips:
    """One panel of strips: a title, and one value a boot for each arm. silent: what to say of an arm without values."""

    title: str
    values: Mapping[str, Sequence[float]]
    silent: str = "no value"


def residency(figure_id: str, traces: Sequence[ArmTrace], arms: Sequence[str], guest_mib: float | None) -> Picture:
    """Resident memory over time: median and range of each arm, single boots behind, phases below."""

    def draw(size: Size) -> Figure:
        lower = 24.0 * len(traces)
        names = [trace.arm for trace in traces]
        columns = _legend_columns(names, size)
        above = 10.0 + 24 * -(-len(names) // columns)
        top, bottom = panes(size, [(above, 330.0), (10.0, lower)], max(54.0, label_px(arms, size)))
        bottom.sharex(top)
        for trace in traces:
            _draw_arm(top, trace, arms.index(trace.arm))
        _memory_axis(top, guest_mib, size)
        _legend(top, names, arms, size, columns)
        _draw_phases(bottom, traces, arms, size)
        top.tick_params(axis="x", labelbottom=False, length=0)
        bottom.xaxis.set_major_locator(MaxNLocator(5 if size.narrow else 10, steps=(1, 2, 5, 10)))
        bottom.set_xlabel("seconds after the free" if size.narrow else "seconds, counted from the start of the free")
        return figure_of(top)

    said = "; ".join(_fall(trace) for trace in traces)
    return picture(figure_id, "Resident memory over time", said, draw)


def _fall(trace: ArmTrace) -> str:
    """What a curve shows, for somebody who cannot see it."""
    firsts = [part.curve for part in trace.segments if part.first]
    settled = next((span.end_s for span in trace.spans if span.name == "settle"), 0.0)
    start = [value for curve in firsts if (value := curve.at(0.0)) is not None]
    end = [value for curve in firsts if (value := curve.at(settled)) is not None]
    if not start or not end:
        return f"arm {trace.arm}: not covered by the samples"
    return f"arm {trace.arm}: median {median(start):.0f} MiB at the free, {median(end):.0f} MiB when settled"


def _draw_arm(ax: Axes, trace: ArmTrace, index: int) -> None:
    curves = [part.curve for part in trace.segments]
    first, last = min(curve.t[0] for curve in curves), max(curve.t[-1] for curve in curves)
    grid = np.linspace(first, last, min(_GRID_POINTS, int((last - first) / 0.05) + 2))
    for curve in curves[:_SINGLES]:
        ax.plot(grid, curve.on(grid), color=colour(index), lw=0.8, alpha=0.35, zorder=2)
    firsts = [part.curve for part in trace.segments if part.first]
    table = band(firsts, grid)
    # Where fewer than half of the boots go on, a median would jump from one boot to another.
    table = table[table["n"] >= len(firsts) / 2]
    ax.fill_between(table["t_s"], table["low"], table["high"], color=colour(index), alpha=0.16, lw=0, zorder=1)
    ax.plot(table["t_s"], table["median"], color=colour(index), lw=2.6, ls=dashes(index), zorder=4 if index == 0 else 3)


def _memory_axis(ax: Axes, guest_mib: float | None, size: Size) -> None:
    top = ax.dataLim.y1
    ax.axvline(0, color=COLOUR["muted"], lw=1, zorder=0)
    note(ax, "free", (0, 1), ("data", "axes fraction"), (4, -4), va="top")
    if guest_mib and top < guest_mib < 2.5 * top:
        ax.axhline(guest_mib, color=COLOUR["muted"], lw=1, ls=(0, (1, 3)))
        words = f"guest size, {guest_mib:.0f} MiB" if size.narrow else f"configured guest size, {guest_mib:.0f} MiB"
        note(ax, words, (1, guest_mib), ("axes fraction", "data"), (0, 3), va="bottom", ha="right",
              color=COLOUR["muted"])  # fmt: skip
        top = guest_mib
    ax.set_ylim(0, top * 1.08 or 1)
    ax.grid(axis="y")
    ax.yaxis.set_major_locator(MaxNLocator(5 if size.narrow else 6, steps=STEPS))
    ax.set_ylabel("resident on the host, MiB" if not size.narrow else "resident, MiB")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _legend_columns(names: Sequence[str], size: Size) -> int:
    widest = 70 + CHAR_PX * max(len(short(name, size)) for name in names)
    return max(1, min(len(names), int(0.7 * size.width // widest)))


def _legend(ax: Axes, names: Sequence[str], arms: Sequence[str], size: Size, columns: int) -> None:
    handles = [Line2D([], [], color=colour(arms.index(name)), ls=dashes(arms.index(name)), lw=2.6) for name in names]
    ax.legend(handles, [short(name, size) for name in names], loc="lower left", bbox_to_anchor=(-0.01, 1.0),
              ncols=columns, frameon=False, handlelength=2.4, borderpad=0.2)  # fmt: skip


def _draw_phases(ax: Axes, traces: Sequence[ArmTrace], arms: Sequence[str], size: Size) -> None:
    """One bar an arm, cut into its phases; a phase too short for its word has none."""
    left, right = ax.get_xlim()
    per_char = (right - left) * (9.5 if size.narrow else 8.2) / (size.width - 120)
    for row, trace in enumerate(traces):
        for span in trace.spans:
            length = span.end_s - span.start_s
            ax.barh(row, length, left=span.start_s, height=0.74, color=colour(arms.index(trace.arm)),
                    alpha=0.3 if span.name in ("touch", "retouch") else 0.13, lw=0)  # fmt: skip
            ax.plot([span.start_s] * 2, [row - 0.37, row + 0.37], color=COLOUR["muted"], lw=0.8)
            word = next((word for word in PHASES[span.name] if len(word) * per_char < length), "")
            ax.text(span.start_s + length / 2, row, word, ha="center", va="center", fontsize=11.5)
    ax.set_yticks(range(len(traces)), [short(trace.arm, size) for trace in traces])
    ax.set_ylim(len(traces) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.margins(x=0)


def strips(figure_id: str, title: str, panels: Sequence[Strips], arms: Sequence[str], axis: str,
           show_value: Callable[[float], str], *, log: bool = False) -> Picture:  # fmt: skip
    """One dot a boot, a bar at the median, in one panel a metric; all panels share the axis."""

    def draw(size: Size) -> Figure:
        names = [arm for panel in panels for arm in panel.values]
        axes = panes(size, [(_TITLE_PX, len(panel.values) * _ROW_PX) for panel in panels], label_px(names, size))
        for ax, panel in zip(axes, panels, strict=True):
            _draw_panel(ax, panel, arms, size, show_value)
        _value_axis(axes, axis, log=log, size=size)
        return figure_of(axes[0])

    said = "; ".join(f"{panel.title}: {_said(panel, show_value)}" for panel in panels)
    return picture(figure_id, title, said, draw)


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


def _value_axis(axes: Sequence[Axes], label: str, *, log: bool, size: Size) -> None:
    last = axes[-1]
    for ax in axes[:-1]:
        ax.sharex(last)
        ax.tick_params(labelbottom=False)
    ends = [ax.dataLim for ax in axes if np.isfinite(ax.dataLim.x1)]
    low, high = min((end.x0 for end in ends), default=0.0), max((end.x1 for end in ends), default=1.0)
    room = 1.34 if size.narrow else 1.16
    if log and low > 0:
        last.set_xscale("log")
        last.set_xlim(low / 1.6, high * (high / low) ** (room - 1) * (2.6 if size.narrow else 1.5))
        last.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if size.narrow else (1.0, 3.0), numticks=12))
        last.xaxis.set_minor_locator(NullLocator())
        last.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_seconds(value).replace(".0 ", " ")))
    else:
        last.set_xlim(0, high * room or 1)
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
            points = [value / 2**20 for value in shown[arm]]
            ax.barh(row + 0.16, guest / 2**20, height=0.46, color=COLOUR["soft"], lw=0, zorder=1)
            ax.barh(row + 0.16, median(points), height=0.46, color=colour(index), alpha=0.8, lw=0, zorder=2)
            ax.plot(points, [row + 0.16] * len(points), ls="", marker=marker(index), ms=5, color=COLOUR["ink"],
                    alpha=0.7, mew=0, zorder=3)  # fmt: skip
            ax.text(0, row - 0.13, words(arm, size), va="bottom", ha="left", fontsize=11 if size.narrow else 12)
            if base:
                ax.plot(
                    [base / 2**20] * 2, [row - 0.13, row + 0.45], color=COLOUR["ink"], lw=1.4, ls=(0, (3, 2)), zorder=4
                )
        _footprint_axis(ax, guest, size)
        ax.set_yticks([row + 0.16 for row in range(len(shown))], [short(arm, size) for arm in shown])
        ax.set_ylim(len(shown) - 0.5, -0.5)
        return figure_of(ax)

    said = "; ".join(f"arm {arm}: {words(arm, WIDE)}" for arm in shown)
    return picture(figure_id, "Footprint against both denominators", said, draw)


def _footprint_axis(ax: Axes, guest: float, size: Size) -> None:
    ax.set_xlim(0, guest / 2**20)
    ax.xaxis.set_major_locator(MaxNLocator(4 if size.narrow else 8, steps=STEPS))
    ax.set_xlabel(
        "MiB, up to the configured size" if size.narrow else "mean resident MiB; the axis ends at the configured size"
    )
    ax.tick_params(axis="both", length=0)
    ax.spines["left"].set_visible(False)
