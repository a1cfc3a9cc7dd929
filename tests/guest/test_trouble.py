"""Guests that cannot do what they are asked: each ends as a recorded failure or as invalid, with its evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from guestlab import Lab, cycle_phases

from bench.wire.job import Arm, Phase

pytestmark = pytest.mark.guest


def test_a_guest_whose_discards_all_fail_is_invalid_because_the_mechanism_was_not_seen(lab: Lab) -> None:
    locked = Arm("locked", balloon=True, reporting=True, mem_lock=True)
    line = lab.boot(lab.job(locked, cycle_phases(settle_max_s=8.0))).line(window_s=6.0)
    assert line["status"] == "invalid"
    assert line["reason"].startswith("mechanism not seen")
    assert "fail" in " ".join(line["evidence"])


def test_a_guest_that_panics_fails_with_the_console_as_evidence(lab: Lab) -> None:
    # Without an init the kernel panics; panic=-1 and -no-reboot turn that into the end of QEMU.
    arm = Arm("panics", kernel_args=("rdinit=/nowhere", "init=/nowhere"))
    line = lab.boot(lab.job(arm, cycle_phases())).line(window_s=6.0)
    assert line["status"] == "failed"
    assert "QEMU ended" in line["reason"]
    assert any("Kernel panic" in text for text in line["evidence"]), line["evidence"]


def test_a_guest_that_never_says_ready_fails_at_its_deadline(lab: Lab) -> None:
    line = lab.boot(lab.job(Arm("slow"), cycle_phases(), ready_deadline_s=0.5)).line(window_s=6.0)
    assert line["status"] == "failed"
    assert "READY within" in line["reason"]


def test_an_operation_that_the_guest_refuses_fails_the_boot_with_its_words(lab: Lab) -> None:
    phases = (Phase("fly", "guest", 0, "fly"),)
    line = lab.boot(lab.job(Arm("none"), phases)).line(window_s=6.0)
    assert line["status"] == "failed"
    assert "unknown op 'fly'" in line["reason"]


def test_a_missing_kernel_file_fails_before_a_guest_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    paths = replace(lab.paths, kernel=str(tmp_path / "nothing"))
    line = lab.boot(lab.job(Arm("none"), (), paths=paths)).line(window_s=6.0)
    assert line["status"] == "failed"
    assert line["evidence"]
