"""What the doctor says about room, rights, and what somebody else does or left on the host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.host import findings_room
from bench.host.journal import COMMAND, Entry
from bench.wire.finding import UNKNOWN
from bench.wire.units import MIB


@pytest.mark.parametrize(
    ("free_mib", "files", "severity"),
    [(2048, None, "ok"), (1023, 10**6, "warn"), (199, 10**6, "error"), (2048, 10, "error"), (2048, 1000, "ok")],
)
def test_room_for_kernels_and_images_is_judged(tmp_path: Path, free_mib: int, files: int | None, severity: str) -> None:
    assert findings_room.judged_room(tmp_path, free_mib * MIB, files).severity == severity


def test_what_bench_keeps_is_told_with_the_command_that_removes_it(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    (folder / "kernels").mkdir(parents=True)
    with (folder / "kernels/image").open("wb") as file:
        file.write(os.urandom(3 * MIB))
        os.fsync(file.fileno())  # blocks are counted once they are on disk
    (folder / "gone").symlink_to("/nowhere")
    found = findings_room.judged_room(folder, 5000 * MIB, None)
    assert found.value == f"5000 MiB free; bench keeps 3 MiB here: rm -r '{folder}' removes it"


def test_the_room_of_a_folder_is_asked_of_its_file_system(tmp_path: Path) -> None:
    assert "MiB free" in findings_room.room(tmp_path).value
    missing = findings_room.room(tmp_path / "absent")
    assert (missing.severity, missing.value) == ("info", f"{tmp_path}/absent: {UNKNOWN}")


def test_sudo_that_is_wanted_and_refused_is_an_error() -> None:
    found = findings_room.rights("sudo", None, "sudo -n asks for a password")
    assert (found.severity, found.value) == ("error", "sudo -n asks for a password")
    assert "become: none" in found.advice


@pytest.mark.parametrize(
    ("become", "prefix", "value"),
    [
        ("none", (), "this user is root"),
        ("sudo", ("sudo", "-n"), "by sudo without a password"),
        ("none", None, "not used (become: none): nothing can be installed or tuned"),
    ],
)
def test_rights_that_are_there_or_not_wanted_are_fine(become: str, prefix: tuple[str, ...] | None, value: str) -> None:
    found = findings_room.rights(become, prefix, "")
    assert (found.severity, found.value) == ("ok", value)


def test_a_host_in_use_is_a_warning_that_names_who() -> None:
    holder = {"owner": "ada@desk", "run": "r1", "since": "2026-01-01T00:00:00+00:00", "pid": 7}
    found = findings_room.in_use(holder)
    assert found.severity == "warn"
    assert "ada@desk for run r1" in found.value
    assert findings_room.in_use(None).severity == "ok"
    assert findings_room.in_use({}).severity == "warn", "somebody who left no name has it all the same"


def test_a_lock_that_cannot_be_asked_is_an_error() -> None:
    found = findings_room.in_use(None, "the lock is a pipe")
    assert (found.severity, found.value, found.advice) == ("error", UNKNOWN, "the lock is a pipe")


def entry(by: str) -> Entry:
    return Entry("governor", "/sys/g", "powersave", "performance", by, "2026-01-01T00:00:00+00:00", "b")


@pytest.mark.parametrize(
    ("by", "held", "severity", "command"),
    [
        ("r1", False, "warn", "bench tune restore"),
        ("r1", True, "info", ""),
        (COMMAND, False, "info", "bench tune restore"),
    ],
)
def test_tuned_settings_are_a_warning_only_where_nobody_will_restore_them(
    by: str, held: bool, severity: str, command: str
) -> None:
    found = findings_room.tuned([entry(by)], held)
    assert (found.severity, found.value, found.command) == (severity, "governor", command)
    assert found.evidence == (f"/sys/g: powersave -> performance, by {by}",)


def test_no_journal_is_fine_and_one_that_cannot_be_read_is_a_warning() -> None:
    assert findings_room.tuned([], held=False).severity == "ok"
    assert findings_room.tuned([], held=False, problem="damaged").severity == "warn"
    assert findings_room.tuned(None, held=False, problem="not readable").advice == "not readable"
