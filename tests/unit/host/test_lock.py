"""The lock of a host, between real processes."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from host_side import ROOT

from bench.errors import LabError
from bench.host import lock

NOBODY = 65534
# Takes the lock, says so, and gives it back when stdin closes.
HOLDER = """
import os, sys
from pathlib import Path
from bench.host import lock
os.setuid(int(sys.argv[2]))
taken = lock.acquire("ann@lab", "run-1", Path(sys.argv[1]))
print(taken.taken_over, flush=True)
sys.stdin.read()
taken.release()
"""


@contextlib.contextmanager
def holding(path: Path, uid: int = -1) -> Iterator[subprocess.Popen[str]]:
    """Another process, of another user perhaps, that holds the lock."""
    argv = [sys.executable, "-c", HOLDER, str(path), str(os.getuid() if uid < 0 else uid)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_a_second_holder_is_told_who_is_first(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as process, pytest.raises(LabError) as caught:
        lock.acquire("bob@lab", "run-2", path)
    assert caught.value.host == ""
    since = json.loads(path.read_text())["since"]
    assert caught.value.message == (
        f"held by ann@lab for run run-1 since {since}, process {process.pid}; wait with --wait, or end that run"
    )


def test_the_lock_is_free_after_its_holder_ended_and_nobody_is_called_dead(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as process:
        process.communicate("")
        assert process.returncode == 0
    taken = lock.acquire("bob@lab", "run-2", path)
    assert taken.taken_over == {}
    taken.release()
    assert not path.exists()


def test_whoever_waited_on_the_removed_file_takes_the_lock_of_a_new_one(tmp_path: Path) -> None:
    """Many processes take and release it at once; never two have it, and nothing is left."""
    path = tmp_path / "lock"
    body = """
import sys, time
from pathlib import Path
from bench.host import lock
path, inside = Path(sys.argv[1]), Path(sys.argv[1] + ".inside")
done = 0
while done < 20:
    taken, _ = lock.attempt("x", "y", path)
    if taken:
        inside.touch(exist_ok=False)
        inside.unlink()
        taken.release()
        done += 1
"""
    processes = [subprocess.Popen([sys.executable, "-c", body, str(path)], cwd=ROOT) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    assert not path.exists()


def test_after_kill_9_the_next_holder_learns_whose_lock_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as process:
        process.kill()
        process.wait()
    taken = lock.acquire("bob@lab", "run-2", path)
    assert (taken.taken_over["owner"], taken.taken_over["run"], taken.taken_over["pid"]) == (
        "ann@lab",
        "run-1",
        process.pid,
    )
    taken.release()


def test_who_holds_it_is_told_while_it_is_held_only(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock.holder(path) is None
    assert not path.exists()
    with holding(path) as process:
        held_by = lock.holder(path)
        assert held_by is not None
        assert (held_by["owner"], held_by["pid"]) == ("ann@lab", process.pid)
        process.kill()
        process.wait()
        assert lock.holder(path) is None  # though its name is still there
    assert "ann@lab" in path.read_text()


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    taken = lock.acquire("ann@lab", "run-1", path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        taken.release()
        try:
            assert lock.holder(path) is None
        finally:
            child.kill()


def test_looking_who_holds_it_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock.acquire("ann@lab", "run-0", path).release()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            lock.holder(path)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for number in range(200):
            lock.acquire("ann@lab", f"run-{number}", path).release()
    finally:
        stop.set()
        looker.join()


def test_a_lock_that_was_released_twice_does_not_close_what_others_opened(tmp_path: Path) -> None:
    taken = lock.acquire("ann@lab", "run-1", tmp_path / "lock")
    taken.release()
    with open(tmp_path / "other", "w") as other:
        taken.release()
        other.write("still open")


def test_the_file_is_open_to_every_user_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        taken = lock.acquire("ann@lab", "run-1", tmp_path / "lock")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o666
    taken.release()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A sticky folder that every user can write to, as /tmp is; pytest's own, and TMPDIR perhaps, are closed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("mode", [0o666, 0o644])
def test_another_user_can_take_it_and_is_kept_out(open_folder: Path, mode: int) -> None:
    path = open_folder / "lock"
    path.touch()
    path.chmod(mode)
    with holding(path, NOBODY):
        with pytest.raises(LabError, match=r"held by (ann@lab for run run-1|somebody who left no name)"):
            lock.acquire("root@lab", "run-2", path)
        assert lock.holder(path) is not None
    assert lock.holder(path) is None


def test_a_file_that_is_closed_to_writers_can_still_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(mode=0o444)
    taken = lock.acquire("ann@lab", "run-1", path)
    with pytest.raises(LabError, match="held by"):
        lock.acquire("bob@lab", "run-2", path)
    taken.release()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(LabError, match="cannot be opened: Too many levels of symbolic links"):
        lock.acquire("ann@lab", "run-1", tmp_path / "lock")
    (tmp_path / "lock").unlink()
    os.link(tmp_path / "precious", tmp_path / "lock")
    with pytest.raises(LabError, match="is no plain file"):
        lock.acquire("ann@lab", "run-1", tmp_path / "lock")
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_pipe_in_its_place_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(LabError, match="is no plain file"):
        lock.acquire("ann@lab", "run-1", tmp_path / "lock")


def test_a_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"the lock .*/gone/lock cannot be opened: No such file or directory"):
        lock.acquire("ann@lab", "run-1", tmp_path / "gone/lock")


@pytest.mark.parametrize(
    ("mode", "place"), [(0o1777, "run/lock"), (0o777, "tmp"), (0o1755, "tmp"), (0o755, "tmp"), (None, "tmp")]
)
def test_the_place_is_the_same_for_every_user(tmp_path: Path, mode: int | None, place: str) -> None:
    if mode is not None:
        (tmp_path / "run/lock").mkdir(parents=True)
        (tmp_path / "run/lock").chmod(mode)
    assert lock.default_path(tmp_path) == tmp_path / place / "fpr-bench.lock"
