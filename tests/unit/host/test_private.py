"""The private folder of a boot: there, private, short, and gone afterwards - also after a crash."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.host import private
from bench.host.private import private_folder, prune


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def dead_pid() -> int:
    """The number of a process that is over."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return child.pid


def test_the_folder_is_private_and_gone_afterwards(base: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o777 == 0o700
        assert str(os.getpid()) in folder.name
        (folder / "console").write_text("x")
    assert list(base.iterdir()) == []


def test_the_folder_is_gone_after_an_exception_too(base: Path) -> None:
    with contextlib.suppress(RuntimeError), private_folder() as folder:
        (folder / "qmp").write_text("x")
        raise RuntimeError
    assert list(base.iterdir()) == []


def test_a_socket_fits_into_the_folder_of_a_long_temporary_path(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = base / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with private_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "console"))
        assert folder.parent == Path("/tmp")
    assert list(long.iterdir()) == []
    assert not folder.exists()


def test_folders_of_dead_processes_are_removed_and_those_of_live_ones_stay(base: Path) -> None:
    dead = base / f"fpr-boot-{dead_pid()}-abc"
    live = base / f"fpr-boot-{os.getpid()}-abc"
    other, odd = base / "fpr-something-1-abc", base / "fpr-boot-x-abc"
    for folder in (dead, live, other, odd):
        folder.mkdir()
        (folder / "console").write_text("x")
    assert prune(base) == [dead]
    assert sorted(base.iterdir()) == sorted([live, other, odd])


def test_nothing_to_prune_is_no_error(base: Path) -> None:
    assert prune(base) == []
    assert prune(base / "missing") == []


def test_folders_of_other_users_stay(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / f"fpr-boot-{dead_pid()}-abc").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert prune(base) == []


def test_a_folder_that_another_one_removes_meanwhile_is_no_error(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two host sides may start, and prune, at the same moment."""
    folders = [base / f"fpr-boot-{dead_pid()}-{name}" for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    found = list(base.glob("fpr-boot-*"))
    monkeypatch.setattr(Path, "glob", lambda *_: iter(found))
    shutil.rmtree(found[0])
    assert prune(base) == [found[1]]


def test_the_longest_name_in_the_folder_still_fits_into_a_socket_address() -> None:
    # sun_path: 108 bytes, the NUL at the end included.
    longest = "x" * (private._PATH_LIMIT - 1)
    assert len(f"{longest}/console\0") <= 108
