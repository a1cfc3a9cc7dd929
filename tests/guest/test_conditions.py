"""What decides whether memory can come back: a full guest, its host memory, the reporting order, too little of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from guestlab import Lab, phases_of

from bench.controller.arms import ARMS
from bench.controller.collect import Collected
from bench.wire.job import Arm
from bench.wire.units import MIB

pytestmark = pytest.mark.guest

REPORTING = ARMS["reporting"]
SHORT: dict[str, Any] = {"hold_s": 0.2, "touch": 0.2, "sentinel": 2 * MIB}


def boot(lab: Lab, arm: Arm, job: dict[str, Any] | None = None, **changes: Any) -> Collected:
    return lab.boot(replace(lab.job(arm, phases_of("cycle", arm, **{**SHORT, **changes})), **(job or {})))


def test_a_full_guest_reports_nothing_and_says_why(lab: Lab) -> None:
    line = boot(lab, replace(REPORTING, name="full", expect="nothing"), held=0.74, touch=0.05).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    assert line["condition"][0].startswith("the guest is in full use: ")
    assert line["values"]["held_unexplained_bytes"][0] > 0.3 * line["phases"][-1]["result"]["bytes"]


def test_memory_of_a_file_comes_back_and_the_file_is_gone(lab: Lab) -> None:
    line = boot(lab, replace(REPORTING, name="file", backing="file")).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    values = line["values"]
    assert values["returned_share"][0] > 0.7
    assert abs(values["discard_gap_bytes"][0]) < 8 * MIB
    assert values["failed_discards"] == [0.0]


def test_a_small_order_finds_small_blocks_and_the_monitor_is_timed_meanwhile(lab: Lab) -> None:
    arm = replace(REPORTING, name="order-3", reporting_order=3)
    line = boot(lab, arm, {"qmp_hz": 20.0}, release="mixed", thp="never", touch=0.3, settle_max_s=14.0).line(4.5)
    assert line["status"] == "ok", (line["reason"], line["evidence"])
    values = line["values"]
    # Of 16 KiB, 64 KiB, 256 KiB, 1 MiB and 4 MiB only the first is below 32 KiB.
    assert values["returned_share"][0] > 0.3
    assert values["discard_mean_bytes"][0] < MIB
    assert 0 < values["qmp_round_trip_p50_s"][0] <= values["qmp_round_trip_max_s"][0] < 5
    assert values["guest_kworker_cpu_s"][0] > 0
    assert values["guest_cpu_s"][0] is not None


def test_a_parameter_that_the_kernel_does_not_have_makes_the_arm_skipped(lab: Lab) -> None:
    arm = replace(REPORTING, name="delay", reporting_params=(("no_such_parameter", 1),))
    line = boot(lab, arm).line(4.5)
    assert (line["status"], line["phases"]) == ("skipped", [])
    assert "has no parameter no_such_parameter: page_reporting_order" in line["reason"]


def test_a_guest_that_runs_out_of_memory_says_so_with_its_kernels_report(lab: Lab) -> None:
    line = boot(lab, Arm("small", kernel_args=("mem=256M",)), held=0.3, touch=0.3).line(4.5)
    assert line["status"] == "failed"
    assert line["reason"].startswith("the guest ran out of memory: "), (line["reason"], line["evidence"])
    assert any(text.startswith("kernel: ") for text in line["evidence"])
