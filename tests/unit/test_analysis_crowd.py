"""Boots of several guests: each is judged as if it were a boot of its own, and their metrics are of all together."""

from __future__ import annotations

from typing import Any

import pytest

from bench.analysis.members import members
from bench.analysis.series import curves, frame
from bench.analysis.values import Iteration, Missing
from bench.analysis.values_crowd import CROWD, DENSITY, density_doubts
from bench.wire.units import GIB, MIB

ROWS = [
    (0.0, "vmstat", "pswpout", 100.0),
    (6.0, "vmstat", "pswpout", 356.0),
    (50.0, "vmstat", "pswpout", 9999.0),
    (0.0, "cgroup", "current_bytes", 100.0 * MIB),
    (0.0, "cgroup", "swap_bytes", 0.0),
    (5.0, "cgroup", "current_bytes", 300.0 * MIB),
    (6.0, "cgroup", "swap_bytes", 50.0 * MIB),
    (9.0, "cgroup", "current_bytes", 200.0 * MIB),
    (0.0, "ram", "resident_bytes", 1.0),
    (0.0, "ram.1", "resident_bytes", 2.0),
    (0.0, "qemu", "major_faults", 4.0),
    (8.0, "qemu", "major_faults", 7.0),
    (3.0, "qemu.1", "major_faults", 0.0),
    (8.0, "qemu.1", "major_faults", 20.0),
]


def phase(name: str, start: float, end: float, **result: Any) -> dict[str, Any]:
    return {"name": name, "iteration": 0, "start_s": start, "end_s": end, "result": result}


def boot(*full: bool | None) -> dict[str, Any]:
    """A line with a guest for each of `full`; None: never started."""
    guests: list[dict[str, Any]] = []
    for number, answer in enumerate(full):
        if answer is None:
            guests.append({"phases": []})
            continue
        touch = phase("touch", 2.0 + number, 4.0, ns=1e9 * (1 + number), bytes=GIB)
        phases = [touch, phase("settle", 5.0, 10.0), phase("full", 10.0, 10.0, full=answer, out_bytes=0)]
        guests.append({"phases": phases, "argv": ["qemu"], "ready_s": 1.0})
    return {"workload": "crowd", "guests": guests, "phases": guests[0]["phases"]}


def iteration(line: dict[str, Any]) -> Iteration:
    return Iteration(line, {}, curves(frame(ROWS)))


def test_a_boot_of_one_guest_is_itself() -> None:
    line: dict[str, Any] = {"phases": []}
    lines = curves(frame(ROWS))
    assert members(line, lines) == [(line, lines)]


def test_each_guest_has_its_own_curves_and_those_of_the_host() -> None:
    found = members(boot(False, True, None), curves(frame(ROWS)))
    assert [member["number"] for member, _ in found] == [0, 1]
    for number, (_, lines) in enumerate(found):
        assert lines["ram.resident_bytes"].at(1.0) == number + 1.0
        assert not any(name.startswith(("ram.1", "qemu.1")) for name in lines)
        assert "vmstat.pswpout" in lines


def test_swap_and_memory_are_of_all_guests_from_the_first_touch_until_all_have_settled() -> None:
    it = iteration(boot(False, False))
    assert CROWD["swapped_out_bytes"](it) == 256 * 4096
    assert CROWD["group_peak_bytes"](it) == 350 * MIB
    assert CROWD["group_end_bytes"](it) == 250 * MIB
    assert 100 * MIB < CROWD["group_mean_bytes"](it) < 350 * MIB
    assert CROWD["crowd_major_faults"](it) == 23
    assert (CROWD["crowd_touch_s_per_gib"](it), CROWD["crowd_touch_max_s_per_gib"](it)) == (1.5, 2.0)


@pytest.mark.parametrize("name", ["swapped_in_bytes", "pressure_some_s"])
def test_a_counter_that_the_host_does_not_have_is_missing(name: str) -> None:
    with pytest.raises(Missing, match="no such counter"):
        CROWD[name](iteration(boot(False)))


def test_what_fits_is_counted_up_to_the_first_guest_that_made_the_host_swap() -> None:
    assert DENSITY["density_guests"](iteration(boot(False, False, True, None))) == 2
    assert DENSITY["density_guests"](iteration(boot(True, None, None))) == 0


def test_a_search_in_which_all_fit_says_so() -> None:
    assert density_doubts(boot(False, True, None)) == []
    assert [doubt.code for doubt in density_doubts(boot(False, False))] == ["density-capped"]
    assert DENSITY["density_guests"](iteration(boot(False, False))) == 2
