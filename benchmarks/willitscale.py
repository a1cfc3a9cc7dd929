"""memtouch's page_fault modes against will-it-scale's own programs, in one guest and one run.

    python -m benchmarks.willitscale FOLDER [ROUNDS] [SECONDS]

FOLDER holds a build of will-it-scale (page_fault1_processes, page_fault1_threads, and those of 2 and 3). The programs
are carried into the guest's image. They take turns with memtouch: the same test, kind, size (128 MiB), one task, five
seconds of warm-up, so many seconds measured; whoever begins changes from round to round. The ratio is the median of the
rounds' ratios; within 2 % of one it is "yes".
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.controller.arms import ARMS
from bench.controller.bundle import build_bundle
from bench.controller.collect import Collected
from bench.controller.image import build_image
from bench.controller.programs import Program, find
from bench.controller.session import Session
from bench.controller.transport import LocalTransport
from bench.wire.cache import cache_folder
from bench.wire.codec import from_json
from bench.wire.job import Guest, Job, Paths, Phase
from bench.wire.units import MIB

TESTS = ("page_fault1", "page_fault2", "page_fault3")
# As in the program's name, and as memtouch calls it.
KINDS = {"processes": "process", "threads": "thread"}
# Below about 560 MiB the guest's kernel switches transparent huge pages off.
MEMORY_BYTES, SIZE_BYTES = 1024 * MIB, 128 * MIB
WARMUP_S, LIMIT = 5, 0.02
_SECOND = re.compile(r"^min:(\d+) max:(\d+) total:(\d+)$", re.MULTILINE)

Rates = dict[tuple[str, str, str], list[float]]  # (test, kind, whose) -> pages a second, one value a round


def main(folder: str, rounds: int = 5, seconds: int = 4) -> None:
    """Prints the table."""
    names = [f"{test}_{kind}" for test in TESTS for kind in KINDS]
    found = find([Program(name, str(Path(folder).resolve() / name)) for name in names])
    cache = cache_folder()
    session, image = Session(LocalTransport("local"), str(build_bundle(cache))), build_image(cache, found)
    answer = session.ask("resolve", qemu="", kernel="", modules="", accel="auto", image=str(image))
    paths, accel = from_json(Paths, answer["paths"]), answer["accel"]
    phases = tuple(_phases(rounds, seconds))
    guest = Guest(MEMORY_BYTES, 1, accel)
    job = Job("local", "willitscale", ARMS["none"], 1, 0, guest, paths, phases, deadline_s=60.0 + 60 * len(phases))
    seen = Collected(job)
    end = session.boot(job, seen.add)
    assert end.status == "ok", end
    print(f"guest {answer['guest_kernel']}, QEMU {answer['qemu_version']}, {accel}, 1 GiB, 1 vCPU, {rounds} rounds")
    print(f"\n{'pages a second':24}{'will-it-scale':>15}{'memtouch':>12}{'ratio':>8}{'quartiles':>16}  within 2 %")
    rates = _rates(seen.phases)
    for test in TESTS:
        for kind in KINDS:
            print(_line(f"{test} {kind}", rates[test, kind, "original"], rates[test, kind, "memtouch"]))


def measured(output: str) -> float:
    """Pages a second from will-it-scale's output: the mean of the seconds behind "measurement". Raises ValueError."""
    _, said, behind = output.partition("\nmeasurement\n")
    totals = [int(match[3]) for match in _SECOND.finditer(behind)]
    if not said or not totals:
        raise ValueError(f"no measured second in {output[-300:]!r}")
    return statistics.fmean(totals)


def _phases(rounds: int, seconds: int) -> Iterator[Phase]:
    yield Phase("setup", "guest", 0, "setup")
    for number in range(rounds):
        for test in TESTS:
            for kind, ours in KINDS.items():
                argv = [f"{test}_{kind}", "-t", "1", "-s", str(seconds)]
                run = {"program": "original", "argv": argv, "deadline_s": 60.0 + 4 * (seconds + WARMUP_S)}
                args = {"test": test, "tasks": 1, "kind": ours, "seconds": float(seconds), "warmup_s": float(WARMUP_S)}
                pair = [
                    Phase(f"{test} {kind} original", "guest", number, "program_run", run),
                    Phase(f"{test} {kind} memtouch", "guest", number, "throughput", {**args, "bytes": SIZE_BYTES}),
                ]
                yield from reversed(pair) if number % 2 else pair


def _rates(phases: list[dict[str, Any]]) -> Rates:
    found: Rates = {}
    for phase in phases:
        if phase["name"] != "setup":
            test, kind, whose = phase["name"].split()
            result = phase["result"]
            value = measured(result["output"]) if whose == "original" else float(result["per_second"])
            found.setdefault((test, kind, whose), []).append(value)
    return found


def _line(name: str, original: list[float], ours: list[float]) -> str:
    first, second = statistics.median(original), statistics.median(ours)
    # Of one round each: what was different from round to round is in both.
    ratios = [b / a for a, b in zip(original, ours, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    ratio = statistics.median(ratios)
    verdict = "yes" if abs(ratio - 1) <= LIMIT else "NO"
    return f"{name:24}{first:15.0f}{second:12.0f}{ratio:8.3f}{f'{low:.3f} to {high:.3f}':>16}  {verdict}"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:4]))
