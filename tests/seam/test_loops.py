"""Loops of the host beside a guest, over the fake QEMU: what ends one is said, and what it decided is kept."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from host_side import HostSide, fake_job, gone_within, run_to_end
from jobs import cycle, settle

from bench.wire.job import Arm, Phase, Policy
from bench.wire.record import End, LogPart, PhaseDone, Started
from bench.wire.units import MIB

# The host is always short of memory, and a guest is asked again at once.
PARAMS = {"headroom": 1.0, "pause_s": 0.05, "answer_s": 0.3, "tries": 2, "period_s": 0.05}


def arm(mode: str) -> Arm:
    told = Arm("told", balloon=True, reporting=True, policy=Policy("notify", PARAMS))
    return dataclasses.replace(told, kernel_args=(f"fake={mode}",))


def boot(folder: Path, mode: str) -> tuple[HostSide, End]:
    begin = Phase("begin", "host", 0, op="policy_start", args={"kind": "notify", **PARAMS})
    stop = Phase("stop", "host", 0, op="policy_stop", args={})
    phases = (begin, *cycle(8 * MIB)[:-1], settle(min_s=2.0, max_s=6.0), stop)
    return run_to_end(folder, fake_job(folder, phases, arm(mode), deadline_s=20.0))


def decided(host: HostSide) -> list[str]:
    return [line for part in host.all_of(LogPart) if part.name == "policy" for line in part.text.splitlines()]


def test_a_loop_that_was_stopped_tells_what_it_did_in_its_phase_and_leaves_no_log(tmp_path: Path) -> None:
    host, end = boot(tmp_path, "obeys")
    assert (end.status, end.reason) == ("ok", "")
    (stopped,) = [phase.result for phase in host.all_of(PhaseDone) if phase.name == "stop"]
    assert stopped["count"] == len(stopped["actions"]) > 2
    assert all(action["reached"] and action["bytes"] == action["wanted_bytes"] for action in stopped["actions"])
    assert decided(host) == []


def test_a_guest_that_stops_answering_is_what_the_loop_saw_and_no_failure(tmp_path: Path) -> None:
    host, end = boot(tmp_path, "notify-silent")
    assert end.status == "ok"
    (stopped,) = [phase.result for phase in host.all_of(PhaseDone) if phase.name == "stop"]
    first, *others = stopped["actions"]
    assert first["reached"]
    assert others
    assert all((action["reached"], action["bytes"], action["messages"]) == (False, 0, 2) for action in others)
    assert stopped["bytes"] == first["bytes"]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("notify-closes", "the guest's port for messages was closed"),
        ("notify-nonsense", "not an answer of the guest's listener: b'Segmentation fault"),
    ],
)
def test_a_loop_that_dies_voids_the_boot_and_its_decisions_are_kept(tmp_path: Path, mode: str, reason: str) -> None:
    host, end = boot(tmp_path, mode)
    assert end.status == "invalid"
    assert re.search(f"the loop notify of the host side ended by itself: {reason}", end.reason), end.reason
    first, *_, last = decided(host)
    action: dict[str, Any] = json.loads(first)
    assert (action["reached"], action["messages"], action["bytes"]) == (True, 1, action["wanted_bytes"])
    assert reason in last
    assert gone_within(host.all_of(Started)[0].qemu_pid, 1)
    assert "Traceback" not in host.log()
