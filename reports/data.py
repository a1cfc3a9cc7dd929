"""What figures and tables are drawn from: values by boot, and residency around each free. No drawing here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.analysis.series import Curve, shifted
from reports.load import Json, Run, residency
from reports.words import is_number

MIB = 2.0**20
# Phases that are shown, in their order, with the words for them: the longest that fits is used.
PHASES = {
    "touch": ("touch",),
    "hold": ("hold",),
    "verify": ("verify",),
    "free": ("free",),
    "settle": ("settle",),
    "retouch": ("touch again", "touch"),
    "reverify": ("verify",),
}
_BEFORE_S = 0.5


@dataclass(frozen=True)
class Segment:
    """Residency of one boot around one free: MiB over s, time 0 at the start of the free.

    first: the boot's first free that counts. Later ones start from what the one before left resident.
    """

    boot: str
    first: bool
    curve: Curve


@dataclass(frozen=True)
class Span:
    """A phase of an arm: medians over its boots, s relative to the start of the free."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class ArmTrace:
    """Residency of an arm: every boot and iteration that counts, and its phases."""

    arm: str
    segments: tuple[Segment, ...]
    spans: tuple[Span, ...]


def boot_median(values: Any) -> float | None:
    """Median of the iterations of a boot that have a value; None when there is none."""
    kept = [float(value) for value in values if is_number(value)] if isinstance(values, list) else []
    return median(kept) if kept else None


def by_boot(run: Run, host: str, cell: str, metric: str) -> dict[str, list[tuple[int, float]]]:
    """(block, value) of each usable boot by arm; an arm without values has an empty list."""
    result: dict[str, list[tuple[int, float]]] = {}
    for arm in run.arms:
        pairs = [(boot.get("block"), boot_median(_values(boot).get(metric))) for boot in run.good(host, cell, arm)]
        result[arm] = sorted((int(b), v) for b, v in pairs if isinstance(b, int) and v is not None)
    return result


def _values(boot: Json) -> Json:
    values = boot.get("values")
    return values if isinstance(values, dict) else {}


def traces(run: Run, host: str, cell: str) -> tuple[list[ArmTrace], list[str]]:
    """Residency of every arm that has usable boots, and what could not be read, in words."""
    result, problems = [], []
    for arm in run.arms:
        segments: list[Segment] = []
        starts: dict[str, list[tuple[float, float]]] = {}
        for boot in run.good(host, cell, arm):
            curve, problem = residency(run, boot)
            problems += [f"series of {boot.get('boot')}: {problem}"] if problem else []
            segments += _segments(boot, curve, starts)
        spans = tuple(
            Span(name, median(start for start, _ in pairs), median(end for _, end in pairs))
            for name, pairs in sorted(starts.items(), key=lambda item: list(PHASES).index(item[0]))
        )
        if segments:
            result.append(ArmTrace(arm, tuple(segments), spans))
    return result, problems


def _segments(boot: Json, curve: Curve, starts: dict[str, list[tuple[float, float]]]) -> list[Segment]:
    segments: list[Segment] = []
    for _, phases in sorted(_iterations(boot).items()):
        free = phases.get("free")
        if free is None or not len(curve):
            continue
        origin = free[0]
        begin = phases.get("touch", free)[0] - _BEFORE_S
        end = max(end for _, end in phases.values())
        part = shifted(curve.between(begin, end), origin)
        if len(part):
            segments.append(Segment(str(boot.get("boot")), not segments, Curve(part.t, part.v / MIB)))
            for name, (start, stop) in phases.items():
                starts.setdefault(name, []).append((start - origin, stop - origin))
    return segments


def _iterations(boot: Json) -> dict[int, dict[str, tuple[float, float]]]:
    """Start and end of the shown phases by iteration, warm-ups left out."""
    result: dict[int, dict[str, tuple[float, float]]] = {}
    for phase in boot.get("phases") or []:
        name, start, end = phase.get("name"), phase.get("start_s"), phase.get("end_s")
        if name in PHASES and not phase.get("warmup") and is_number(start) and is_number(end):
            result.setdefault(int(phase.get("iteration") or 0), {})[name] = (float(start), float(end))
    return result


def guest_bytes(boots: Sequence[Json]) -> float | None:
    """Configured memory of the guests, when they all agree."""
    sizes = {boot.get("guest_memory_bytes") for boot in boots if is_number(boot.get("guest_memory_bytes"))}
    return float(sizes.pop() or 0) or None if len(sizes) == 1 else None
