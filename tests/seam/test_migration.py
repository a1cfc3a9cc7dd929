"""A guest moved to a second QEMU and back, over fake QEMUs: real processes, real sockets, real memory on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from host_side import HostSide, fake_job, gone_within, run_to_end
from jobs import guest_op

from bench.wire.job import Arm, Phase
from bench.wire.record import End, PhaseDone, Started
from bench.wire.units import MIB

HELD = 16 * MIB
PAGES = 64 * MIB // 4096
CHECKS = [["verify", "verify", {"region": "held"}], ["health", "health", {}]]
Run = tuple[HostSide, End, dict[str, dict[str, Any]]]


def phases(deadline_s: float = 20.0, answer_s: float = 20.0) -> tuple[Phase, ...]:
    return (
        guest_op("map", "map", region="held", bytes=HELD),
        guest_op("fill", "touch", region="held"),
        guest_op("health", "health"),
        Phase("migrate", "host", 0, "migrate", {"bytes_per_s": 0, "deadline_s": deadline_s}),
        Phase("inspect", "host", 0, "inspect", {"checks": CHECKS, "deadline_s": answer_s}),
        Phase("back", "host", 0, "back"),
        guest_op("verify", "verify", region="held"),
    )


def migrated(folder: Path, mode: str = "", steps: tuple[Phase, ...] = phases()) -> Run:
    arm = Arm("a", kernel_args=(f"fake={mode}",) if mode else ())
    host, end = run_to_end(folder, fake_job(folder, steps, arm))
    return host, end, {done.name: done.result for done in host.all_of(PhaseDone)}


def nothing_is_left(host: HostSide) -> None:
    (started,) = host.all_of(Started)
    assert gone_within(started.qemu_pid, 2)
    assert list(host.temporary.iterdir()) == []


def test_a_guest_is_moved_with_all_its_memory_looked_at_there_and_taken_back(tmp_path: Path) -> None:
    host, end, results = migrated(tmp_path)
    assert (end.status, end.reason) == ("ok", "")
    moved, looked = results["migrate"], results["inspect"]
    assert (moved["converged"], moved["status"]) == (True, "completed")
    assert moved["normal_pages"] == (HELD + 8 * MIB) // 4096
    assert moved["normal_pages"] + moved["zero_pages"] == PAGES
    assert (moved["down_s"], moved["setup_s"], moved["syncs"]) == (0.003, 0.001, 2)
    assert moved["pages"] == PAGES
    assert (moved["different_pages"], moved["zero_different_pages"]) == (0, 0)
    assert moved["source_bytes"] == moved["source_after_bytes"] == moved["destination_bytes"] == HELD + 8 * MIB
    assert (looked["alive"], looked["discarded_bytes"]) == (True, 0)
    assert looked["answers"]["verify"]["bad_pages"] == 0
    assert results["verify"]["bad_pages"] == 0
    nothing_is_left(host)


def test_pages_that_are_lost_on_the_way_are_counted_from_outside_and_by_the_guest(tmp_path: Path) -> None:
    _, end, results = migrated(tmp_path, "migrate-loses")
    assert end.status == "ok", "the analysis judges it: the figures of both sides are whole"
    assert (results["migrate"]["different_pages"], results["migrate"]["zero_different_pages"]) == (3, 3)
    assert results["inspect"]["answers"]["verify"]["bad_pages"] == 3
    assert results["verify"]["bad_pages"] == 0, "the guest is whole where it came from"


def test_a_migration_that_does_not_end_is_cancelled_at_its_deadline_and_the_guest_goes_on(tmp_path: Path) -> None:
    host, end, results = migrated(tmp_path, "migrate-slow", phases(deadline_s=0.5))
    assert (end.status, end.reason) == ("ok", "")
    moved = results["migrate"]
    assert (moved["converged"], moved["status"]) == (False, "cancelled")
    assert moved["normal_pages"] == 256, "what was sent until then"
    assert "different_pages" not in moved
    assert results["inspect"] == {"skipped": "the migration did not converge: there is no guest to look at"}
    assert results["verify"]["bad_pages"] == 0
    nothing_is_left(host)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (
            "migrate-dies",
            "the migration failed: the second QEMU ended with status 1: qemu-system-fake: load of migration failed",
        ),
        ("migrate-refuses", "the migration failed: the moon is full"),
        ("migrate-killed", "the second QEMU ended with status -9"),
    ],
)
def test_a_second_qemu_that_is_lost_fails_the_boot_with_its_reason(tmp_path: Path, mode: str, reason: str) -> None:
    host, end, _ = migrated(tmp_path, mode)
    assert (end.status, end.reason) == ("failed", reason)
    nothing_is_left(host)


def test_a_guest_that_panics_where_it_went_is_a_finding_and_goes_on_where_it_came_from(tmp_path: Path) -> None:
    host, end, results = migrated(tmp_path, "migrate-panics")
    assert (end.status, end.reason) == ("ok", "")
    looked = results["inspect"]
    assert (looked["alive"], looked["reason"]) == (False, "the second QEMU ended with status 0")
    assert any("kernel BUG at lib/list_debug.c" in line for line in looked["console"])
    assert results["verify"]["bad_pages"] == 0
    nothing_is_left(host)


def test_a_guest_that_answers_nothing_where_it_went_is_waited_for_until_the_deadline(tmp_path: Path) -> None:
    _, end, results = migrated(tmp_path, "migrate-silent", phases(answer_s=0.5))
    assert end.status == "ok"
    assert results["inspect"]["alive"] is False
    assert results["inspect"]["reason"] == "it did not answer within 0.5 s"
    assert results["inspect"]["answers"] == {}
