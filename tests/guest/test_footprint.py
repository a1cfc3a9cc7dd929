"""Workload footprint in a real guest: what a day's work leaves on the host, and what of it comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from guestlab import Lab, phases_of

from bench.controller.arms import ARMS
from bench.wire.units import MIB
from workloads.catalog import WORKLOADS

pytestmark = pytest.mark.guest

MEMORY = 640 * MIB


def answer(line: dict[str, Any], phase: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in line["phases"] if item["name"] == phase)["result"]
    return found


def test_a_day_gives_back_what_its_jobs_used_and_at_its_end_what_it_read(lab: Lab) -> None:
    arm, changes = ARMS["reporting"], {"iterations": 1, "jobs": 2, "drain_min_s": 2.5}
    job = lab.job(arm, phases_of("footprint", arm, MEMORY, **changes), workload="footprint")
    disk = WORKLOADS["footprint"].disk(WORKLOADS["footprint"].defaults(), MEMORY)
    line = lab.boot(replace(job, guest=replace(job.guest, memory_bytes=MEMORY), disk_bytes=disk)).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert not [doubt for doubt in line["warnings"] if doubt["code"] == "not-measured"]
    values = {name: found[0] for name, found in line["values"].items()}
    assert answer(line, "drop")["freed_bytes"] > 0.8 * disk
    # The memory of the last job but for what lies in lists of single CPUs, then the objects, then the page cache.
    job_bytes, ended = answer(line, "end-2")["bytes"], answer(line, "work-end")
    assert values["day_peak_bytes"] - values["day_idle_bytes"] > job_bytes - ended["percpu_bytes"] - 8 * MIB > 0
    assert values["day_idle_bytes"] - values["day_cleaned_bytes"] > 0.1 * MEMORY
    assert values["day_cleaned_bytes"] - values["day_dropped_bytes"] > 0.1 * MEMORY
    assert values["day_dropped_bytes"] < values["day_resident_bytes"] < values["day_peak_bytes"]
    # Every source came from the disk once, although each job reads all that the one before has read.
    assert 0.95 * disk < values["day_disk_bytes"] < 1.2 * disk
    assert values["day_guest_share"] == pytest.approx(values["day_resident_bytes"] / MEMORY)
    assert values["day_work_s"] > 0
