"""Workload `arrival`: who waits for whom, what the limit is, and what must not be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from bench.wire.units import MIB
from workloads.arrival import ARRIVAL, check, group, memory_needed, script
from workloads.shape import Around

MEMORY = 640 * MIB


def params(**changes: Any) -> dict[str, Any]:
    return {**ARRIVAL.defaults(), **changes}


def track(phases: list[dict[str, Any]], guest: int) -> list[dict[str, Any]]:
    return [phase for phase in phases if phase.get("guest", 0) == guest]


def names(phases: list[dict[str, Any]]) -> list[str]:
    return [phase["name"] for phase in phases]


def test_the_newcomer_comes_when_every_giver_is_ready_and_leaves_before_any_ends() -> None:
    phases = script(params(guests=3), Around(MEMORY))
    first = track(phases, 0)
    ready = first[names(first).index("ready")]
    assert ready["kind"] == "meet"
    assert ready["args"]["phases"] == [[1, "calm"], [2, "calm"]]
    assert names(first)[names(first).index("ready") :][:4] == ["ready", "arrive", "window", "leave"]
    for other in (1, 2):
        mine = track(phases, other)
        assert mine[names(mine).index("calm") + 1]["args"]["phases"] == [[0, "leave"]]
        assert not {"arrive", "leave"} & set(names(mine))
        assert names(mine)[-3:] == ["reader-end", "snapshot", "reread-hot"]


def test_one_giver_waits_for_nobody() -> None:
    assert {phase["kind"] for phase in script(params(guests=1), Around(MEMORY))} == {"guest", "host", "hold", "settle"}


def test_the_page_cache_is_filled_before_memory_is_freed() -> None:
    """Otherwise it would be made of that."""
    mine = names(track(script(params(), Around(MEMORY)), 0))
    assert mine.index("read") < mine.index("free") < mine.index("reader")


def test_a_loop_runs_from_before_the_arrival_until_the_newcomer_has_left() -> None:
    around = Around(MEMORY, policy={"kind": "reclaim"})
    for guest in (0, 1):
        mine = names(track(script(params(), around), guest))
        end = "leave" if guest == 0 else "arrived"
        assert mine.index("policy") < mine.index("calm") < mine.index(end) < mine.index("policy-end")


def test_the_limit_is_the_guests_share_and_room_for_their_qemus() -> None:
    found = group(params(guests=4, limit=0.5, headroom=100 * MIB), MEMORY)
    assert found.guests == 4
    assert found.limit_bytes == 4 * MEMORY // 2 + 400 * MIB
    assert found.swap_limit_bytes is None


def test_what_arrives_is_a_share_of_one_guest() -> None:
    (arrive,) = [phase for phase in script(params(arrive=0.5), Around(MEMORY)) if phase["name"] == "arrive"]
    assert arrive["args"] == {"bytes": MEMORY // 2, "deadline_s": 30.0}


def test_cache_and_freed_memory_have_to_fit_together() -> None:
    needed = dict(memory_needed(params(disk=0.5, free=0.25), MEMORY))
    assert needed["disk 50%"] == MEMORY // 2
    assert needed["free 25%"] == MEMORY // 4


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"hot_piece": 6000}, "hot_piece"), ({"settle_max_s": 5.0}, "settle_max_s"), ({}, "")],
)
def test_values_that_do_not_go_together_are_told(changes: dict[str, Any], key: str) -> None:
    assert {name for name, _ in check(params(**changes))} == ({key} if key else set())
