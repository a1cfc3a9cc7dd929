"""Loops that make a guest smaller and larger: by its balloon, or by its virtio-mem device.

The balloon driver's statistics say what the guest has available (virtio specification, "Memory Statistics Tags"; QEMU
docs/interop/virtio-balloon-stats.rst); QEMU asks for them once a second at most. No answer from before the last change
is believed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any, Callable

from bench.host import giving
from bench.host.policy.headroom import headroom
from bench.host.policy.loop import Action, PolicyError
from bench.host.policy.sizing import Bounds, Size, decide
from bench.host.qemu import BALLOON_ID
from bench.host.scene import Scene
from bench.wire.job import Job

STATS_S = 1
# A statistic that the guest does not tell is all ones.
_UNTOLD = (1 << 64) - 1
_BALLOON = {"path": f"/machine/peripheral/{BALLOON_ID}"}
_SOURCES = ("pressure", "always")

Way = Callable[[Job, giving.Monitor, int, float], Awaitable[dict[str, Any]]]
Held = Callable[[Job, giving.Monitor], Awaitable[int]]


class Resizing:
    """One guest's loop. way: how it is resized; held: what it does without; most: what it can do without by that."""

    def __init__(self, scene: Scene, way: Way, held: Held, most: int, traced: bool, params: dict[str, Any]) -> None:
        """params: source ("pressure": acts when less than `headroom` of what the host has is left; "always"), headroom
        (share), deadline_s of one change, and those of Bounds. traced: whether discards are told meanwhile.
        """
        given = {"source": "pressure", "headroom": 0.2, "deadline_s": 3.0, **params}
        self._source, self._least_share = str(given.pop("source")), float(given.pop("headroom"))
        if self._source not in _SOURCES:
            raise ValueError(f"unknown source {self._source!r}; known: {', '.join(_SOURCES)}")
        self._deadline_s = float(given.pop("deadline_s"))
        self._bounds = Bounds(**given)
        self._scene, self._way, self._held, self._most, self._traced = scene, way, held, most, traced
        self._believed_from = 0.0

    async def begin(self) -> None:
        await self._scene.monitor.call("qom-set", **_BALLOON, property="guest-stats-polling-interval", value=STATS_S)
        if not self._traced:
            await giving.trace(self._scene.monitor, False)

    async def end(self) -> None:
        """The guest has all of its memory again; that is no action of the loop's."""
        await self._way(self._scene.job, self._scene.monitor, 0, self._deadline_s)
        if not self._traced:
            await giving.trace(self._scene.monitor, True)

    def close(self) -> None:
        """Holds nothing but the monitor, which is not its own."""

    async def step(self) -> Action:
        """One look at guest and host, and what follows from it."""
        saw_s = self._scene.now()
        stats = await self._scene.monitor.call("qom-get", **_BALLOON, property="guest-stats")
        available = int(stats["stats"].get("stat-available-memory", _UNTOLD))
        # Seconds of the host's wall clock, 0 before the first answer.
        if not stats["last-update"] > self._believed_from:
            return None
        if available in (_UNTOLD, -1):
            raise PolicyError("the guest's balloon driver does not tell what memory is available")
        left, whole = headroom(self._scene)
        wanted = self._source == "always" or left < self._least_share * whole
        # Asked anew: a balloon may have given memory back by itself.
        without = await self._held(self._scene.job, self._scene.monitor)
        size = Size(self._scene.job.guest.memory_bytes, available, without, self._most)
        target = decide(size, self._bounds, wanted)
        if target is None:
            return None
        seen = {"t_s": saw_s, "available_bytes": available, "headroom_bytes": left}
        return await self._resized(without, target, seen)

    async def _resized(self, before: int, target: int, seen: dict[str, Any]) -> Action:
        asked_s = self._scene.now()
        told = await self._way(self._scene.job, self._scene.monitor, target, self._deadline_s)
        self._believed_from = time.time()
        return {
            **seen,
            "asked_s": asked_s,
            "done_s": self._scene.now(),
            "wanted_bytes": target - before,
            "bytes": int(told["reached_bytes"]) - before,
            "reached": told["reached"],
        }


def balloon(scene: Scene, params: dict[str, Any]) -> Resizing:
    """By the balloon, whose pages are discarded one by one: they are not traced."""
    return Resizing(scene, giving.ballooned, giving.in_balloon, scene.job.guest.memory_bytes, False, params)


def virtio_mem(scene: Scene, params: dict[str, Any]) -> Resizing:
    """By what is plugged of the virtio-mem device."""
    return Resizing(scene, giving.virtio_mem, giving.unplugged, scene.job.ram_parts[-1], True, params)
