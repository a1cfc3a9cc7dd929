"""What memtouch itself costs: its throughput mode against a plain C loop, and the latency histogram per page.

    python benchmarks/memtouch.py [ROUNDS]

Prints medians with quartiles, and the best round of each side. The sides take short turns within a round and change
places from one round to the next, so that a machine that drifts or is shared disturbs them alike; where it is loaded,
compare the best rounds: what else runs can only make a round slower.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from workloads import memtouch

WARMUP_S, SECONDS = 0.05, 0.3
REGION_BYTES = 128 << 20
PLAIN = Path(__file__).with_name("memtouch_plain.c")


def build_plain(folder: Path) -> Path:
    """The plain loop, compiled as memtouch is."""
    program = folder / "plain"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, str(PLAIN), "-o", str(program)], check=True)
    return program


def plain_pages_per_second(program: Path) -> float:
    """One run of the plain loop on the CPU that memtouch's only task gets."""
    cpu = min(os.sched_getaffinity(0))
    command = [str(program), str(cpu), str(WARMUP_S), str(SECONDS)]
    pages, ns = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(pages) / (int(ns) / 1e9)


def memtouch_pages_per_second(kind: memtouch.throughput.Kind) -> float:
    """One run of the throughput mode with one task."""
    return memtouch.run_throughput("page_fault1", 1, kind, SECONDS, WARMUP_S).per_second


def touch_ns_per_page(first_touch: bool, histogram: memtouch.Histogram | None) -> float:
    """One pass of writes over a region: page faults and all, or (not first touch) on resident memory."""
    with memtouch.map_region(REGION_BYTES, thp="never") as region:
        if not first_touch:
            region.touch("write")
        touched = region.touch("write", histogram)
    return touched.ns / touched.pages


def alternate(rounds: int, sides: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """`rounds` values of each side, measured in turns, in the reverse order every other round."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(sides):
            values[name].append(sides[name]())
    return values


def middle(values: list[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, low, high


def show(title: str, unit: str, values: dict[str, list[float]], best: Callable[[list[float]], float]) -> None:
    """A line a side; ratios are to the first side: of the same round, and of its best round."""
    print(f"\n{title} ({unit})")
    print(f"  {'':<20}{'median':>10}{'quartiles':>22}{'best':>10}   ratio (quartiles)      of the best")
    base = next(iter(values.values()))
    for name, side in values.items():
        median, low, high = middle(side)
        ratio, below, above = middle([value / reference for value, reference in zip(side, base, strict=True)])
        quartiles, ratios = f"{low:,.0f} to {high:,.0f}", f"{ratio:.3f} ({below:.3f} to {above:.3f})"
        figures = f"{median:>10,.0f}{quartiles:>22}{best(side):>10,.0f}"
        print(f"  {name:<20}{figures}   {ratios:<22} {best(side) / best(base):.3f}")


def main(rounds: int = 15) -> None:
    """Measure and print everything."""
    load = os.getloadavg()[0]
    print(f"{rounds} rounds, {os.cpu_count()} CPUs, load {load:.2f}, clock reading {memtouch.clock_cost_ns()} ns")
    with tempfile.TemporaryDirectory() as folder:
        program = build_plain(Path(folder))
        throughput = alternate(
            rounds,
            {
                "plain C loop": lambda: plain_pages_per_second(program),
                "memtouch, process": lambda: memtouch_pages_per_second("process"),
                "memtouch, thread": lambda: memtouch_pages_per_second("thread"),
            },
        )
    show("page_fault1, one task, 128 MiB", "pages/s", throughput, max)
    for title, first in (("first touch, a write a page", True), ("write to resident pages", False)):
        sides: dict[str, Callable[[], float]] = {
            "without histogram": lambda first=first: touch_ns_per_page(first, None),  # type: ignore[misc]
            "with histogram": lambda first=first: touch_ns_per_page(first, memtouch.Histogram()),  # type: ignore[misc]
        }
        values = alternate(rounds, sides)
        show(title, "ns/page", values, min)
        without, with_it = values.values()
        median, low, high = middle([b - a for a, b in zip(without, with_it, strict=True)])
        best = min(with_it) - min(without)
        print(f"  the histogram costs {median:.1f} ns/page (quartiles {low:.1f} to {high:.1f}; best rounds {best:.1f})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
