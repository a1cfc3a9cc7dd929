"""The script of workload `cycle`, and the catalog's promises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wire.job import Phase
from workloads.catalog import WORKLOADS
from workloads.cycle import CYCLE, MIB
from workloads.shape import Around

GUEST = 512 * MIB
REPEATED = [
    *"drain map touch hold verify snapshot-before free settle snapshot".split(),  # noqa: SIM905
    *"sentinel-verify remap retouch reverify refree".split(),  # noqa: SIM905
]


def params(**changes: Any) -> dict[str, Any]:
    return {**CYCLE.defaults(), **changes}


def phases(order: int | None = None, **changes: Any) -> list[Phase]:
    return [Phase(**step) for step in CYCLE.script(params(**changes), Around(GUEST, reporting_order=order))]


def test_the_catalog_names_each_workload_as_it_names_itself() -> None:
    assert all(name == workload.name for name, workload in WORKLOADS.items())


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
def test_defaults_lie_in_their_ranges_and_go_together(workload: Any) -> None:
    for parameter in workload.parameters:
        if parameter.kind == "choice":
            assert parameter.default in parameter.choices
        else:
            assert parameter.low <= parameter.default <= parameter.high
    assert workload.check(workload.defaults()) == []


def test_a_boot_sets_up_once_and_then_runs_its_iteration() -> None:
    assert [phase.name for phase in phases()] == ["setup", "sentinel", "sentinel-fill", *REPEATED]
    assert {phase.iteration for phase in phases()} == {0}


@given(st.integers(0, 5), st.integers(1, 5))
def test_warm_ups_come_first_and_every_iteration_has_the_same_phases(warmups: int, iterations: int) -> None:
    found = phases(warmups=warmups, iterations=iterations)
    for iteration in range(warmups + iterations):
        own = [phase for phase in found if phase.iteration == iteration]
        assert [phase.name for phase in own][-len(REPEATED) :] == REPEATED
        assert {phase.warmup for phase in own} == {iteration < warmups}
    assert max(phase.iteration for phase in found) == warmups + iterations - 1


@pytest.mark.parametrize("how", ["munmap", "dontneed", "free", "holes"])
def test_a_region_is_mapped_only_while_it_is_not_and_used_only_while_it_is(how: str) -> None:
    mapped: set[str] = set()
    for phase in phases(release=how, iterations=3):
        region = str(phase.args.get("region", ""))
        if phase.op == "map":
            assert region not in mapped
            mapped.add(region)
        elif region:
            assert region in mapped
        if phase.op == "release" and phase.args["how"] == "munmap":
            mapped.remove(region)
    assert mapped == {"sentinel"}


def test_what_is_asked_of_the_guest_is_what_the_agent_understands() -> None:
    asked = {phase.name: (phase.op, phase.args) for phase in phases(order=5, touch=0.25, thp="never") if phase.op}
    work = {"region": "work", "bytes": 128 * MIB, "mapping": "anonymous", "thp": "never"}
    assert asked["setup"] == ("setup", {"page_reporting_order": 5})
    assert asked["map"] == asked["remap"] == ("map", work)
    assert asked["touch"] == asked["retouch"] == ("touch", {"region": "work", "mode": "write", "histogram": True})
    assert asked["verify"] == ("verify", {"region": "work", "extent": "word"})
    assert asked["sentinel-fill"] == ("touch", {"region": "sentinel", "mode": "fill", "histogram": False})
    assert asked["sentinel-verify"] == ("verify", {"region": "sentinel", "extent": "full"})
    assert asked["free"] == ("release", {"region": "work", "how": "munmap", "every": 2, "block_bytes": 2 * MIB})
    assert asked["snapshot"] == ("snapshot", {})


def test_settle_phases_carry_their_deadlines_and_what_counts_as_flat() -> None:
    waits = {phase.name: phase.args for phase in phases(settle_max_s=25.0, drain_max_s=31.0) if phase.kind == "settle"}
    flat = {"window_s": 4.5, "tolerance_bytes": 2 * MIB}
    assert waits == {
        "drain": {"min_s": 5.0, "max_s": 31.0, **flat},
        "settle": {"min_s": 8.0, "max_s": 25.0, **flat},
    }


@given(st.floats(0.01, 0.98), st.integers(256 * MIB, 1 << 42))
def test_the_touched_region_is_whole_2_mib_blocks_and_never_more_than_asked(share: float, memory: int) -> None:
    size = CYCLE.memory_needed(params(touch=share), memory)[0][1]
    assert size % (2 * MIB) == 0
    assert 0 < size <= max(2 * MIB, share * memory)
    script = CYCLE.script(params(touch=share), Around(memory))
    assert next(step["args"]["bytes"] for step in script if step["name"] == "map") == size


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"window_s": 9.0}, ["window_s"]),
        ({"settle_max_s": 7.0}, ["settle_max_s"]),
        ({"drain_max_s": 4.0}, ["drain_max_s"]),
        ({"settle_window_s": 26.0}, ["settle_max_s"]),
        ({"sentinel": 32 * MIB + 1}, ["sentinel"]),
        ({"hole_block": 5000}, ["hole_block"]),
    ],
)
def test_parameters_that_do_not_go_together_are_named(changes: dict[str, Any], wrong: list[str]) -> None:
    assert [name for name, _ in CYCLE.check(params(**changes))] == wrong
