"""How long a single page took, by the state it was in: from the histograms that the guest counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from bench.analysis.series import FloatArray
from bench.wire.metrics_cost import STATES
from bench.wire.units import show, show_seconds
from reports.axes import EMULATED, figure_of, legend, legend_px, note, panes
from reports.data import Seen
from reports.svg import COLOUR, Picture, Size, Table, colour, dashes, picture
from reports.words import is_number

# Phase that touches -> the state of its pages, in words. Others (warming up, filling) answer no question.
_STATES = {"touch": "first touch", "retouch": "touched again after the free", **STATES}
_NS = 1e-9
_HEIGHT_PX, _LEFT_PX, _LEAST_SHARE = 250.0, 62.0, 1e-6
# The points of a curve that are drawn: finer steps than these are not seen.
_PER_DECADE = 40
_QUANTILES = ((0.5, "Median"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"))


@dataclass(frozen=True)
class Pages:
    """All pages of an arm in one state: latency in s, rising, and how many pages took that long; shape (n,)."""

    latency: FloatArray
    count: FloatArray

    def quantile(self, share: float) -> float:
        at = np.searchsorted(np.cumsum(self.count), share * self.count.sum())
        return float(self.latency[min(int(at), len(self.latency) - 1)])

    def over(self) -> FloatArray:
        """Share of pages that took at least as long as each latency."""
        return np.asarray(1 - (np.cumsum(self.count) - self.count) / self.count.sum())


def latencies(
    figure_id: str, boots: Mapping[str, Sequence[Seen]], arms: Sequence[str], *, marked: bool
) -> list[Picture]:
    """One picture a state in which pages were timed, arms on one axis."""
    found = {
        state: {arm: pages for arm, part in boots.items() if (pages := _pages(part, state)) is not None}
        for state in _STATES
    }
    return [
        _draw(f"{figure_id}-{state}", f"Latency of one page, {_STATES[state]}", by_arm, arms, marked=marked)
        for state, by_arm in found.items()
        if by_arm
    ]


def _pages(boots: Sequence[Seen], state: str) -> Pages | None:
    """Boots and iterations added up; warm-ups do not count."""
    total: dict[float, float] = {}
    for one in boots:
        for phase in one.boot.get("phases") or []:
            if phase.get("name") != state or phase.get("warmup"):
                continue
            for pair in (phase.get("result") or {}).get("histogram") or []:
                if isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair)) and pair[0] > 0 < pair[1]:
                    total[float(pair[0])] = total.get(float(pair[0]), 0.0) + float(pair[1])
    if not total:
        return None
    ordered = sorted(total.items())
    return Pages(np.array([ns for ns, _ in ordered]) * _NS, np.array([count for _, count in ordered]))


def _draw(figure_id: str, title: str, by_arm: Mapping[str, Pages], arms: Sequence[str], *, marked: bool) -> Picture:
    def draw(size: Size) -> Figure:
        (ax,) = panes(size, [(legend_px(list(by_arm), size), _HEIGHT_PX)], _LEFT_PX)
        for arm, pages in by_arm.items():
            latency, share = _thinned(pages)
            ax.step(latency, share, where="post", color=colour(arms.index(arm)), ls=dashes(arms.index(arm)), lw=2)
        _axes(ax, size, marked=marked)
        legend(ax, list(by_arm), arms, size)
        return figure_of(ax)

    rows = tuple(
        (arm, show(pages.count.sum(), "count"), *(show_seconds(pages.quantile(share)) for share, _ in _QUANTILES),
         show_seconds(float(pages.latency[-1])))
        for arm, pages in by_arm.items()
    )  # fmt: skip
    said = "; ".join(
        f"arm {arm}: median {show_seconds(pages.quantile(0.5))}, "
        f"one page in a thousand {show_seconds(pages.quantile(0.999))} or more"
        for arm, pages in by_arm.items()
    )
    head = ("Arm", "Pages", *(name for _, name in _QUANTILES), "Longest")
    return picture(figure_id, title, f"{said}{' †' if marked else ''}.", draw, Table(head, rows))


def _thinned(pages: Pages) -> tuple[FloatArray, FloatArray]:
    """The last bucket of each fortieth of a decade, and both ends."""
    share = pages.over()
    place = np.floor(np.log10(pages.latency) * _PER_DECADE)
    kept = np.r_[True, place[1:] != place[:-1]]
    kept[-1] = True
    return pages.latency[kept], np.maximum(share[kept], _LEAST_SHARE)


def _axes(ax: Axes, size: Size, *, marked: bool) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_major_locator(LogLocator(10, numticks=6 if size.narrow else 10))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_locator(LogLocator(10, numticks=8))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show_seconds(value).replace(".0 ", " ")))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    ax.set_ylim(top=1.4)
    ax.grid()
    ax.tick_params(axis="both", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"time of one page{f'  {EMULATED}' if marked else ''}")
    note(ax, "pages that took at least so long", (0, 0), ("axes fraction", "axes fraction"), (6, 8),
         color=COLOUR["muted"], fontsize=11)  # fmt: skip
