"""Every workload besides cycle, and every loop in the guest, in one real boot each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guestlab import Lab, phases_of

from bench.controller.arms import ARMS
from bench.controller.image import build_image
from bench.controller.plan import load_plan, resolve
from bench.controller.programs import find
from bench.host.swapfile import swap_file
from bench.wire.cache import cache_folder
from bench.wire.job import POLICIES, Arm, Cgroup, Policy
from bench.wire.units import MIB
from workloads.catalog import WORKLOADS

pytestmark = pytest.mark.guest

REPORTING = ARMS["reporting"]
# Below this the guest's kernel has no transparent huge pages.
ROOMY = 640 * MIB


def line_of(lab: Lab, workload: str, arm: Arm, **changes: Any) -> dict[str, Any]:
    cgroup = Cgroup() if changes.get("swap") == "on" else None
    size = WORKLOADS[workload].disk(WORKLOADS[workload].defaults() | changes, ROOMY)
    job = lab.job(arm, phases_of(workload, arm, ROOMY, **changes), workload=workload, disk_bytes=size, cgroup=cgroup)
    return lab.boot(replace(job, guest=replace(job.guest, memory_bytes=ROOMY))).line(changes.get("window_s", 4.5))


@pytest.fixture(scope="module")
def programs(lab: Lab) -> Lab:
    """The same host, with the programs of plan `application` in the guest's image."""
    wanted = resolve(load_plan("application"), "tcg").programs
    return replace(lab, paths=replace(lab.paths, image=str(build_image(cache_folder(), find(wanted)))))


def answer(line: dict[str, Any], phase: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in line["phases"] if item["name"] == phase)["result"]
    return found


def test_faults_are_counted_and_what_was_filled_came_back_before(lab: Lab) -> None:
    line = line_of(lab, "faults", REPORTING, iterations=2, seconds=1.0, warmup_s=0.2, fill=0.3)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    values = line["values"]
    assert all(value > 1000 for value in values["faults_per_s"])
    assert values["filled_resident_bytes"][0] - values["working_resident_bytes"][0] > 0.15 * ROOMY


def test_a_page_is_timed_in_each_state_and_swapped_ones_were_read_back(lab: Lab, tmp_path: Path) -> None:
    """As root: the swap file and QEMU's memory cgroup are made here."""
    with swap_file(tmp_path, 1024 * MIB) as told:
        assert "path" in told, told
        line = line_of(lab, "refault", REPORTING, touch=0.3, swap="on")
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    values = line["values"]
    for state in ("fresh", "kept", "reported", "swapped"):
        assert values[f"{state}_p50_s"] != [None], line["warnings"]
        assert 0 < values[f"{state}_p50_s"][0] <= values[f"{state}_p99_s"][0] <= values[f"{state}_p999_s"][0]
        assert values[f"{state}_s_per_gib"][0] > 0
    # Beside other tests a report may come between free and touch: how much of it is told, not how much there is.
    assert values["kept_discarded_share"] != [None]
    # Beside other tests a page in swap may have been the cheaper one: then there is nothing to divide by.
    dearer = values["swapped_s_per_gib"][0] > values["kept_s_per_gib"][0]
    assert (values["break_even_swap_share"] != [None]) == dearer
    gone = answer(line, "pageout")
    # All of the guest, and next to nothing of QEMU's own.
    assert gone["bytes"] > 0.3 * ROOMY
    assert gone["own_bytes"] < 32 * MIB
    assert answer(line, "verify-swapped")["bad_pages"] == 0
    assert any(str(item["name"]) == told["path"] for item in line["host_facts"]["swaps"])


def test_memory_in_use_stays_what_it_was_while_other_memory_is_reported(lab: Lab) -> None:
    line = line_of(lab, "integrity", REPORTING, churn_s=3.0, held=0.25, churn=0.2)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert line["values"]["churn_cycles"][0] >= 2
    assert line["values"]["verified_bytes"][0] > 2 * 0.25 * ROOMY


@pytest.mark.alone  # a reader that shares its CPU with other tests cannot keep its pace
def test_the_cold_part_of_the_page_cache_leaves_and_the_hot_set_stays(lab: Lab) -> None:
    arm = ARMS["reporting-mglru"]
    line = line_of(lab, "cache", arm, disk=0.3, window_s=7.0, access="mmap", round_s=1.0)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert not [doubt for doubt in line["warnings"] if doubt["code"] == "not-measured"]
    values = {name: found[0] for name, found in line["values"].items()}
    assert values["cache_returned_share"] > 0.6
    assert values["warm_disk_share"] > 0.8, "what was cold has to come from the disk again"
    assert values["warm_hot_disk_share"] < 0.3, "what was in use is still there"
    assert values["cache_kept_bytes"] < 0.3 * answer(line, "read")["bytes"]
    assert 0 < values["reader_p50_s"] <= values["reader_p99_s"]
    assert (
        sum(action["bytes"] for action in answer(line, "policy-end")["actions"]) > 0.7 * answer(line, "read")["bytes"]
    )


@pytest.mark.parametrize("fault", ["corrupt", "discard"])
def test_a_page_that_was_lost_is_noticed_with_its_address(lab: Lab, fault: str) -> None:
    line = line_of(lab, "integrity", REPORTING, churn_s=0.1, held=0.2, churn=0.1, fault=fault)
    assert line["status"] == "invalid"
    assert "lost their content in phase verify" in line["reason"]
    bad = answer(line, "verify")["first_bad"]
    assert any(hex(bad["address"]) in text for text in line["evidence"])
    assert bad["offset"] == MIB
    assert (bad["found"] == 0) is (fault == "discard")


@pytest.mark.parametrize("kind", POLICIES)
def test_a_loop_in_the_guest_acts_and_says_what_it_cost_or_what_the_kernel_lacks(lab: Lab, kind: str) -> None:
    arm = replace(ARMS[f"reporting-{kind}"], policy=Policy(kind, {"period_s": 1.0}))
    holes: dict[str, Any] = {"release": "holes", "thp": "never", "hole_block": 256 << 10, "proof": 16 * MIB}
    phases = phases_of("cycle", arm, hold_s=0.2, touch=0.2, sentinel=2 * MIB, **holes)
    line = lab.boot(lab.job(arm, phases)).line(4.5)
    if line["status"] == "skipped":
        assert kind == "damon", line["reason"]
        assert "CONFIG_DAMON_SYSFS" in line["reason"]
        return
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    done = answer(line, "policy-end")
    assert done["count"] >= 2
    assert all(action["ns"] > 0 for action in done["actions"])
    assert line["values"]["policy_cpu_s"][0] > 0


@pytest.mark.parametrize(("job", "size"), [("kv", {"values": 8000, "requests": 2000}), ("archive", {"data": 24 * MIB})])
def test_a_real_program_works_and_is_measured_busy_idle_and_busy_again(
    programs: Lab, job: str, size: dict[str, Any]
) -> None:
    line = line_of(programs, "application", REPORTING, job=job, **size)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    values = line["values"]
    assert values["busy_job_s"][0] > 0 < values["again_job_s"][0]
    assert values["after_resident_bytes"][0] < values["busy_resident_bytes"][0] - 10 * MIB
    if job == "kv":
        assert 0 < values["busy_p99_s"][0] < 1
        assert values["busy_ops_per_s"][0] > 100
    else:
        assert values["busy_ops_per_s"] == [None]


def test_a_locked_qemu_is_a_control_that_is_understood(lab: Lab) -> None:
    arm = Arm("locked", balloon=True, reporting=True, mem_lock=True, backing="anonymous", expect="nothing")
    line = lab.boot(lab.job(arm, phases_of("cycle", arm, hold_s=0.2, touch=0.2))).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert "mem-lock=on" in line["condition"][0]
    assert line["values"]["discarded_bytes"] == [0.0]


@pytest.mark.parametrize("kind", ["balloon", "virtio-mem"])
def test_memory_that_the_host_asks_for_leaves_it_and_is_there_again_when_it_is_wanted(lab: Lab, kind: str) -> None:
    line = line_of(lab, "cycle", ARMS[kind], touch=0.3, hold_s=0.2, sentinel=2 * MIB)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    given, again, freed = (answer(line, name) for name in ("give", "grow", "free"))
    assert given["reached"] is again["reached"] is True
    assert freed["bytes"] - given["reached_bytes"] < 4 * MIB
    values = line["values"]
    # Which blocks virtio-mem gives up is the guest's choice: some of them were never touched.
    assert values["returned_share"][0] > (0.8 if kind == "balloon" else 0.4)
    assert values["give_s_per_gib"][0] > 0 < values["grow_s_per_gib"][0]
    assert values["discards"][0] is None if kind == "balloon" else values["discards"][0] >= 1
    assert answer(line, "reverify")["bad_pages"] == 0
    if kind == "virtio-mem":
        plugged = answer(line, "plug")
        assert (plugged["reached"], plugged["reached_bytes"]) == (True, 0)
        assert line["guest"]["memory_bytes"] < 0.6 * ROOMY
        assert line["qmp"]["memory"]["plugged-memory"] == 256 * MIB


@pytest.mark.parametrize("kind", ["work", "bandwidth"])
def test_a_probe_counts_beside_what_frees_memory_and_sees_who_takes_its_time(lab: Lab, kind: str) -> None:
    arm = ARMS["reporting"]
    changes = {"touch": 0.3, "probe": kind, "probe_before_s": 1.0, "probe_bytes": 16 * MIB, "drain_min_s": 1.0}
    job = lab.job(arm, phases_of("jitter", arm, ROOMY, **changes), workload="jitter")
    line = lab.boot(replace(job, guest=replace(job.guest, memory_bytes=ROOMY, vcpus=2))).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    begun, counted = answer(line, "probe"), answer(line, "probe-end")
    assert (begun["cpu"], begun["other_cpus"]) == (1, [0])
    assert counted["unit_bytes"] == (16384 if kind == "bandwidth" else 0)
    before, after, again = (counted["windows"][name] for name in ("before", "after", "again"))
    assert [window["covered"] for window in (before, after, again)] == [True, True, True]
    assert 95 <= before["quanta"] <= 130
    assert 448 <= after["quanta"] <= 450
    # On a busy host there are quanta in which it got nothing done, and the second before may have been a poor one.
    assert 0 <= line["values"]["probe_p1_share"][0] <= line["values"]["probe_p50_share"][0]
    assert line["values"]["probe_p50_share"][0] > 0
    # The memory was there before the probe was forked, and must be free all the same.
    assert answer(line, "free")["bytes"] > 0.29 * ROOMY
    assert line["values"]["returned_share"][0] > 0.5


@pytest.mark.parametrize(("kind", "load"), [("balloon", "memory"), ("reporting-drop-caches", "cache")])
def test_a_guest_is_shrunk_and_grows_again_with_a_speed_for_each(lab: Lab, kind: str, load: str) -> None:
    line = line_of(lab, "resize", ARMS[kind], load=load, touch=0.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    values = {name: found[0] for name, found in line["values"].items()}
    assert values["shrunk_share"] > 0.5
    assert values["shrunk_bytes"] > 0.25 * ROOMY
    assert values["shrink_touched_bytes_per_s"] > 0 < values["grow_touch_bytes_per_s"]
    assert answer(line, "verify")["bad_pages"] == 0
    if kind == "balloon":
        untouched, whole = answer(line, "give-untouched"), ROOMY // 2
        assert (untouched["reached"], untouched["reached_bytes"], answer(line, "give")["reached"]) == (
            True,
            whole,
            True,
        )
        assert values["shrink_untouched_bytes_per_s"] > 0 < values["grow_bytes_per_s"]
    else:
        assert answer(line, "policy-end")["bytes"] > 0.25 * ROOMY
