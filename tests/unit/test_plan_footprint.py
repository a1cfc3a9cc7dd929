"""The script of workload footprint: what a day is made of, and that its parts fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import values_footprint
from workloads.footprint import BLOCK_BYTES, FOOTPRINT, MOST_JOBS, object_bytes
from workloads.guestos import Unsupported
from workloads.ops import Operations
from workloads.shape import Around

MIB, GIB = 1 << 20, 1 << 30
MEMORY = 640 * MIB


def params(**changes: Any) -> dict[str, Any]:
    return FOOTPRINT.defaults() | changes


def phases(around: Around | None = None, **changes: Any) -> list[dict[str, Any]]:
    return FOOTPRINT.script(params(**changes), around or Around(MEMORY))


def test_a_day_is_work_then_idle_then_a_clean_then_dropped_caches() -> None:
    day = [phase["name"] for phase in phases(jobs=2) if phase["iteration"] == 1]
    assert day == [
        "day-begin",
        *("read-1", "map-1", "work-1", "map-objects-1", "objects-1", "end-1"),
        *("read-2", "map-2", "work-2", "map-objects-2", "objects-2", "end-2"),
        *("work-end", "idle", "verify-1", "verify-2", "clean-1", "clean-2", "cleaned", "drop", "dropped", "day-end"),
    ]


def test_the_first_day_begins_when_the_reports_of_the_boot_are_over() -> None:
    assert [phase["name"] for phase in phases()][:4] == ["setup", "drain", "disk", "day-begin"]


def test_each_job_reads_what_was_read_before_and_the_last_one_everything() -> None:
    reads = [phase["args"]["piece_bytes"] for phase in phases(iterations=1) if phase["op"] == "disk_read"]
    assert len(reads) == 3
    assert reads == sorted(set(reads))
    assert reads[-1] == FOOTPRINT.disk(params(), MEMORY)


def test_nothing_happens_for_as_long_in_every_arm_after_each_of_the_three() -> None:
    for policy in (None, {"kind": "drop-caches"}):
        holds = [phase for phase in phases(Around(MEMORY, policy=policy), window_s=7.0) if phase["kind"] == "hold"]
        assert [phase["name"] for phase in holds] == [*values_footprint.WAITS] * 2
        assert all(phase["args"] == {"s": 7.0} for phase in holds)


def test_a_host_that_asks_by_hand_asks_for_what_the_jobs_and_the_clean_freed() -> None:
    found = phases(Around(MEMORY, give="balloon"), iterations=1)
    mapped = {phase["args"]["region"]: phase["args"]["bytes"] for phase in found if phase["op"] == "map"}
    wanted = next(phase for phase in found if phase["name"] == "give")["args"]["bytes"]
    assert wanted == sum(mapped.values())


@given(
    st.integers(1, MOST_JOBS),
    st.floats(0.001, 0.9),
    st.floats(0.001, 0.9),
    st.floats(0.01, 0.9),
    st.integers(128, 1 << 19).map(lambda blocks: blocks * 2 * MIB),
)
def test_what_the_script_holds_at_once_is_what_the_workload_says_it_needs(
    jobs: int, job: float, objects: float, disk: float, memory: int
) -> None:
    given = params(jobs=jobs, job=job, objects=objects, disk=disk)
    size = FOOTPRINT.disk(given, memory)
    held, most = {}, 0
    for phase in FOOTPRINT.script(given, Around(memory)):
        args = phase["args"]
        if phase["op"] == "map":
            held[args["region"]] = args["bytes"]
        elif phase["op"] == "release":
            del held[args["region"]]
        elif phase["op"] == "disk_read":
            assert 0 < args["piece_bytes"] <= size
            assert args["piece_bytes"] % BLOCK_BYTES == 0
        most = max(most, sum(held.values()))
    needed = FOOTPRINT.memory_needed(given, memory)
    assert held == {}
    assert most + size == sum(part for _, part in needed[:3])
    assert object_bytes(given, memory) > 0


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"drain_min_s": 40.0}, ["drain_max_s"]),
        ({"drain_max_s": 3.0, "drain_min_s": 1.0}, ["drain_max_s"]),
        ({"drain_min_s": 1.0, "drain_max_s": 4.5}, []),
    ],
)
def test_parameters_that_do_not_go_together_are_named(changes: dict[str, float], wrong: list[str]) -> None:
    assert [key for key, _ in FOOTPRINT.check(params(**changes))] == wrong


def test_no_gap_of_the_sampler_is_overlooked_in_any_job() -> None:
    timed = {f"{step}-{number}" for step in ("read", "work", "objects") for number in range(1, MOST_JOBS + 1)}
    assert timed == set(values_footprint.JOBS)
    assert timed <= {phase["name"] for phase in phases(jobs=MOST_JOBS)}


def test_the_page_cache_is_dropped_by_the_kernel_and_counted(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("Cached: 100 kB\nBuffers: 20 kB\n")
    knob = tmp_path / "proc/sys/vm/drop_caches"
    drop = Operations(str(tmp_path)).table()["drop_caches"]
    with pytest.raises(Unsupported, match="no drop_caches"):
        drop()
    knob.write_text("0")
    assert drop()["freed_bytes"] == 0
    assert knob.read_text() == "1"
