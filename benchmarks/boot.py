"""What every boot pays, in real guests: QEMU's start to READY, and the CPU share of the sampler.

    python -m benchmarks.boot [BOOTS]

Boots guests of the arms in turn under the accelerator that works here; run it on a quiet machine.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable

from bench.controller.arms import ARMS
from bench.controller.bundle import build_bundle
from bench.controller.collect import Collected
from bench.controller.image import build_image
from bench.controller.session import Session
from bench.controller.transport import LocalTransport
from bench.wire.cache import cache_folder
from bench.wire.codec import from_json
from bench.wire.job import Guest, Job, Paths, Phase
from bench.wire.units import MIB

HOLD_S = 5.0
RATES_HZ = (20.0, 100.0)
# Those that every host can boot.
COMPARED = ("none", "idle-balloon", "reporting")


def main(boots: int = 5) -> None:
    """Prints both tables."""
    cache = cache_folder()
    session = Session(LocalTransport("local"), str(build_bundle(cache)))
    answer = session.ask("resolve", qemu="", kernel="", modules="", accel="auto", image=str(build_image(cache)))
    paths, accel = from_json(Paths, answer["paths"]), answer["accel"]
    print(f"guest {answer['guest_kernel']}, QEMU {answer['qemu_version']}, {accel}, 512 MiB, 1 vCPU")

    ready: dict[str, list[float]] = {name: [] for name in COMPARED}
    share: dict[float, list[float]] = {hz: [] for hz in RATES_HZ}
    for index in range(boots):
        for number, arm in enumerate(ARMS[name] for name in COMPARED):
            hz = RATES_HZ[(index + number) % len(RATES_HZ)]
            hold = (Phase("hold", "hold", 0, args={"s": HOLD_S}),)
            job = Job("local", "boot", arm, index + 1, 0, Guest(512 * MIB, 1, accel), paths, hold, sample_hz=hz)
            seen = Collected(job)
            end = session.boot(job, seen.add)
            assert seen.ready is not None, end
            ready[arm.name].append(seen.ready.ready_s)
            share[hz].append(end.sampler["cpu_s"] / end.sampler["wall_s"])

    print(f"\n{'QEMU start to READY, s':26}{'median':>8}{'lowest':>8}{'highest':>9}{'boots':>7}")
    for name, values in ready.items():
        print(f"{name:26}{_three(values)}{len(values):7}")
    print(f"\n{'sampler, % of one CPU':26}{'median':>8}{'lowest':>8}{'highest':>9}{'boots':>7}")
    for hz, values in share.items():
        print(f"{f'{hz:.0f} Hz':26}{_three(100 * value for value in values)}{len(values):7}")


def _three(values: Iterable[float]) -> str:
    known = sorted(values)
    return f"{statistics.median(known):8.2f}{known[0]:8.2f}{known[-1]:9.2f}"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
