"""Resident memory over time: median, range and single boots of each arm, phases and discards below."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.analysis.envelope import Envelope, envelope, reduced
from reports.axes import STEPS, figure_of, label_px, legend, legend_px, note, panes, short
from reports.data import PHASES, ArmTrace
from reports.svg import COLOUR, Picture, Size, Table, colour, dashes, picture
from reports.words import NOTHING

# Single boots that are drawn for an arm; the band covers all.
SINGLES = 24
_PARTS, _SINGLE_PARTS, _DISCARD_PARTS, _TABLE_ROWS = 460, 230, 92, 12
_MEMORY_PX, _PHASE_PX, _DISCARD_PX, _GAP_PX = 330.0, 24.0, 84.0, 30.0


def residency(figure_id: str, traces: Sequence[ArmTrace], arms: Sequence[str], guest_mib: float | None) -> Picture:
    """arms: all of the run, for colours. guest_mib: configured size of the guest, where there is one."""
    start, end = _ends(traces)
    bands = [_band(trace, start, end, _PARTS) for trace in traces]

    def draw(size: Size) -> Figure:
        names = [trace.arm for trace in traces]
        rows = [(legend_px(names, size), _MEMORY_PX), (10.0, _PHASE_PX * len(traces))]
        discards = any(len(part.discards) for trace in traces for part in trace.segments)
        rows += [(_GAP_PX, _DISCARD_PX)] if discards else []
        axes = panes(size, rows, max(54.0, label_px(arms, size)))
        for trace, band in zip(traces, bands, strict=True):
            _draw_arm(axes[0], trace, band, arms.index(trace.arm), (start, end))
        _memory_axis(axes[0], guest_mib, size, free=traces[0].free)
        legend(axes[0], names, arms, size)
        axes[0].set_xlim(start, end)
        _draw_phases(axes[1], traces, arms, size, (start, end))
        if discards:
            _draw_discards(axes[2], traces, arms, (start, end))
        _time_axis(axes, traces[0].free, size)
        return figure_of(axes[0])

    said = "; ".join(_fall(trace, band) for trace, band in zip(traces, bands, strict=True))
    return picture(figure_id, "Resident memory over time", f"{said}.", draw, _table(traces, start, end))


def _ends(traces: Sequence[ArmTrace]) -> tuple[float, float]:
    """What is drawn: to where half of the boots of the longest arm go on, so that one long boot squeezes nobody."""
    curves = [part.curve for trace in traces for part in trace.segments]
    ends = [median(float(part.curve.t[-1]) for part in trace.segments) for trace in traces]
    return min(float(curve.t[0]) for curve in curves), max(ends)


def _band(trace: ArmTrace, start: float, end: float, parts: int) -> Envelope:
    """Of the first free of each boot. Where fewer than half of the boots go on there is none: a median would jump."""
    firsts = [part.curve for part in trace.segments if part.first]
    found = envelope(firsts, start, end, parts)
    few = found.boots < len(firsts) / 2
    low, middle, high = (np.where(few, np.nan, line) for line in (found.low, found.median, found.high))
    return Envelope(found.t, low, middle, high, found.boots)


def _fall(trace: ArmTrace, band: Envelope) -> str:
    """What a curve shows, for somebody who cannot see it."""
    if not trace.free:
        known = band.median[np.isfinite(band.median)]
        if not len(known):
            return f"arm {trace.arm}: not covered by the samples"
        first, most, last = known[0], np.max(known), known[-1]
        return f"arm {trace.arm}: median {first:.0f} MiB at first, {most:.0f} MiB at most, {last:.0f} MiB at last"
    firsts = [part.curve for part in trace.segments if part.first]
    settled = next((span.end_s for span in trace.spans if span.name == "settle"), 0.0)
    before = [value for curve in firsts if (value := curve.at(0.0)) is not None]
    after = [value for curve in firsts if (value := curve.at(settled)) is not None]
    if not before or not after:
        return f"arm {trace.arm}: not covered by the samples"
    return f"arm {trace.arm}: median {median(before):.0f} MiB at the free, {median(after):.0f} MiB when settled"


def _table(traces: Sequence[ArmTrace], start: float, end: float) -> Table:
    """Median and range at some moments: the figure without its eyes."""
    bands = [_band(trace, start, end, _TABLE_ROWS) for trace in traces]
    edges = np.linspace(start, end, _TABLE_ROWS + 1)[1:]
    rows = tuple(
        (f"{edge:.1f} s", *(_cell(band, row) for band in bands)) for row, edge in enumerate(edges)
    )  # fmt: skip
    head = ("Until", *(trace.arm for trace in traces))
    return Table(
        head, rows, "Median of the boots at that moment, and lowest and highest sample since the row before, in MiB."
    )


def _cell(band: Envelope, row: int) -> str:
    low, middle, high = band.low[row], band.median[row], band.high[row]
    return f"{middle:.0f} ({low:.0f} to {high:.0f})" if np.isfinite(middle) else NOTHING


def _draw_arm(ax: Axes, trace: ArmTrace, band: Envelope, index: int, between: tuple[float, float]) -> None:
    for part in trace.segments[:SINGLES]:
        curve = reduced(part.curve, *between, _SINGLE_PARTS)
        ax.plot(curve.t, curve.v, color=colour(index), lw=0.8, alpha=0.35, zorder=2)
    ax.fill_between(band.t, band.low, band.high, color=colour(index), alpha=0.16, lw=0, zorder=1)
    ax.plot(band.t, band.median, color=colour(index), lw=2.6, ls=dashes(index), zorder=4 if index == 0 else 3)


def _memory_axis(ax: Axes, guest_mib: float | None, size: Size, *, free: bool) -> None:
    top = ax.dataLim.y1
    if free:
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


def _time_axis(axes: Sequence[Axes], free: bool, size: Size) -> None:
    """The same stretch of time for all panes; its numbers stand below the last one."""
    for ax in axes[:-1]:
        ax.tick_params(axis="x", labelbottom=False, length=0)
    for ax in axes[1:]:
        ax.set_xlim(axes[0].get_xlim())
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(5 if size.narrow else 10, steps=(1, 2, 5, 10)))
    since = "the free" if free else "the first phase"
    axes[-1].set_xlabel(f"seconds after {since}" if size.narrow else f"seconds, counted from the start of {since}")


def _draw_phases(ax: Axes, traces: Sequence[ArmTrace], arms: Sequence[str], size: Size,
                 between: tuple[float, float]) -> None:  # fmt: skip
    """One bar an arm, cut into its phases; a phase too short for its word has none."""
    per_char = (between[1] - between[0]) * (9.5 if size.narrow else 8.2) / (size.width - 120)
    for row, trace in enumerate(traces):
        for place, span in enumerate(trace.spans):
            length = span.end_s - span.start_s
            dark = span.name in ("touch", "retouch") if trace.free else place % 2 == 1
            ax.barh(row, length, left=span.start_s, height=0.74, color=colour(arms.index(trace.arm)),
                    alpha=0.3 if dark else 0.13, lw=0)  # fmt: skip
            ax.plot([span.start_s] * 2, [row - 0.37, row + 0.37], color=COLOUR["muted"], lw=0.8)
            named = PHASES.get(span.name, (span.name,))
            word = next((word for word in named if len(word) * per_char < length), "")
            ax.text(span.start_s + length / 2, row, word, ha="center", va="center", fontsize=11.5)
    ax.set_yticks(range(len(traces)), [short(trace.arm, size) for trace in traces])
    ax.set_ylim(len(traces) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _draw_discards(ax: Axes, traces: Sequence[ArmTrace], arms: Sequence[str], between: tuple[float, float]) -> None:
    """MiB discarded in each short stretch of time, mean of the boots' first frees."""
    edges = np.linspace(*between, _DISCARD_PARTS + 1)
    for trace in traces:
        firsts = [part.discards for part in trace.segments if part.first]
        sums = np.array([np.histogram(curve.t, edges, weights=curve.v)[0] for curve in firsts])
        if sums.any():
            index = arms.index(trace.arm)
            ax.stairs(sums.mean(axis=0), edges, color=colour(index), fill=True, alpha=0.35, lw=0)
            ax.stairs(sums.mean(axis=0), edges, color=colour(index), lw=1.2, ls=dashes(index))
    ax.set_ylim(bottom=0)
    ax.grid(axis="y")
    ax.yaxis.set_major_locator(MaxNLocator(3, steps=STEPS))
    step = f"{(between[1] - between[0]) / _DISCARD_PARTS:.2g}"
    ax.set_title(f"discarded by the host, MiB in each {step} s", fontsize=12, fontweight="normal", pad=4)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
