"""The host needs memory now: two real guests in a group, somebody who takes memory beside them, and real swap."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guestlab import Lab, phases_of

from bench.controller.arms import ARMS
from bench.controller.collect import Collected
from bench.host.cgroup import PREFIX, hierarchy
from bench.host.swapfile import swap_file
from bench.wire.job import Cgroup
from bench.wire.record import Record, Started
from bench.wire.units import MIB
from workloads.arrival import ARRIVAL

pytestmark = pytest.mark.guest

MEMORY = 640 * MIB
# Two guests of 640 MiB that used what is below have 1.2 GiB with their QEMUs.
SHORT = {"disk": 0.2, "free": 0.3, "settle_min_s": 1.0, "settle_window_s": 0.8, "calm_s": 0.5, "window_s": 2.0}


def test_a_newcomer_gets_its_memory_from_the_guests_by_swap_where_nothing_else_gives(lab: Lab, tmp_path: Path) -> None:
    params = ARRIVAL.defaults() | SHORT
    group = ARRIVAL.group(params, MEMORY)
    assert group is not None
    job = lab.job(
        ARMS["none"],
        phases_of("arrival", ARMS["none"], MEMORY, **SHORT),
        workload="arrival",
        disk_bytes=ARRIVAL.disk(params, MEMORY),
        cgroup=Cgroup(group.limit_bytes, group.swap_limit_bytes),
        guests=group.guests,
    )
    seen, groups = Collected(replace(job, guest=replace(job.guest, memory_bytes=MEMORY))), set[str]()

    def add(item: Record) -> None:
        if isinstance(item, Started):
            groups.update(re.findall(re.escape(PREFIX) + r"[^/\n]+", Path(f"/proc/{item.qemu_pid}/cgroup").read_text()))
        seen.add(item)

    with swap_file(tmp_path, 1024 * MIB) as told:
        assert "path" in told, told
        lab.session.boot(seen.job, add)
    line = seen.line(SHORT["window_s"])
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    values: dict[str, Any] = {name: found[0] for name, found in line["values"].items()}
    arrive = next(phase for phase in line["phases"] if phase["name"] == "arrive")["result"]
    assert arrive["reached"]
    assert arrive["locked"]
    assert values["arrival_had_share"] == 1
    assert 0 < values["arrival_half_s"] < values["arrival_s"] == pytest.approx(arrive["ns"] / 1e9, abs=1e-3)
    # Two meters that know nothing of one another: the host's count of pages, and the guests' residency.
    assert values["arrival_swapped_bytes"] > 64 * MIB
    assert 0.3 * values["arrival_swapped_bytes"] < values["given_bytes"] < 1.5 * values["arrival_swapped_bytes"]
    assert 0 < values["arrival_reaction_s"] <= values["arrival_s"] + 0.2
    leave = next(phase for phase in line["phases"] if phase["name"] == "leave")["result"]
    assert leave["swapped_bytes"] == 0
    (name,) = groups
    assert not (hierarchy()[0] / name).exists()
