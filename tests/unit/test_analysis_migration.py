"""Migration: its figures, when they count, and what makes a destination one that cannot be believed."""

from __future__ import annotations

from typing import Any

import pytest
from analysis_boots import boot, phase, rows

from bench.analysis.summary import Summary, summarise
from bench.analysis.validity import boot_doubts, judge
from bench.analysis.values_migration import wrong
from bench.wire.metrics import metrics_of
from bench.wire.units import MIB

HINTING = "000100" + "0" * 58
MOVED = {
    "status": "completed",
    "converged": True,
    "total_s": 1.5,
    "down_s": 0.05,
    "setup_s": 0.002,
    "sent_bytes": 300 * MIB,
    "normal_pages": 70000,
    "zero_pages": 90000,
    "syncs": 3,
    "remaining_bytes": 0,
    "source_bytes": 400 * MIB,
    "source_after_bytes": 500 * MIB,
    "destination_bytes": 350 * MIB,
    "pages": 163840,
    "hint_cpu_ns": 5_000_000,
    "different_pages": 0,
    "zero_different_pages": 0,
    "emptied_pages": 0,
}
HEALTHY = {"tainted": 4096, "complaints": ["[    1.0] WARNING: of old"], "oom_kills": 0, "stalls": 5}
SOUND = {
    "verify": {"bad_pages": 0, "first_bad": None, "bytes": 64 * MIB},
    "writer": {"bad_pages": 0, "first_bad": None, "longest_ns": 25 * 10**7},
    "health": {**HEALTHY, "stalls": 12, "oom_kills": 1},
}
FIGURES = {
    "migration_sent_bytes": 300 * MIB,
    "migration_normal_pages": 70000,
    "migration_zero_pages": 90000,
    "migration_syncs": 3,
    "migration_s": 1.5,
    "migration_down_s": 0.05,
    "migration_setup_s": 0.002,
    "migration_source_bytes": 400 * MIB,
    "migration_destination_bytes": 350 * MIB,
    "migration_growth_bytes": -50 * MIB,
    "migration_source_growth_bytes": 100 * MIB,
    "migration_settled_bytes": 360 * MIB,
    "migration_different_pages": 0,
    "migration_emptied_pages": 0,
    "migration_sound": 1,
    "migration_wrong_pages": 0,
    "migration_writer_gap_s": 0.25,
    "migration_stalls": 7,
    "migration_oom_kills": 1,
}
ONLY_SOUND = {
    *("migration_s", "migration_down_s", "migration_setup_s", "migration_settled_bytes"),
    *("migration_writer_gap_s", "migration_stalls", "migration_oom_kills"),
}


def moved(
    hinting: bool = False, migrate: dict[str, Any] | None = None, inspect: dict[str, Any] | None = None, **answers: Any
) -> dict[str, Any]:
    """A boot of workload migration; answers: of checks, where they differ from SOUND."""
    line = boot(reporting=False, workload="migration", hinting=hinting)
    if hinting:
        line["guest"]["balloon_features"] = HINTING
    looked = {
        "alive": True,
        "destination_bytes": 360 * MIB,
        "answers": {**SOUND, **answers},
        "discarded_bytes": 0,
        **(inspect or {}),
    }
    line["phases"] += [
        phase("writer", 36.0, 36.1, result={"pages": 8}),
        phase("health", 36.1, 36.2, result=HEALTHY),
        phase("migrate", 36.2, 38, kind="host", result={**MOVED, **(migrate or {})}),
        phase("inspect", 42, 43, kind="host", result=looked),
    ]
    return line


def values(found: Summary) -> dict[str, Any]:
    return {name: found.values[name][0] for name in FIGURES}


def test_figures_are_those_of_qemu_and_of_both_sides() -> None:
    line = moved()
    found = summarise(line, rows(reporting=False))
    assert set(FIGURES) < {metric.name for metric in metrics_of("migration")}
    assert values(found) == pytest.approx(FIGURES)
    assert judge(line, rows(reporting=False))[0] == "ok"
    assert boot_doubts(line, rows(reporting=False), found) == []


def test_a_guest_without_a_writer_has_no_gap_of_one_and_nothing_is_missing() -> None:
    line = moved()
    line["phases"] = [done for done in line["phases"] if done["name"] != "writer"]
    found = summarise(line, rows(reporting=False))
    assert found.values["migration_writer_gap_s"] == [None]
    assert found.doubts == ()


BAD = {"address": 4096, "offset": 0, "expected": 7, "found": 0}
DAMAGE: list[tuple[dict[str, Any], str]] = [
    ({"verify": {"bad_pages": 32, "first_bad": BAD}}, "32 wrong pages in check verify"),
    ({"health": {**HEALTHY, "tainted": 4096 | 1 << 7}}, "its kernel is tainted by an oops or a BUG"),
    (
        {"health": {**HEALTHY, "complaints": ["[    1.0] WARNING: of old", "kernel BUG at x"]}},
        "its kernel says: kernel BUG",
    ),
    ({"inspect": {"alive": False, "reason": "the second QEMU ended with status 0"}}, "it did not go on: the second"),
]


@pytest.mark.parametrize("hinting", [False, True])
@pytest.mark.parametrize(("damage", "text"), DAMAGE)
def test_of_a_guest_that_is_not_the_same_where_it_went_bytes_and_pages_count_and_nothing_else(
    damage: dict[str, Any], text: str, hinting: bool
) -> None:
    line = moved(hinting=hinting, **damage)
    found = summarise(line, rows(reporting=False))
    assert judge(line, rows(reporting=False))[0] == "ok"
    measured = values(found)
    assert {name for name, value in measured.items() if value is None} == ONLY_SOUND
    assert (measured["migration_sent_bytes"], measured["migration_sound"]) == (300 * MIB, 0)
    (doubt,) = boot_doubts(line, rows(reporting=False), found)
    assert doubt.code == "destination-not-sound"
    assert doubt.text.startswith("bytes and pages only, the destination is not sound with this QEMU: ")
    assert text in doubt.text


@pytest.mark.parametrize(
    ("hinting", "reporting", "emptied", "lost"),
    [
        (True, False, 0, 0),
        (True, True, 10, 0),
        (False, False, 0, 5000),
        # Nobody gave a page back: one that became zero meanwhile is lost like any other.
        (False, False, 5000, 5000),
        (False, True, 5000, 0),
        (False, True, 4999, 1),
    ],
)
def test_pages_may_differ_that_were_hinted_or_reported_meanwhile_and_no_others(
    hinting: bool, reporting: bool, emptied: int, lost: int
) -> None:
    line = moved(hinting=hinting, migrate={"different_pages": 5000, "emptied_pages": emptied})
    line["reporting"] = reporting
    found = summarise(line, rows(reporting=False)).values
    assert (found["migration_different_pages"], found["migration_emptied_pages"]) == ([5000], [emptied])
    assert found["migration_sound"] == [0 if lost else 1]
    assert wrong(line) == ([f"{lost} of 163840 pages differ from those at the source"] if lost else [])


def test_hints_that_nobody_took_were_not_seen_at_work() -> None:
    status, reason, _ = judge(moved(hinting=True, migrate={"hint_cpu_ns": 100_000}), rows(reporting=False))
    assert (status, reason) == (
        "invalid",
        "mechanism not seen: QEMU took no hints while it migrated",
    )


def test_an_arm_with_hinting_that_never_migrates_was_not_seen_at_work() -> None:
    line = boot(reporting=False, hinting=True)
    line["guest"]["balloon_features"] = HINTING
    status, reason, _ = judge(line, rows(reporting=False))
    why = "nothing was migrated, so nothing could be left out by hints"
    assert (status, reason) == ("invalid", f"mechanism not seen: {why}")


@pytest.mark.parametrize("hinting", [False, True])
def test_a_migration_that_was_cancelled_is_recorded_as_such_and_has_no_figures(hinting: bool) -> None:
    line = moved(hinting=hinting, migrate={"converged": False, "status": "cancelled", "remaining_bytes": 100 * MIB})
    line["phases"][-1]["result"] = {"skipped": "the migration did not converge"}
    found = summarise(line, rows(reporting=False))
    assert judge(line, rows(reporting=False))[0] == "ok"
    measured = values(found)
    assert {name for name, value in measured.items() if value is not None} == {"migration_source_bytes"}
    (doubt,) = boot_doubts(line, rows(reporting=False), found)
    assert (doubt.code, doubt.text) == (
        "not-converged",
        "the migration was cancelled after 2 s: 100 MiB were left to send",
    )
