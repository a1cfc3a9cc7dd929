"""`bench memtouch`: the workloads of the guest, run on this machine, printed. The only module here that needs click."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from workloads.memtouch.histogram import Histogram
from workloads.memtouch.region import (
    DEFAULT_FOLDER,
    HOWS,
    MAPPINGS,
    MODES,
    THPS,
    Extent,
    How,
    Mapping,
    Mode,
    Released,
    Thp,
    Touched,
    Verified,
    clock_cost_ns,
    map_region,
)
from workloads.memtouch.throughput import DEFAULT_BYTES, KINDS, TESTS, Kind, Test, Throughput, run_throughput

MIB = 1 << 20
QUANTILES = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclasses.dataclass(frozen=True)
class Cycle:
    """One map, touch, verify, release. `latency_ns` is empty without a histogram; `verified` is None after a read."""

    mapping: str
    thp: str
    mode: str
    how: str
    touched: Touched
    latency_ns: dict[str, int]
    clock_cost_ns: int
    verified: Verified | None
    released: Released


def measure_cycle(
    size_bytes: int,
    mapping: Mapping,
    thp: Thp,
    mode: Mode,
    how: How,
    histogram: bool,
    every: int,
    block_bytes: int,
    folder: str,
) -> Cycle:
    """Map, touch, verify and release once. OSError with advice, ValueError for wrong arguments."""
    counts = Histogram() if histogram else None
    with map_region(size_bytes, mapping, thp, folder) as region:
        touched = region.touch(mode, counts)
        extent: Extent = "full" if mode == "fill" else "word"
        verified = None if mode == "read" else region.verify(extent)
        released = region.release(how, every, block_bytes)
    return Cycle(mapping, thp, mode, how, touched, latencies(counts), clock_cost_ns(), verified, released)


def latencies(histogram: Histogram | None) -> dict[str, int]:
    """The quantiles that are printed, in ns by name; none of no histogram."""
    if histogram is None:
        return {}
    return {name: histogram.quantile(q) for name, q in QUANTILES.items()} | {"max_ns": histogram.max_ns}


def cycle_text(cycle: Cycle) -> str:
    """What `bench memtouch cycle` prints, one line a step."""
    touched = cycle.touched
    lines = [
        f"mapping  {cycle.mapping}, THP {cycle.thp}, {touched.pages} pages of {touched.page_bytes} bytes",
        f"touch    {touched.ns / 1e9:.6f} s  {touched.ns / touched.pages:.1f} ns/page ({cycle.mode})",
    ]
    if cycle.latency_ns:
        figures = "  ".join(f"{name.removesuffix('_ns')} {ns} ns" for name, ns in cycle.latency_ns.items())
        lines.append(f"latency  {figures}  (a clock reading of {cycle.clock_cost_ns} ns included)")
    if cycle.verified is not None:
        lines.append(f"verify   {cycle.verified.ns / 1e9:.6f} s  {verdict_text(cycle.verified)}")
    released = cycle.released
    given = f"{released.bytes / MIB:.1f} of {released.offered_bytes / MIB:.1f} MiB given back"
    lines.append(f"release  {released.ns / 1e9:.6f} s  {given} ({cycle.how})")
    return "\n".join(lines)


def verdict_text(verified: Verified) -> str:
    """The verification in words: every page good, or how many are bad and the first wrong word."""
    bad = verified.first_bad
    if bad is None:
        return "every page is as written"
    return (
        f"{verified.bad_pages} bad pages, first at {bad.address:#x}: {bad.found:#018x} instead of {bad.expected:#018x}"
    )


def throughput_text(result: Throughput) -> str:
    """What `bench memtouch throughput` prints: the total, then a line a task."""
    count = len(result.cpus)
    plural = "" if count == 1 else "es" if result.kind == "process" else "s"
    lines = [
        f"{result.test}, {count} {result.kind}{plural}, {result.bytes / MIB:g} MiB each, THP {result.thp}",
        f"time     {result.seconds:.3f} s after {result.warmup_s:g} s of warm-up",
        f"total    {result.per_second:.0f} pages/s",
    ]
    for task, (cpu, pages) in enumerate(zip(result.cpus, result.iterations, strict=True)):
        lines.append(f"task {task:<3} {pages / result.seconds:.0f} pages/s on CPU {cpu}")
    return "\n".join(lines)


def parse_bytes(text: str) -> int:
    """'4096', '64K', '128M', '1.5G' (with or without iB) to bytes; ValueError says what is right."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{text!r} is no size: give bytes, or a number with K, M, G or T, such as 128M")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def size(text: str) -> int:
    """`parse_bytes` as a click type."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class _Refused(click.ClickException):
    exit_code = 2


@contextmanager
def _as_click_errors() -> Iterator[None]:
    """Wrong arguments, and what this machine lacks, end with exit code 2 and the advice."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise _Refused(error.strerror or str(error)) from error


def _show(as_json: bool, value: dict[str, Any], text: str) -> None:
    click.echo(json.dumps(value, indent=2) if as_json else text)


_THP = click.option(
    "--thp", type=click.Choice(THPS), default="system", show_default=True, help="Transparent huge pages."
)
_FOLDER = click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="Where the nameless file of a file mapping is made.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group(
    epilog="""\b
Examples:
  bench memtouch cycle --size 1G --histogram
  bench memtouch throughput --tasks 2 --seconds 5"""
)
def memtouch() -> None:
    """Touch memory on this machine, as the guests do."""


@memtouch.command()
@click.option(
    "--size",
    "size_bytes",
    type=size,
    default="256M",
    show_default=True,
    help="Bytes to map; K, M, G, T are powers of 1024.",
)
@click.option("--mapping", type=click.Choice(MAPPINGS), default="anonymous", show_default=True)
@_THP
@click.option(
    "--mode", type=click.Choice(MODES), default="write", show_default=True, help="One access a page, or every byte."
)
@click.option("--how", type=click.Choice(HOWS), default="munmap", show_default=True, help="How memory is given back.")
@click.option("--every", type=click.IntRange(1), default=2, show_default=True, help="holes: every nth block.")
@click.option("--block", type=size, default="2M", show_default=True, help="holes: size of a block.")
@_FOLDER
@click.option("--histogram", is_flag=True, help="Latency of each page; costs a clock reading a page.")
@_JSON
def cycle(
    size_bytes: int,
    mapping: Mapping,
    thp: Thp,
    mode: Mode,
    how: How,
    every: int,
    block: int,
    folder: str,
    histogram: bool,
    as_json: bool,
) -> None:
    """Map, touch, verify and release once.

    \b
    bench memtouch cycle --size 1G --thp always --histogram
    bench memtouch cycle --mode fill --how holes --every 2 --block 64K
    """
    with _as_click_errors():
        result = measure_cycle(size_bytes, mapping, thp, mode, how, histogram, every, block, folder)
    _show(as_json, dataclasses.asdict(result), cycle_text(result))
    if result.verified is not None and result.verified.bad_pages:
        click.get_current_context().exit(4)


@memtouch.command()
@click.option("--test", type=click.Choice(TESTS), default="page_fault1", show_default=True, help="As in will-it-scale.")
@click.option("--tasks", type=click.IntRange(1), default=1, show_default=True)
@click.option("--kind", type=click.Choice(KINDS), default="process", show_default=True)
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Measured time.")
@click.option("--warmup", type=float, default=1.0, show_default=True, help="Seconds before it.")
@click.option(
    "--size",
    "size_bytes",
    type=size,
    default=str(DEFAULT_BYTES),
    show_default="128M",
    help="Bytes mapped by each task.",
)
@_THP
@_FOLDER
@_JSON
def throughput(
    test: Test,
    tasks: int,
    kind: Kind,
    seconds: float,
    warmup: float,
    size_bytes: int,
    thp: Thp,
    folder: str,
    as_json: bool,
) -> None:
    """Page faults per second: map, write each page, unmap, again.

    \b
    bench memtouch throughput --tasks 2 --kind thread --seconds 5
    bench memtouch throughput --test page_fault3 --folder /dev/shm
    """
    with _as_click_errors():
        result = run_throughput(test, tasks, kind, seconds, warmup, size_bytes, thp, folder)
    value = dataclasses.asdict(result) | {"per_second": result.per_second}
    _show(as_json, value, throughput_text(result))
