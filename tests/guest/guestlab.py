"""What the guest tests share: a lab that boots jobs, and short parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bench.controller.arms import ARMS
from bench.controller.bundle import build_bundle
from bench.controller.collect import Collected
from bench.controller.image import build_image
from bench.controller.schedule import around
from bench.controller.session import Session
from bench.controller.transport import LocalTransport
from bench.wire.cache import cache_folder
from bench.wire.codec import from_json
from bench.wire.job import Arm, Guest, Job, Paths, Phase
from bench.wire.units import MIB
from workloads.catalog import WORKLOADS
from workloads.shape import Around

MEMORY_BYTES = 512 * MIB
# Short, but with a plateau window longer than the guest's reporting delay of 2 s.
QUICK = {"touch": 0.3, "drain_min_s": 1.0, "settle_min_s": 6.0, "window_s": 6.0, "hold_s": 0.2}


@dataclass(frozen=True)
class Lab:
    """What boots guests here. `boot` runs a whole cycle of an arm and answers its line of boots.jsonl and its rows."""

    session: Session
    paths: Paths
    accel: str

    def job(self, arm: Arm, phases: tuple[Phase, ...], **changes: Any) -> Job:
        guest = Guest(MEMORY_BYTES, 1, self.accel)
        return replace(Job("local", "cycle", arm, 1, 0, guest, self.paths, phases), **changes)

    def boot(self, job: Job) -> Collected:
        seen = Collected(job)
        self.session.boot(job, seen.add)
        return seen


def cycle_phases(**changes: Any) -> tuple[Phase, ...]:
    """The phases of workload cycle, with the short parameters of these tests."""
    cycle = WORKLOADS["cycle"]
    params = {parameter.name: parameter.default for parameter in cycle.parameters} | QUICK | changes
    return tuple(from_json(Phase, phase) for phase in cycle.script(params, Around(MEMORY_BYTES)))


@pytest.fixture(scope="session")
def lab() -> Lab:
    cache = cache_folder()
    session = Session(LocalTransport("local"), str(build_bundle(cache)))
    image = build_image(cache)
    answer = session.ask("resolve", qemu="", kernel="", modules="", accel="auto", image=str(image))
    return Lab(session, from_json(Paths, answer["paths"]), answer["accel"])


@pytest.fixture(scope="session")
def cycle_boot(lab: Lab) -> Callable[[str], Collected]:
    """One whole cycle of a shipped arm, booted once a session."""
    done: dict[str, Collected] = {}

    def boot(arm: str) -> Collected:
        if arm not in done:
            done[arm] = lab.boot(lab.job(ARMS[arm], cycle_phases()))
        return done[arm]

    return boot


def phases_of(workload: str, arm: Arm, memory_bytes: int = MEMORY_BYTES, **changes: Any) -> tuple[Phase, ...]:
    """The phases of any workload for an arm, with the short settling of these tests."""
    short = {
        "drain_min_s": 0.5,
        "drain_max_s": 4.0,
        "settle_min_s": 4.5,
        "settle_max_s": 9.0,
        "window_s": 4.5,
        "settle_window_s": 2.5,
        **changes,
    }
    found = WORKLOADS[workload]
    script = found.script(found.defaults() | short, around(Guest(memory_bytes, 1, "tcg"), arm))
    return tuple(from_json(Phase, phase) for phase in script)
