"""Workload `storm`: who waits for whom, what its metrics are read from, and when they are not had."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import boot, phase

from bench.analysis.series import frame
from bench.analysis.summary import summarise
from bench.wire.metrics import metrics_of
from bench.wire.units import MIB
from workloads.shape import Around
from workloads.storm import STORM, check, script

MEMORY = 640 * MIB
BEFORE = {"quanta": 300, "covered": True, "mean": 100.0, "p1": 90, "p50": 100, "p99": 110, "longest_ns": 100_000}
AFTER = {"quanta": 1000, "covered": True, "mean": 80.0, "p1": 20, "p50": 85, "p99": 105, "longest_ns": 7_000_000}


def track(guest: int, **changes: Any) -> dict[str, dict[str, Any]]:
    found = script(STORM.defaults() | changes, Around(MEMORY, vcpus=2))
    return {step["name"]: step for step in found if step["guest"] == guest}


def test_the_storm_begins_when_the_neighbour_counts_and_the_neighbour_starts_when_the_first_is_up() -> None:
    hostile, neighbour = track(0), track(1)
    assert hostile["ready"]["args"]["phases"] == [[1, "probe-after"]]
    assert neighbour["turn"]["args"]["phases"] == [[0, "proof-settle"]]
    names = list(neighbour)
    assert names.index("turn") < names.index("boot") < names.index("proof-free") < names.index("probe")
    assert names[-2:] == ["probe-end", "over"]
    assert neighbour["over"]["args"]["phases"] == [[0, "settle"]]


def test_both_last_as_long_as_the_storm_and_the_probe_has_room_for_it() -> None:
    assert track(0, window_s=500.0)["storm"]["args"]["seconds"] == 500
    neighbour = track(1, window_s=500.0)
    assert neighbour["beside"]["args"]["s"] == neighbour["probe-end"]["args"]["window_s"] == 500
    assert neighbour["probe"]["args"]["room_s"] > 500
    assert track(0)["storm"]["args"] == {"bytes": 320 * MIB, "gap_s": 0.0, "seconds": 10.0, "check": False}


def test_what_does_not_go_together_is_said() -> None:
    assert check(STORM.defaults()) == []
    wrong = check(STORM.defaults() | {"settle_max_s": 2.0, "proof": 5000, "probe_quantum_s": 1.0})
    assert [name for name, _ in wrong] == ["settle_max_s", "settle_max_s", "proof", "probe_quantum_s"]


def values(questions: int = 500, guests: int = 2, **line: Any) -> dict[str, Any]:
    """A storm from 20 to 30 s: 4 MiB discarded in it each second, and as much before and behind."""
    storm = {"cycles": 20, "bytes": 5000 * MIB, "ns": 10**10, "bad_pages": 0, "first_bad": None}
    hostile = [phase("storm", 20, 30, result=storm), phase("settle", 30, 35, result={"settled": True})]
    windows = {"before": BEFORE, "after": AFTER}
    neighbour = [phase("probe", 15, 16, result={}), phase("probe-end", 30, 31, result={"windows": windows})]
    found = boot(phases=hostile, workload="storm", **line)
    tracks = [hostile, neighbour][:guests]
    found["guests"] = [{"phases": steps, "argv": ["qemu"], "guest": {}, "ready_s": 2.0} for steps in tracks]
    rows: list[Any] = [(float(tick), "ram", "resident_bytes", 400.0 * MIB) for tick in range(10, 40)]
    rows += [(tick + 0.5, "discard", "bytes", 4.0 * MIB) for tick in range(10, 40)]
    rows += [(tick + 0.5, "discard.1", "bytes", 100.0 * MIB) for tick in range(10, 40)]
    rows += [(float(tick), "qemu", "cpu_main_s", 0.05 * tick) for tick in range(10, 40)]
    rows += [(float(tick), "qemu", "cpu_vcpu_s", 1.0 * tick) for tick in range(10, 40)]
    rows += [(25.0, "qemu", "cpu_other_s", 1.0)]
    rows += [(20 + 10 * n / questions, "qmp", "round_trip_s", 0.001 * (1 + n % 100)) for n in range(questions)]
    rows += [(15.0, "qmp", "round_trip_s", 9.0), (33.0, "qmp", "round_trip_s", 9.0)]
    return {name: found[0] for name, found in summarise(found, frame(rows)).values.items()}


def test_each_figure_is_of_its_own_guest_and_of_the_storm_alone() -> None:
    found = values()
    assert {metric.name for metric in metrics_of("storm")} <= set(found)
    expected = {
        "neighbour_work_share": 0.8,
        "neighbour_p1_share": 0.2,
        "neighbour_longest_s": 0.007,
        "storm_qmp_p99_s": 0.099,
        "storm_qmp_max_s": 0.1,
        "storm_main_cpu_share": 0.05 + 0.1,
        "storm_cpu_share": 1.05 + 0.1,
        "storm_discarded_bytes_per_s": 4 * MIB,
        "storm_cycled_bytes_per_s": 500 * MIB,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=0.01)


def test_what_was_not_seen_is_no_zero() -> None:
    few = values(questions=40)
    assert (few["storm_qmp_p99_s"], few["storm_qmp_max_s"]) == (None, None)
    alone = values(guests=1)
    assert alone["neighbour_work_share"] is None
    assert values(policy="balloon")["storm_discarded_bytes_per_s"] is None
