"""Guests of one job that wait for one another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from bench.host.meeting import Meeting
from bench.wire.job import Phase

PHASES = (Phase("up", "hold", 0), Phase("full", "host", 0), Phase("up", "hold", 0, guest=1))


async def waits(waiting: Awaitable[Any]) -> bool:
    """Whether this does not come back at once."""
    try:
        await asyncio.wait_for(waiting, 0.02)
    except asyncio.TimeoutError:
        return True
    return False


def test_a_phase_is_waited_for_until_it_is_done() -> None:
    async def scene() -> None:
        meeting = Meeting(2, PHASES)
        assert await waits(meeting.wait([[0, "up"]]))
        meeting.done(0, "up", {"bytes": 1})
        assert not await waits(meeting.wait([[0, "up"]]))
        assert await waits(meeting.wait([[0, "up"], [1, "up"]]))
        assert meeting.results(0) == {"up": {"bytes": 1}}
        assert meeting.results(1) == {}

    asyncio.run(scene())


def test_what_a_guest_that_left_never_did_is_waited_for_no_longer() -> None:
    async def scene() -> None:
        meeting = Meeting(2, PHASES)
        meeting.leave(1)
        assert not await waits(meeting.wait([[1, "up"]]))
        assert await waits(meeting.everybody())
        meeting.leave(0)
        assert not await waits(meeting.everybody())

    asyncio.run(scene())


def test_a_guest_is_declined_by_a_true_answer_and_by_none_at_all() -> None:
    async def scene() -> None:
        meeting = Meeting(2, PHASES)
        assert not meeting.declines(None)
        assert meeting.declines([0, "full", "full"])
        meeting.done(0, "full", {"full": False})
        assert not meeting.declines([0, "full", "full"])
        meeting.done(0, "full", {"full": True})
        assert meeting.declines([0, "full", "full"])

    asyncio.run(scene())


def test_waiting_for_a_phase_that_is_none_is_an_error() -> None:
    async def scene() -> None:
        with pytest.raises(KeyError):
            await Meeting(1, PHASES[:1]).wait([[0, "down"]])

    asyncio.run(scene())
