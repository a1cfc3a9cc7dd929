"""What figures and tables are drawn from: values by boot, and residency around each free. No drawing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.analysis.series import NO_CURVE, Curve, shifted
from reports.load import Json, Run, series
from reports.words import is_number

MIB = 2.0**20
# Phases that always have a bar, with the words for them: the longest that fits is used. Others have their name.
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
# A phase that is shorter than this share of what is shown has no bar.
_SHORTEST = 0.004
RESIDENT, DISCARDED = "ram.resident_bytes", "discard.bytes"
MEMORY_SOME, MEMORY_FULL = "psi.memory_some_us", "psi.memory_full_us"
SWAP_IN, SWAP_OUT = "vmstat.pswpin", "vmstat.pswpout"
SWAPPED = "ram.swapped_bytes"
# What a page draws of a series: all else stays in the run folder.
DRAWN = (RESIDENT, DISCARDED, MEMORY_SOME, MEMORY_FULL, SWAP_IN, SWAP_OUT, SWAPPED)


@dataclass(frozen=True)
class Seen:
    """One boot that counts, with the lines of its series that a page draws, by name, over s since QEMU's start."""

    boot: Json
    lines: Mapping[str, Curve]


@dataclass(frozen=True)
class Segment:
    """A boot around one free, time 0 at its start; or a whole boot, time 0 at its first phase.

    first: the boot's first that counts. Later ones start from what the one before left resident.
    curve: residency, MiB over s. discards: MiB at the moment of each.
    """

    boot: str
    first: bool
    curve: Curve
    discards: Curve


@dataclass(frozen=True)
class Span:
    """A phase of an arm: medians over its boots, s relative to time 0."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class ArmTrace:
    """Residency of an arm: every boot and iteration that counts, and its phases. free: whether time 0 is a free."""

    arm: str
    segments: tuple[Segment, ...]
    spans: tuple[Span, ...]
    free: bool


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


def seen(run: Run, host: str, cell: str) -> tuple[dict[str, list[Seen]], list[str]]:
    """The usable boots of every arm that has some, with their series; and what could not be read, in words."""
    result: dict[str, list[Seen]] = {}
    problems = []
    for arm in run.arms:
        for boot in run.good(host, cell, arm):
            lines, problem = series(run, boot, DRAWN)
            problems += [f"series of {boot.get('boot')}: {problem}"] if problem else []
            result.setdefault(arm, []).append(Seen(boot, lines))
    return result, problems


def traces(boots: Mapping[str, Sequence[Seen]]) -> list[ArmTrace]:
    """Residency of every arm that has any. Around the frees where all boots have one, else of the whole boots."""
    free = all("free" in phases for part in boots.values() for one in part for phases in _iterations(one.boot).values())
    found = []
    for arm, part in boots.items():
        segments: list[Segment] = []
        times: dict[str, list[tuple[float, float]]] = {}
        for one in part:
            segments += _segments(one, times) if free else _whole(one, times)
        if segments:
            found.append(ArmTrace(arm, tuple(segments), _spans(segments, times), free))
    return found


def _spans(segments: Sequence[Segment], times: Mapping[str, Sequence[tuple[float, float]]]) -> tuple[Span, ...]:
    spans = [Span(name, median(t for t, _ in pairs), median(t for _, t in pairs)) for name, pairs in times.items()]
    length = max(float(part.curve.t[-1] - part.curve.t[0]) for part in segments)
    return tuple(span for span in spans if span.name in PHASES or span.end_s - span.start_s > _SHORTEST * length)


def _segments(one: Seen, times: dict[str, list[tuple[float, float]]]) -> list[Segment]:
    """Adds the phases of each iteration to `times`, in the order in which they were first seen."""
    segments: list[Segment] = []
    for _, phases in sorted(_iterations(one.boot).items()):
        origin = phases["free"][0]
        begin = min(phases.get("touch", phases["free"])[0], origin) - _BEFORE_S
        end = max(end for _, end in phases.values())
        segments += _segment(one, not segments, (begin, end), origin)
        for name, (start, stop) in phases.items():
            if start >= begin:
                times.setdefault(name, []).append((start - origin, stop - origin))
    return segments


def _whole(one: Seen, times: dict[str, list[tuple[float, float]]]) -> list[Segment]:
    phases = [(f"{name} {number}" if number else name, when)
              for number, part in sorted(_iterations(one.boot).items()) for name, when in part.items()]  # fmt: skip
    if not phases:
        return []
    origin, end = min(start for _, (start, _) in phases), max(stop for _, (_, stop) in phases)
    for name, (start, stop) in phases:
        times.setdefault(name, []).append((start - origin, stop - origin))
    return _segment(one, True, (origin - _BEFORE_S, end), origin)


def _segment(one: Seen, first: bool, between: tuple[float, float], origin: float) -> list[Segment]:
    curve, discards = (
        shifted(one.lines.get(name, NO_CURVE).between(*between), origin) for name in (RESIDENT, DISCARDED)
    )
    if not len(curve):
        return []
    return [Segment(str(one.boot.get("boot")), first, _in_mib(curve), _in_mib(discards))]


def _in_mib(curve: Curve) -> Curve:
    return Curve(curve.t, curve.v / MIB)


def _iterations(boot: Json) -> dict[int, dict[str, tuple[float, float]]]:
    """Start and end of the phases by iteration, warm-ups left out."""
    result: dict[int, dict[str, tuple[float, float]]] = {}
    for phase in boot.get("phases") or []:
        name, start, end = phase.get("name"), phase.get("start_s"), phase.get("end_s")
        if name and not phase.get("warmup") and is_number(start) and is_number(end):
            result.setdefault(int(phase.get("iteration") or 0), {})[str(name)] = (float(start), float(end))
    return result


def guest_bytes(boots: Sequence[Json]) -> float | None:
    """Configured memory of the guests, when they all agree."""
    sizes = {boot.get("guest_memory_bytes") for boot in boots if is_number(boot.get("guest_memory_bytes"))}
    return float(sizes.pop() or 0) or None if len(sizes) == 1 else None
