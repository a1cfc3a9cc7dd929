"""Loops of the host side beside a real guest: what they say that they took is seen to leave the host's memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from guestlab import MEMORY_BYTES, Lab, phases_of

from bench.wire.job import Arm, Cgroup, Policy
from bench.wire.units import MIB
from workloads.arrival import ARRIVAL

pytestmark = pytest.mark.guest

ALWAYS = {"source": "always"}


def booted(lab: Lab, arm: Arm, **changes: Any) -> dict[str, Any]:
    phases = phases_of("cycle", arm, touch=0.5, settle_min_s=7.0, settle_max_s=10.0)
    line = lab.boot(lab.job(arm, phases, **changes)).line(4.5)
    assert (line["status"], line["reason"]) == ("ok", ""), line["evidence"]
    return line


def actions_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(p for p in line["phases"] if p["name"] == "policy-end")["result"]["actions"]
    return found


def test_a_balloon_loop_takes_what_was_freed_and_gives_when_the_guest_is_short(lab: Lab) -> None:
    line = booted(lab, Arm("auto", balloon=True, policy=Policy("balloon", ALWAYS), deflate_on_oom=True))
    values = {name: found[0] for name, found in line["values"].items()}
    free = next(phase for phase in line["phases"] if phase["name"] == "free")
    later = [action for action in actions_of(line) if action["t_s"] > free["start_s"] and action["bytes"] > 0]
    # Two meters: QEMU's count of the balloon, and the blocks of the memory's file.
    taken = sum(action["bytes"] for action in later)
    assert taken > 128 * MIB
    assert 0.5 * taken < values["returned_bytes"] < 1.2 * taken
    assert values["policy_taken_bytes"] >= taken
    # Three seconds are the loop's own deadline; it may get the CPU late.
    assert 0 < values["policy_reaction_s"] < 10
    assert 0 < values["policy_cpu_s"] < 1
    assert values["discarded_bytes"] is None


def test_a_virtio_mem_loop_unplugs_what_was_freed(lab: Lab) -> None:
    line = booted(lab, Arm("auto", balloon=True, policy=Policy("virtio-mem", ALWAYS)))
    values = {name: found[0] for name, found in line["values"].items()}
    assert values["policy_taken_bytes"] >= 64 * MIB
    assert values["discarded_bytes"] > 0
    assert values["returned_bytes"] > 32 * MIB


def test_a_loop_leaves_a_guest_alone_whose_host_has_memory(lab: Lab) -> None:
    arm = Arm("auto", balloon=True, policy=Policy("balloon"))
    line = booted(lab, arm, cgroup=Cgroup(4 * MEMORY_BYTES))
    assert actions_of(line) == []
    assert line["values"]["policy_actions"] == [0]
    assert line["values"]["returned_bytes"][0] < 16 * MIB
    assert "policy-idle" in [warning["code"] for warning in line["warnings"]]


# One guest with a page cache of 190 MiB in a group of 740 MiB, of which three quarters are to be left.
TOLD = {"headroom": 0.75, "answer_s": 1.0, "pause_s": 1.0}
ALONE = {"guests": 1, "disk": 0.3, "free": 0.2, "arrive": 0.05, "calm_s": 2.0, "window_s": 6.0}
ALONE_BYTES = 640 * MIB


def told(lab: Lab, **params: Any) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]], float]:
    """A guest that is told: boot line, actions of the host's loop, what was heard, bytes discarded meanwhile."""
    arm = Arm("told", balloon=True, reporting=True, policy=Policy("notify", {**TOLD, **params}))
    group = ARRIVAL.group(ARRIVAL.defaults() | ALONE, ALONE_BYTES)
    assert group is not None
    disk_bytes = ARRIVAL.disk(ARRIVAL.defaults() | ALONE, ALONE_BYTES)
    phases = phases_of("arrival", arm, ALONE_BYTES, **ALONE)
    job = lab.job(arm, phases, workload="arrival", cgroup=Cgroup(group.limit_bytes), disk_bytes=disk_bytes)
    seen = lab.boot(replace(job, guest=replace(job.guest, memory_bytes=ALONE_BYTES)))
    line = seen.line(4.5)
    assert (line["status"], line["reason"]) == ("ok", ""), line["evidence"]
    begin, end = (next(phase for phase in line["phases"] if phase["name"] == name) for name in ("policy", "listen-end"))
    names = ("discard", "bytes")
    discarded = sum(v for t, *name, v in seen.rows if tuple(name) == names and begin["end_s"] < t < end["start_s"])
    return line, actions_of(line), end["result"]["messages"], discarded


def test_a_guest_that_is_told_frees_page_cache_and_a_lost_message_is_sent_again(lab: Lab) -> None:
    line, actions, heard, discarded = told(lab, lose_every=3)
    assert len(actions) > 1
    assert all(action["reached"] for action in actions)
    assert len(heard) == sum(action["messages"] - action["lost"] for action in actions)
    # Two meters: what the guest says that it freed, and what QEMU discarded after that.
    freed = sum(action["bytes"] for action in actions)
    assert freed > 64 * MIB
    assert 0.4 * freed < discarded < 1.5 * freed
    assert line["values"]["policy_taken_bytes"] == [sum(max(0, action["bytes"]) for action in actions)]
