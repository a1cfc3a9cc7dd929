"""What killed host sides left is found by its locks, put away and told; and who is about to end is told from others."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import has_begun

from bench.host import leftovers
from bench.host.leftovers import Cleared, clear, ending
from bench.wire.living import VARIABLE, controller_of, identity, is_gone

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with what a host side makes in it; processes are the real ones."""
    for folder in ("sys/fs/cgroup", "cache", "tmp"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc").symlink_to("/proc")
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    return tmp_path


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    return child.pid


def started(controller: str) -> subprocess.Popen[bytes]:
    """A process that says that it belongs to this controller."""
    return has_begun(subprocess.Popen(SLEEP, env={**os.environ, VARIABLE: controller}))


@pytest.fixture
def orphan(dead: int) -> Iterator[int]:
    with started(f"{dead}:1") as process:
        yield process.pid
        process.kill()


@pytest.fixture
def wanted() -> Iterator[int]:
    with started(identity(os.getpid())) as process:
        yield process.pid
        process.kill()


def test_a_process_is_told_from_a_later_one_of_the_same_number(dead: int) -> None:
    mine = identity(os.getpid())
    assert mine.startswith(f"{os.getpid()}:")
    assert not is_gone(mine)
    assert is_gone(f"{os.getpid()}:1")
    assert identity(dead) == ""
    assert is_gone(f"{dead}:1")
    assert is_gone("")


def test_a_process_that_nobody_has_waited_for_is_gone() -> None:
    with subprocess.Popen(SLEEP, stdin=subprocess.DEVNULL) as child:
        before = identity(child.pid)
        assert not is_gone(before)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(before)


def test_any_name_of_a_program_is_read_past(tmp_path: Path) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    fields = " ".join(str(number) for number in range(4, 53))
    (tmp_path / "proc/7/stat").write_text(f"7 (a ) Z b) S {fields}\n")
    assert identity(7, tmp_path) == "7:22"


def test_whose_a_process_is_stands_in_its_environment(orphan: int, dead: int) -> None:
    assert controller_of(orphan) == f"{dead}:1"
    assert controller_of(dead) is None


def test_everything_of_dead_owners_is_put_away_and_told(root: Path, dead: int) -> None:
    group, swap = root / f"sys/fs/cgroup/fpr-bench.{dead}.1", root / f"cache/fpr-bench-{dead}.swap"
    folder = root / f"tmp/fpr-boot-{dead}-abc"
    group.mkdir()
    folder.mkdir()
    swap.write_bytes(b"x")
    cleared = clear("none", [root / "cache"], root)
    assert cleared == Cleared(
        (
            f"removed the memory cgroup {group}: its bench was killed",
            f"removed the swap file {swap}: its bench was killed",
            f"removed the folder {folder}: its bench was killed",
        )
    )
    assert not any(path.exists() for path in (group, swap, folder))
    assert clear("none", [root / "cache"], root) == Cleared()


def test_what_is_locked_is_a_living_ones_whatever_its_number_says(root: Path, dead: int) -> None:
    """As of a process in another pid namespace: its number is none here."""
    group, folder = root / f"sys/fs/cgroup/fpr-bench.{dead}.1", root / f"tmp/fpr-boot-{dead}-abc"
    swap = root / f"cache/fpr-bench-{dead}.swap"
    descriptors = []
    for path in (group, folder):
        path.mkdir()
    swap.write_bytes(b"x")
    for path in (group, folder, swap):
        descriptors.append(os.open(path, os.O_RDONLY))
        fcntl.flock(descriptors[-1], fcntl.LOCK_EX)
    assert clear("none", [root / "cache"], root) == Cleared()
    assert all(path.exists() for path in (group, folder, swap))
    for descriptor in descriptors:
        os.close(descriptor)
    assert len(clear("none", [root / "cache"], root).removed) == 3


def test_what_cannot_be_removed_is_told_with_the_reason(root: Path, dead: int) -> None:
    (root / f"sys/fs/cgroup/fpr-bench.{dead}.1/below").mkdir(parents=True)
    (line,) = clear("none", [], root).left
    assert "is left" in line
    assert "not empty" in line


@pytest.mark.parametrize("made", ["sys/fs/cgroup/memory/fpr-bench.{}.1", "tmp/fpr-boot-{}-abc"])
def test_a_host_side_whose_controller_is_gone_is_ending_and_one_that_is_wanted_is_not(
    root: Path, orphan: int, wanted: int, made: str
) -> None:
    for pid in (orphan, wanted):
        (root / made.format(pid)).mkdir(parents=True)
    assert ending([], root) == [orphan]


def test_one_that_has_a_swap_file_or_the_lock_is_known_by_it(root: Path, orphan: int, wanted: int) -> None:
    for pid in (orphan, wanted):
        (root / f"cache/fpr-bench-{pid}.swap").write_bytes(b"x")
    assert ending([root / "cache"], root) == [orphan]
    assert ending([], root) == []
    with (root / "tmp/fpr-bench.lock").open("w") as file:
        json.dump({"pid": orphan}, file)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert ending([], root) == [orphan]


def test_a_process_that_says_nothing_of_a_controller_is_none_of_them(root: Path) -> None:
    """Over SSH nobody here is its controller; and a number may be somebody else's by now."""
    with subprocess.Popen(SLEEP, env={}) as other:
        (root / f"tmp/fpr-boot-{other.pid}-abc").mkdir()
        assert ending([], root) == []
        other.kill()
    (root / "sys/fs/cgroup/fpr-bench.odd.1").mkdir()
    assert leftovers.ending([], root) == []
