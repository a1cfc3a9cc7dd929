"""report.html of a run folder: one self-contained page, without network or script. It decides nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.analysis.controls import sentence
from bench.wire.units import show_seconds
from reports import context, figures, result, words
from reports.combined import Combined, combined
from reports.data import MIB, by_boot, guest_bytes, traces
from reports.forest import forest
from reports.lab import lab
from reports.load import Run, read_run
from reports.pareto import fronts
from reports.svg import ARM_COLOURS, Picture

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "report.html"
NO_RETURN = "returned nothing, so there is no time"


@dataclass(frozen=True)
class Cell:
    """One host and workload on the page. Absent figures are None: what was not measured has no picture."""

    id: str
    host: str
    cell: str
    comparisons: list[result.Comparison]
    medians: result.Medians
    pictures: Mapping[str, Picture | None]
    single_boots: int


def render(run_dir: Path) -> Path:
    """Writes report.html into the run folder, whole or not at all, and answers its path. Same files, same bytes.

    Raises InputError when there is no run.json to be read, OSError when the folder cannot be written.
    """
    text = page(read_run(run_dir))
    path = run_dir / PAGE
    part = run_dir / f".{PAGE}.part"
    part.write_text(text, encoding="utf-8")
    return part.replace(path)


def page(run: Run) -> str:
    """The page as text."""
    unread: list[str] = []
    cells = [_cell(run, number, host, cell, unread) for number, (host, cell) in enumerate(run.cells(), start=1)]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"slug": _slug, "when": words.when}
    return environment.get_template("report.html.j2").render(
        run=run,
        plan=run.run,
        verdict=result.verdict(run),
        tiles=result.tiles(run),
        combined=[(item, _forest(run, number, item)) for number, item in enumerate(combined(run), start=1)],
        cells=cells,
        arm_class={arm: f"arm-{index % ARM_COLOURS}" for index, arm in enumerate(run.arms)},
        fronts=fronts(run),
        controls=sentence(run.analysis.get("controls") or []),
        out_of_memory=run.analysis.get("out_of_memory") or [],
        lab=lab(run),
        hosts=context.host_facts(run),
        guests=context.guest_facts(run),
        guest_files=context.file_facts(run),
        versions=context.versions(run),
        commands=context.command_lines(run),
        doubts=context.doubts(run, unread),
        order=context.order(run),
        files=context.files(run),
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def _forest(run: Run, number: int, item: Combined) -> Picture | None:
    place = run.arms.index(item.arm) if item.arm in run.arms else 1
    return forest(f"f{number}-hosts", item.forest, place) if item.forest else None


def _cell(run: Run, number: int, host: str, cell: str, unread: list[str]) -> Cell:
    name = f"c{number}"
    arm_traces, problems = traces(run, host, cell)
    unread += problems
    memory = guest_bytes([boot for boot in run.boots if (boot.get("host"), boot.get("cell")) == (host, cell)])
    pictures: dict[str, Picture | None] = {
        "residency": figures.residency(f"{name}-residency", arm_traces, run.arms, memory / MIB if memory else None)
        if arm_traces
        else None,
        "returns": _returns(run, name, host, cell),
        "touch": _touch(run, name, host, cell),
        "latency": _latency(run, name, host, cell),
        "footprint": _footprint(run, name, host, cell, memory),
    }
    comparisons = result.comparisons(run, host, cell)
    return Cell(name, host, cell, comparisons, result.medians(run, host, cell), pictures,
                sum(len(trace.segments) for trace in arm_traces))  # fmt: skip


def _panels(run: Run, host: str, cell: str, metrics: Sequence[tuple[str, str]], silent: str) -> list[figures.Strips]:
    """One panel a metric that has any value; arms without usable boots are left out."""
    panels = []
    for metric, title in metrics:
        found = by_boot(run, host, cell, metric)
        values = {arm: [value for _, value in found[arm]] for arm in run.arms if run.good(host, cell, arm)}
        if any(values.values()):
            panels.append(figures.Strips(title, values, silent))
    return panels


def _returns(run: Run, name: str, host: str, cell: str) -> Picture | None:
    metrics = [(f"t{share}_s", f"until {share} % had come back") for share in (50, 90, 99)]
    panels = _panels(run, host, cell, metrics, NO_RETURN)
    if not panels:
        return None
    return figures.strips(f"{name}-returns", "Time to return", panels, run.arms, "seconds from the start of the free",
                          show_seconds)  # fmt: skip


def _touch(run: Run, name: str, host: str, cell: str) -> Picture | None:
    metrics = [("first_touch_s_per_gib", "first touch"), ("refault_s_per_gib", "touch again, after the free (refault)")]
    panels = _panels(run, host, cell, metrics, "not measured")
    axis = "seconds per GiB" + (f"  {figures.EMULATED}" if run.emulated else "")
    return (
        figures.strips(f"{name}-touch", "Seconds to touch a GiB", panels, run.arms, axis, show_seconds)
        if panels
        else None
    )


def _latency(run: Run, name: str, host: str, cell: str) -> Picture | None:
    parts = (("p50", "median page"), ("p99", "99 % of pages"), ("p999", "99.9 % of pages"))
    metrics = [(f"refault_{short}_s", f"touch again, {said}") for short, said in parts]
    panels = _panels(run, host, cell, metrics, "not measured")
    axis = "time of one page, logarithmic" + (f"  {figures.EMULATED}" if run.emulated else "")
    if not panels:
        return None
    return figures.strips(f"{name}-latency", "Latency of one page, touched again", panels, run.arms, axis, show_seconds,
                          log=True)  # fmt: skip


def _footprint(run: Run, name: str, host: str, cell: str, memory: float | None) -> Picture | None:
    windows: dict[Any, float] = {
        (boot.get("arm"), boot.get("block")): float(boot.get("window_s") or 0) for boot in run.boots
    }
    values = {
        arm: [area / windows[arm, block] for block, area in pairs if windows.get((arm, block))]
        for arm, pairs in by_boot(run, host, cell, "footprint_byte_s").items()
    }
    if memory is None or not any(values.values()):
        return None
    return figures.footprint(f"{name}-footprint", values, run.arms, memory, run.reference)
