"""The metrics of `arrival`, on a boot of two givers whose answers can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import boot, phase

from bench.analysis.series import frame
from bench.analysis.summary import summarise
from bench.wire.metrics import metrics_of
from bench.wire.units import MIB

ARRIVE = {
    "asked_bytes": 512 * MIB,
    "bytes": 518 * MIB,
    "start_s": 20.5,
    "tenths_s": [0.1 * tenth for tenth in range(1, 11)],
    "ns": 10**9,
    "reached": True,
    "locked": True,
}
READER = {"reads": 1000, "due": 1000, "disk_bytes": 2 * MIB, "refault_pages": 30, "wait_p99_ns": 4000}
HOT = {"bytes": 16 * MIB, "disk_bytes": 4 * MIB}


def giver(first: bool, arrive: dict[str, Any], reader: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[tuple[str, float, float, dict[str, Any]]] = [
        *([("arrive", 20, 22, arrive), ("window", 22, 30, {})] if first else []),
        ("reader-end", 30, 30.1, reader),
        ("reread-hot", 30.2, 30.3, HOT),
    ]
    return [phase(name, start, end, result=result) for name, start, end, result in steps]


def values(arrive: dict[str, Any] | None = None, reader: dict[str, Any] | None = None) -> dict[str, Any]:
    """400 MiB in each giver; from 21 s on 40 MiB less in the second, at 25 s 2 MiB less in the first."""
    tracks = [giver(True, {**ARRIVE, **(arrive or {})}, READER), giver(False, {}, {**READER, **(reader or {})})]
    line = boot(phases=tracks[0], workload="arrival", window_s=8.0)
    line["guests"] = [{"phases": track, "argv": ["qemu"], "guest": {}, "ready_s": 2.0} for track in tracks]
    rows: list[Any] = []
    for tick in range(15, 36):
        rows.append((float(tick), "ram", "resident_bytes", (400.0 - 2 * (tick >= 25)) * MIB))
        rows.append((float(tick), "ram.1", "resident_bytes", (400.0 - 40 * (tick >= 21)) * MIB))
    rows += [(10.0, "vmstat", "pswpout", 100.0), (21.0, "vmstat", "pswpout", 10100.0), (31.0, "vmstat", "pswpout", 1e9)]
    rows += [(10.0, "vmstat", "pswpin", 7.0)]
    return {name: found[0] for name, found in summarise(line, frame(rows)).values.items()}


def test_who_gave_what_and_when() -> None:
    found = values()
    assert set(found) == {metric.name for metric in metrics_of("arrival")}
    expected = {
        "arrival_s": 1.0,
        "arrival_half_s": 0.5,
        "arrival_had_share": 1.0,
        "arrival_reaction_s": 0.5,
        "arrival_swapped_bytes": 10000 * 4096,
        "arrival_swapped_in_bytes": 0,
        "given_bytes": 42 * MIB,
        "giver_p99_s": 4e-6,
        "giver_reread_bytes": 4 * MIB,
        "giver_refaults": 60,
        "giver_hot_disk_share": 0.25,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_newcomer_that_did_not_get_all_has_no_time_and_a_share() -> None:
    found = values({"tenths_s": [0.5] * 6, "bytes": 320 * MIB, "reached": False})
    assert found["arrival_s"] is None
    assert found["arrival_half_s"] == 0.5
    assert found["arrival_had_share"] == pytest.approx(0.625)


def test_the_giver_that_waited_longest_counts_and_one_that_hardly_read_has_no_figure() -> None:
    assert values(reader={"wait_p99_ns": 9000})["giver_p99_s"] == pytest.approx(9e-6)
    assert values(reader={"reads": 400})["giver_p99_s"] is None
