"""When a swap file is refused, and which files of dead owners are removed. Real ones: tests/seam/test_swap.py."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.host import swapfile
from bench.host.swapfile import RefusedError, make, prune, refusal, swap_file
from bench.wire.units import GIB, MIB


def disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil._ntuple_diskusage(10 * GIB, 10 * GIB - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_no_other_user_than_root_makes_one_and_the_message_has_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    why = refusal(tmp_path, 2 * GIB)
    assert "user: root" in why
    assert "fallocate -l 2048M /swapfile" in why
    with swap_file(tmp_path, 2 * GIB) as told:
        assert told == {"problem": why}
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_with_the_arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    disk(monkeypatch, 3 * GIB)
    assert refusal(tmp_path, 2 * GIB) == ""
    why = refusal(tmp_path, 2 * GIB + MIB)
    assert why.startswith(f"2.00 GiB + 1 GiB that stay free = 3.00 GiB, but {tmp_path} has 3 GiB")
    with pytest.raises(RefusedError, match="make it smaller"):
        make(tmp_path, 2 * GIB + MIB)


def test_no_file_asked_for_is_none_made(tmp_path: Path) -> None:
    with swap_file(tmp_path, 0) as told:
        assert told == {}
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_fails_refuses_with_its_words_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def fails(program: str, *args: str) -> None:
        raise subprocess.CalledProcessError(1, [program], stderr="mkswap: oh\nswapon: no such thing here\n")

    monkeypatch.setattr(swapfile, "_run", fails)
    with pytest.raises(RefusedError, match=r"swapon: no such thing here; a folder on ext4"):
        make(tmp_path, MIB)
    assert list(tmp_path.iterdir()) == []


def test_files_of_dead_owners_are_removed_and_no_others(tmp_path: Path) -> None:
    names = ("fpr-bench-1.swap", "fpr-bench-2.swap", "fpr-bench-3.swap", "other.swap")
    dead, alive, link, other = (tmp_path / name for name in names)
    for path in (dead, alive, other):
        path.write_bytes(b"x")
    link.symlink_to(other)
    descriptor = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert prune([tmp_path], tmp_path) == [(dead, "")]
    finally:
        os.close(descriptor)
    assert [path.exists() for path in (dead, alive, link, other)] == [False, True, True, True]


def test_a_dead_owners_file_in_another_folder_is_found_where_it_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "a b").mkdir()
    file = tmp_path / "a b/fpr-bench-1.swap"
    file.write_bytes(b"x")
    escaped = str(file).replace(" ", r"\040")
    (tmp_path / "proc/swaps").write_text(f"Filename Type Size Used Priority\n{escaped} file 4 0 5\n/swap file 4 0 5\n")
    assert prune([tmp_path], tmp_path) == [(file, "")]
    assert not file.exists()


def test_what_cannot_be_removed_is_told_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "fpr-bench-1.swap"
    file.write_bytes(b"x")

    def busy(self: Path, missing_ok: bool = False) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "unlink", busy)
    ((path, line),) = prune([tmp_path], tmp_path)
    assert path == file
    assert f"the swap file {file} is left" in line
    assert f"sudo swapoff {file}" in line
