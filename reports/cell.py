"""One host and workload on the page: its comparisons and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.wire.metrics import METRICS
from bench.wire.units import show_seconds
from reports import figures, primary, result, words
from reports.boots import boots
from reports.data import MIB, Seen, by_boot, guest_bytes, seen, traces
from reports.latency import latencies
from reports.load import Run
from reports.pressure import pressure
from reports.residency import SINGLES, residency
from reports.svg import Picture

NO_RETURN = "returned nothing, so there is no time"
# (figure, what stands below it)
Captioned = tuple[Picture, str]


@dataclass(frozen=True)
class Cell:
    """Figures that have nothing to show are not there: what was not measured has no picture."""

    id: str
    host: str
    cell: str
    comparisons: list[result.Comparison]
    medians: result.Medians
    metrics: tuple[Captioned, ...]
    memory: tuple[Captioned, ...]
    latency: tuple[Captioned, ...]
    pressure: tuple[Captioned, ...]


def cell_of(run: Run, number: int, host: str, cell: str, unread: list[str]) -> Cell:
    """unread: gets what could not be read."""
    name = f"c{number}"
    read, problems = seen(run, host, cell)
    unread += problems
    return Cell(
        name,
        host,
        cell,
        result.comparisons(run, host, cell),
        result.medians(run, host, cell),
        tuple(_metrics(run, name, host, cell)),
        tuple(_memory(run, name, host, cell, read)),
        tuple((picture, LATENCY) for picture in latencies(f"{name}-page", read, run.arms, marked=run.emulated)),
        tuple((picture, PRESSURE) for picture in pressure(f"{name}-host", read, run.arms)),
    )


BOOTS = (
    "Left: one mark a boot, a bar at the median, boots of one block joined. Right: share of boots at or below a value."
)
FOOTPRINT = (
    "Coloured bar: mean resident memory over the plan's window after the free, median of the boots (dots: each boot). "
    "Grey bar: configured guest size, the first denominator. Dashed line: what the reference really held, the second."
)
RETURNS = "One mark a boot, a bar at the median. Time is the host's clock."
LATENCY = (
    "Share of pages that took at least that long, all boots together. Both axes are logarithmic: a tail is a line that "
    "falls late."
)
PRESSURE = "Median of the boots, from the first phase on."


def _metrics(run: Run, name: str, host: str, cell: str) -> list[Captioned]:
    """Each metric of the plan, boot by boot, where some boot has it."""
    found = []
    for number, metric in enumerate((one for one in primary.metrics(run) if one in METRICS), start=1):
        values = {arm: part for arm, part in by_boot(run, host, cell, metric).items() if part}
        if values:
            marked = result.is_marked(run, metric)
            found.append(
                (boots(f"{name}-m{number}", metric, words.title(metric), values, run.arms, marked=marked), BOOTS)
            )
    return found


def _memory(run: Run, name: str, host: str, cell: str, read: Mapping[str, Sequence[Seen]]) -> list[Captioned]:
    memory = guest_bytes([boot for boot in run.boots if (boot.get("host"), boot.get("cell")) == (host, cell)])
    arm_traces = traces(read)
    found: list[Captioned] = []
    if arm_traces:
        picture = residency(f"{name}-residency", arm_traces, run.arms, memory / MIB if memory else None)
        found.append((picture, _residency_words(arm_traces)))
    footprint, returns = _footprint(run, name, host, cell, memory), _returns(run, name, host, cell)
    found += [(footprint, FOOTPRINT)] if footprint else []
    found += [(returns, RETURNS)] if returns else []
    return found


def _residency_words(arm_traces: Sequence[Any]) -> str:
    most = max(len(trace.segments) for trace in arm_traces)
    what = "free" if arm_traces[0].free else "boot"
    thin = f"every {what}" if most <= SINGLES else f"the first {SINGLES} {what}s of each arm"
    first = " at their first free" if arm_traces[0].free else ""
    return (
        f"Thick line and band: median, lowest and highest of the boots{first}. Thin lines: {thin}. "
        "Bars: what the guest did, at each arm's median times."
    )


def _returns(run: Run, name: str, host: str, cell: str) -> Picture | None:
    panels = []
    for share in (50, 90, 99):
        found = by_boot(run, host, cell, f"t{share}_s")
        values = {arm: [value for _, value in found[arm]] for arm in run.arms if run.good(host, cell, arm)}
        if any(values.values()):
            panels.append(figures.Strips(f"until {share} % had come back", values, NO_RETURN))
    if not panels:
        return None
    return figures.strips(f"{name}-returns", "Time to return", panels, run.arms, "seconds from the start of the free",
                          show_seconds)  # fmt: skip


def _footprint(run: Run, name: str, host: str, cell: str, memory: float | None) -> Picture | None:
    windows: dict[Any, float] = {
        (boot.get("arm"), boot.get("block")): float(boot.get("window_s") or 0)
        for boot in run.boots
        if (boot.get("host"), boot.get("cell")) == (host, cell)
    }
    values = {
        arm: [area / windows[arm, block] for block, area in pairs if windows.get((arm, block))]
        for arm, pairs in by_boot(run, host, cell, "footprint_byte_s").items()
    }
    if memory is None or not any(values.values()):
        return None
    return figures.footprint(f"{name}-footprint", values, run.arms, memory, run.reference)
