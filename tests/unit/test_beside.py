"""The probe as the agent runs it: on the last CPU, with the agent on the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from workloads.beside import Probes, cache_bytes
from workloads.ops import Operations

CPUS = os.sched_getaffinity(0)


@pytest.fixture(autouse=True)
def everywhere_again() -> Iterator[None]:
    yield
    assert os.sched_getaffinity(0) == CPUS


def test_the_agent_keeps_off_the_probes_cpu_until_it_ends(tmp_path: Path) -> None:
    operations = Operations(str(tmp_path)).table()
    if len(CPUS) < 2:
        with pytest.raises(ValueError, match="this guest has one in all"):
            operations["probe_start"](kind="work", quantum_s=0.005, room_s=60.0, bytes=0)
        return
    begun = operations["probe_start"](kind="work", quantum_s=0.005, room_s=60.0, bytes=1 << 20)
    assert begun == {
        "kind": "work",
        "cpu": max(CPUS),
        "other_cpus": sorted(CPUS - {max(CPUS)}),
        "buffer_bytes": 1 << 20,
        "cache_bytes": None,
    }
    assert os.sched_getaffinity(0) == CPUS - {max(CPUS)}
    assert operations["probe_mark"](window="before")["t_ns"] > 0
    with pytest.raises(ValueError, match="a probe runs already"):
        operations["probe_start"](kind="work", quantum_s=0.005, room_s=60.0, bytes=0)
    assert list(operations["probe_stop"](window_s=0.0)["windows"]) == ["before"]
    with pytest.raises(ValueError, match="no probe runs"):
        operations["probe_stop"](window_s=0.0)


def test_a_probe_that_cannot_begin_leaves_the_agent_where_it_was() -> None:
    with pytest.raises(ValueError, match="a CPU of its own" if len(CPUS) < 2 else "kind: 'sleep' is unknown"):
        Probes().start("sleep", 0.005, 60.0, 0)


def test_the_largest_cache_is_the_one_to_be_larger_than(tmp_path: Path) -> None:
    assert cache_bytes(str(tmp_path)) is None
    for index, size in enumerate(("32K", "2048K", "16384K")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(f"{size}\n")
    assert cache_bytes(str(tmp_path)) == 16 << 20
