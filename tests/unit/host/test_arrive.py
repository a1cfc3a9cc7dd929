"""A real process that takes memory: its time line, its deadline, and its end. Killed: tests/seam/test_groups.py."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bench.host.arrive import Newcomer, NewcomerError
from bench.host.cgroup import Group
from bench.host.newcomer import PARTS
from bench.wire.units import GIB, MIB

SIZE = 24 * MIB


class AnyGroup(Group):
    """Takes everybody, and limits nothing."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"), 2)

    def join(self) -> None:
        pass

    def holds(self, pid: int) -> bool:
        return Path(f"/proc/{pid}").exists()


def arrived(size: int, deadline_s: float, then: Any = None) -> dict[str, Any]:
    """What is answered, with what is there afterwards, and the end."""

    async def run() -> dict[str, Any]:
        start = time.monotonic()
        newcomer = await Newcomer.begin(size, AnyGroup(), lambda: time.monotonic() - start + 100.0)
        try:
            if then:
                then(newcomer)
            answer = await newcomer.take(deadline_s)
            return {**answer, "later": newcomer.memory(), "took_s": time.monotonic() - start}
        finally:
            await newcomer.end()
            await newcomer.end()
            assert newcomer.memory() == {"bytes": None, "swapped_bytes": None}

    return asyncio.run(run())


def test_a_newcomer_says_when_it_had_each_tenth_of_its_memory_and_keeps_it() -> None:
    answer = arrived(SIZE, 30)
    assert answer["reached"]
    assert answer["asked_bytes"] == SIZE
    assert len(answer["tenths_s"]) == PARTS
    assert answer["tenths_s"] == sorted(answer["tenths_s"])
    assert answer["ns"] == int(answer["tenths_s"][-1] * 1e9)
    assert 100 <= answer["start_s"] <= 100 + answer["took_s"] - answer["tenths_s"][-1]
    assert answer["bytes"] >= SIZE
    assert answer["later"] == {"bytes": answer["bytes"], "swapped_bytes": 0}


def test_a_newcomer_that_does_not_get_its_memory_in_time_stops_and_keeps_what_it_has() -> None:
    size = 2 * GIB
    answer = arrived(size, 0.01)
    assert not answer["reached"]
    assert answer["tenths_s"] == []
    assert 0 < answer["bytes"] < size
    assert answer["took_s"] < 10
    assert answer["ns"] >= 10_000_000


def test_a_newcomer_that_was_killed_is_an_error_that_says_how_much_it_had() -> None:
    def kill(newcomer: Newcomer) -> None:
        os.kill(newcomer.pid, signal.SIGKILL)

    with pytest.raises(NewcomerError, match=rf"killed by signal 9 when it had 0 tenths of {SIZE} bytes"):
        arrived(SIZE, 30, kill)


def test_a_newcomer_that_is_not_in_its_group_does_not_take_anything(tmp_path: Path) -> None:
    async def run() -> None:
        await Newcomer.begin(SIZE, Group(tmp_path, 2), lambda: 0.0)

    with pytest.raises(NewcomerError, match=f"could not be moved into the memory cgroup {tmp_path}"):
        asyncio.run(run())
