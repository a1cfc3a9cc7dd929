"""The script of workload cache: what is read, by whom, and when the loop of an arm presses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.cache import BLOCK_BYTES, CACHE, hot_pieces
from workloads.shape import Around

MIB, GIB = 1 << 20, 1 << 30
MEMORY = 640 * MIB


def params(**changes: Any) -> dict[str, Any]:
    return CACHE.defaults() | changes


def phases(around: Around | None = None, **changes: Any) -> list[dict[str, Any]]:
    return CACHE.script(params(**changes), around or Around(MEMORY))


def names(found: list[dict[str, Any]], iteration: int = 0) -> list[str]:
    return [phase["name"] for phase in found if phase["iteration"] == iteration]


def test_a_boot_proves_reporting_then_reads_and_is_pressed_while_the_hot_set_is_read() -> None:
    assert names(phases(Around(MEMORY, policy={"kind": "compact"}))) == [
        *("setup", "proof-map", "proof-touch", "proof-free", "proof-settle", "disk"),
        *("read", "warm", "snapshot-read", "reader", "policy", "window", "policy-end", "reader-end", "snapshot"),
        *("reread-hot", "reread"),
    ]


def test_later_iterations_begin_with_an_empty_page_cache() -> None:
    assert names(phases(iterations=2), 1)[:4] == ["forget", "drain", "read", "warm"]


def test_the_window_is_the_same_for_every_arm() -> None:
    for policy in (None, {"kind": "compact"}):
        window = next(phase for phase in phases(Around(MEMORY, policy=policy)) if phase["name"] == "window")
        assert (window["kind"], window["args"]) == ("hold", {"s": 14.0})


def test_the_hot_set_is_read_as_the_plan_says_and_the_disk_by_system_calls() -> None:
    found = {phase["name"]: phase["args"] for phase in phases(access="mmap")}
    assert [found[name].get("access") for name in ("warm", "reader", "reread-hot", "read", "reread")] == [
        *("mmap", "mmap", "mmap", None, None)
    ]
    hot = {key: found["reader"][key] for key in ("piece_bytes", "stride_bytes", "count")}
    assert all({key: found[name][key] for key in hot} == hot for name in ("warm", "reread-hot"))


@given(
    st.floats(0.01, 0.9),
    st.floats(0.001, 1.0),
    st.integers(1, 1 << 18).map(lambda blocks: blocks * BLOCK_BYTES),
    st.integers(128, 1 << 19).map(lambda blocks: blocks * 2 * MIB),
)
def test_the_hot_set_lies_on_the_disk_without_overlap(share: float, hot: float, piece: int, memory: int) -> None:
    given = params(disk=share, hot=hot, hot_piece=piece)
    size = CACHE.disk(given, memory)
    assert size % MIB == 0
    found = hot_pieces(given, size)
    assert found["piece_bytes"] % BLOCK_BYTES == found["stride_bytes"] % BLOCK_BYTES == 0
    assert 0 < found["piece_bytes"] <= found["stride_bytes"]
    assert (found["count"] - 1) * found["stride_bytes"] + found["piece_bytes"] <= size
    assert found["count"] * found["piece_bytes"] <= max(BLOCK_BYTES, hot * size)
    assert found["count"] * found["piece_bytes"] > hot * size - found["piece_bytes"] - BLOCK_BYTES


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"hot_piece": 5000}, ["hot_piece"]),
        ({"proof": MIB + 1}, ["proof"]),
        ({"drain_max_s": 4.0}, ["drain_max_s", "drain_max_s"]),
    ],
)
def test_parameters_that_do_not_go_together_are_named(changes: dict[str, Any], wrong: list[str]) -> None:
    assert [name for name, _ in CACHE.check(params(**changes))] == wrong
