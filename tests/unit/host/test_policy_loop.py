"""A loop beside a guest: its log, its own CPU time, and how it ends."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Callable, Optional

import pytest
from jobs import job

from bench.host import actions
from bench.host.policy import kinds
from bench.host.policy.loop import Loop, PolicyError
from bench.host.scene import Scene
from bench.wire.job import Arm, Cgroup, Policy
from bench.wire.units import MIB


class Steps:
    """A policy whose steps are calls of a function."""

    def __init__(self, step: Callable[[int], Optional[dict[str, Any]]]) -> None:
        self._step, self.count, self.ended, self.closed = step, 0, False, False

    async def begin(self) -> None:
        pass

    async def step(self) -> Optional[dict[str, Any]]:
        self.count += 1
        await asyncio.sleep(0.01)
        return self._step(self.count)

    async def end(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True


def run(policy: Steps, seconds: float) -> dict[str, Any]:
    async def ran() -> dict[str, Any]:
        loop = Loop("steps", policy, 0.01)
        await asyncio.sleep(seconds)
        return await loop.stop()

    return asyncio.run(ran())


def test_it_keeps_what_was_done_and_ends_behind_its_step() -> None:
    policy = Steps(lambda count: {"bytes": MIB if count == 2 else -MIB} if count in (2, 3) else None)
    done = run(policy, 0.2)
    assert done["actions"] == [{"bytes": MIB}, {"bytes": -MIB}]
    assert (done["count"], done["bytes"]) == (2, MIB)
    assert done["looks"] == policy.count > 3
    assert (policy.ended, policy.closed) == (True, True)


def test_its_cpu_time_is_that_of_its_steps_and_not_of_what_it_waits_for() -> None:
    def busy(_count: int) -> None:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass

    done = run(Steps(busy), 0.3)
    assert 0.02 * 1e9 * done["looks"] <= done["cpu_ns"] < 0.04 * 1e9 * done["looks"]
    assert run(Steps(lambda _: None), 0.3)["cpu_ns"] < 0.1e9


def test_one_that_dies_says_so_and_cannot_be_stopped_as_if_it_had_not() -> None:
    def broken(count: int) -> dict[str, Any]:
        if count == 2:
            raise ConnectionError("QEMU does not answer")
        return {"bytes": MIB}

    async def died() -> None:
        loop = Loop("steps", Steps(broken), 0.01)
        assert loop.error == ""
        assert loop.log() == ""
        await asyncio.sleep(0.2)
        acted, died = loop.log().splitlines()
        assert json.loads(acted) == {"bytes": MIB}
        assert died == loop.error
        assert "steps of the host side ended by itself: QEMU does not answer" in loop.error
        with pytest.raises(PolicyError, match="ended by itself"):
            await loop.stop()

    asyncio.run(died())


def test_one_that_is_abandoned_is_gone_whatever_it_was_doing() -> None:
    async def abandoned() -> None:
        policy = Steps(lambda _: None)
        loop = Loop("steps", policy, 10)
        await asyncio.sleep(0.05)
        await loop.abandon()
        assert (policy.ended, policy.closed) == (False, True)
        assert loop.error == ""

    asyncio.run(abandoned())


class Monitor:
    """QEMU with a guest that has most of its memory available, and a balloon that does as it is told."""

    def __init__(self, whole: int, told: Optional[int] = None) -> None:
        self.whole, self.actual, self.told = whole, whole, told

    async def call(self, command: str, **arguments: Any) -> Any:
        if command == "balloon":
            self.actual = arguments["value"]
        if command == "query-balloon":
            return {"actual": self.actual}
        if arguments.get("property") == "guest-stats":
            available = self.actual // 2 if self.told is None else self.told
            return {"last-update": int(time.time()) + 1, "stats": {"stat-available-memory": available}}
        return {}


def scene(monitor: Monitor, **params: Any) -> Scene:
    arm = Arm("auto", balloon=True, policy=Policy("balloon", params))
    return Scene(job(arm, cgroup=Cgroup()), 1, monitor)


def test_a_balloon_loop_takes_what_its_guest_can_do_without() -> None:
    async def ran() -> dict[str, Any]:
        monitor = Monitor(512 * MIB)
        stage = scene(monitor)
        await actions.act("policy_start", stage, {"kind": "balloon", "source": "always", "period_s": 0.05})
        await asyncio.sleep(1.5)
        smallest = monitor.actual
        found = await actions.act("policy_stop", stage, {})
        assert monitor.actual == 512 * MIB
        assert stage.loops == []
        return {**found, "smallest": smallest}

    found = asyncio.run(ran())
    assert found["smallest"] < 512 * MIB - 64 * MIB
    first = found["actions"][0]
    assert first["available_bytes"] == 256 * MIB
    assert first["bytes"] == first["wanted_bytes"] == 128 * MIB
    # A quarter of the guest at once, at most.
    assert first["t_s"] <= first["asked_s"] <= first["done_s"]


def test_a_guest_that_tells_nothing_is_no_guest_for_a_loop() -> None:
    async def ran() -> None:
        loop = kinds.start(scene(Monitor(512 * MIB, told=(1 << 64) - 1)), "balloon", {"period_s": 0.01})
        await asyncio.sleep(0.1)
        assert "does not tell what memory is available" in loop.error

    asyncio.run(ran())


def test_unknown_loops_and_sources_are_refused_and_nothing_runs_twice() -> None:
    async def ran() -> None:
        stage = scene(Monitor(512 * MIB))
        with pytest.raises(ValueError, match="unknown policy 'magic' of the host; known: balloon, virtio-mem"):
            await actions.act("policy_start", stage, {"kind": "magic"})
        with pytest.raises(ValueError, match="unknown source 'sometimes'"):
            await actions.act("policy_start", stage, {"kind": "balloon", "source": "sometimes"})
        with pytest.raises(PolicyError, match="no loop runs"):
            await actions.act("policy_stop", stage, {})
        await actions.act("policy_start", stage, {"kind": "balloon"})
        with pytest.raises(ValueError, match="a policy runs already"):
            await actions.act("policy_start", stage, {"kind": "balloon"})
        await stage.loops.pop().abandon()

    asyncio.run(ran())
