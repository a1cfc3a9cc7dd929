"""Memory that the host asks for, against a monitor whose guest gets there step by step, or never."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from jobs import GUEST, job

from bench.host import actions, giving
from bench.host.scene import Scene
from bench.wire.job import Arm, Guest, Job
from bench.wire.units import MIB

WHOLE = GUEST.memory_bytes
BALLOON = Arm("balloon", balloon=True, give="balloon")
PLUG = Arm("virtio-mem", give="virtio-mem")


class Monitor:
    """QEMU with a guest that comes `step` bytes nearer to its target each time it is looked at, down to `least`."""

    def __init__(self, size: int, step: int = 64 * MIB, least: int = 0) -> None:
        self.size = self.target = size
        self.step, self.least = step, least
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def call(self, command: str, **arguments: Any) -> Any:
        self.calls.append((command, arguments))
        if command in ("balloon", "qom-set"):
            self.target = max(arguments["value"], self.least)
        if command in ("query-balloon", "qom-get"):
            way = self.target - self.size
            self.size += max(-self.step, min(self.step, way))
            return {"actual": self.size} if command == "query-balloon" else self.size
        return {}


def acted(op: str, request: Job, monitor: Monitor, size: int, deadline_s: float = 5.0) -> dict[str, Any]:
    found = asyncio.run(actions.act(op, Scene(request, 1, monitor), {"bytes": size, "deadline_s": deadline_s}))
    assert found.pop("ns") >= 0
    return found


def answer(wanted: int, asked: int, reached: int) -> dict[str, Any]:
    return {"wanted_bytes": wanted, "asked_bytes": asked, "reached_bytes": reached, "reached": asked == reached}


def test_a_balloon_takes_what_was_freed_in_whole_pages_and_lets_it_go_again() -> None:
    monitor = Monitor(WHOLE)
    taken = acted("balloon", job(BALLOON), monitor, 200 * MIB + 100)
    assert taken == {**answer(200 * MIB + 100, 200 * MIB, 200 * MIB), "traced": False}
    assert monitor.size == WHOLE - 200 * MIB
    assert acted("balloon", job(BALLOON), monitor, 0) == {**answer(0, 0, 0), "traced": False}
    assert monitor.size == WHOLE


def test_no_discard_is_traced_while_a_balloon_takes_pages_one_by_one() -> None:
    monitor = Monitor(WHOLE)
    acted("balloon", job(BALLOON), monitor, 64 * MIB)
    names = [command for command, _ in monitor.calls]
    assert (names[0], names[-1]) == ("trace-event-set-state", "trace-event-set-state")
    event = {"name": "ram_block_discard_range"}
    assert [monitor.calls[0][1], monitor.calls[-1][1]] == [{**event, "enable": False}, {**event, "enable": True}]


def test_a_trace_that_was_switched_off_is_on_again_whatever_happened() -> None:
    class Broken(Monitor):
        async def call(self, command: str, **arguments: Any) -> Any:
            if command == "balloon":
                raise ConnectionError("gone")
            return await super().call(command, **arguments)

    monitor = Broken(WHOLE)
    with pytest.raises(ConnectionError):
        acted("balloon", job(BALLOON), monitor, MIB)
    assert monitor.calls[-1][1]["enable"] is True


def test_a_target_that_is_not_reached_is_recorded_and_not_claimed() -> None:
    monitor = Monitor(WHOLE, least=WHOLE - 100 * MIB)
    found = acted("balloon", job(BALLOON), monitor, 300 * MIB, deadline_s=0.1)
    assert found == {**answer(300 * MIB, 300 * MIB, 100 * MIB), "traced": False}
    assert found["reached"] is False


def test_virtio_mem_unplugs_whole_blocks_and_never_more_than_was_plugged() -> None:
    request, half = job(PLUG), WHOLE // 2
    monitor = Monitor(half)
    assert acted("virtio-mem", request, monitor, 101 * MIB) == answer(101 * MIB, 100 * MIB, 100 * MIB)
    assert acted("virtio-mem", request, monitor, WHOLE) == answer(WHOLE, half, half)
    assert acted("virtio-mem", request, monitor, 0) == answer(0, 0, 0)
    assert {arguments["path"] for _, arguments in monitor.calls} == {"/machine/peripheral/plug"}


def test_plugging_a_guest_that_starts_with_half_of_its_memory_is_doing_without_nothing() -> None:
    monitor = Monitor(0)
    monitor.target = 0
    assert acted("virtio-mem", job(PLUG), monitor, 0)["reached"] is True
    assert monitor.size == WHOLE // 2


def test_the_parts_of_a_guests_ram_are_its_size_together() -> None:
    assert job(BALLOON).ram_parts == (WHOLE,)
    for size_mib, plugged_mib in (
        (512, 256),
        (640, 256),
        (766, 256),
        (1536, 768),
        (65536 - 256, 32640),
        (69632, 34816),
    ):
        first, plugged = job(PLUG, guest=Guest(size_mib * MIB, 1, "tcg")).ram_parts
        assert (first + plugged, plugged) == (size_mib * MIB, plugged_mib * MIB)


def test_how_often_the_guest_is_looked_at_is_well_below_what_is_measured() -> None:
    assert giving.POLL_S <= 0.02
