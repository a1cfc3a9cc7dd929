"""Files pushed into a cache: the receiver as a real process over pipes, and what becomes of old files."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from host_side import ROOT
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from bench.host.receive import KEEP, LOADER, MARGIN_BYTES, RECENT_S, cache_path, prune, touch
from bench.wire.cache import cache_folder
from bench.wire.units import MIB

SOURCE = (ROOT / "bench/host/receive.py").read_bytes()
A, B = b"first\n" * 1000, bytes(range(256)) * 5000
DAY_S = 24 * 3600.0


def entry(name: str, data: bytes, **changes: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), **changes}


class Receiver:
    """A receiver that runs. `tell` sends what it has to know, `answer` reads a line of it."""

    def __init__(self, cache: str, loader: str = LOADER, **env: str) -> None:
        # Without site: nothing but the standard library can be imported.
        argv = [sys.executable, "-I", "-S", "-c", loader, str(len(SOURCE)), *([cache] if cache else [])]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **env}, cwd="/"
        )

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def tell(self, *files: dict[str, Any], keep: Any = KEEP) -> None:
        self.send(SOURCE + json.dumps({"files": list(files), "keep": keep}).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the receiver ended without an answer"
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait(20)
        self.process.stdout.close()
        return status


@contextlib.contextmanager
def receiver(cache: Path | str, **how: Any) -> Iterator[Receiver]:
    running = Receiver(str(cache), **how)
    try:
        yield running
    finally:
        running.process.kill() if sys.exc_info()[0] else None
        running.end()


def pushed(cache: Path, *files: tuple[str, bytes], keep: int = KEEP) -> tuple[dict[str, Any], dict[str, Any]]:
    """A whole push that goes well: both answers."""
    with receiver(cache) as running:
        running.tell(*(entry(name, data) for name, data in files), keep=keep)
        first = running.answer()
        for name, data in files:
            if name in first["missing"]:
                running.send(data)
        second = running.answer()
        assert running.end() == 0
    return first, second


def refused(cache: Path | str, *files: dict[str, Any], **how: Any) -> tuple[str, str]:
    """(kind, error) of a push that is refused before any byte of a file."""
    keep = how.pop("keep", KEEP)
    with receiver(cache, **how) as running:
        running.tell(*files, keep=keep)
        answer = running.answer()
        assert running.end() == 1
    return answer["kind"], answer["error"]


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_what_is_missing_is_asked_for_taken_and_named(tmp_path: Path) -> None:
    cache = tmp_path / "far/cache"
    first, second = pushed(cache, ("a.pyz", A), ("b.cpio", B))
    assert first.pop("free_bytes") > 0
    there = {"python": platform.python_version(), "machine": platform.machine()}
    assert first == {"cache": str(cache), "missing": ["a.pyz", "b.cpio"], **there}
    assert second == {"stored": ["a.pyz", "b.cpio"], "received_bytes": len(A) + len(B), "pruned": []}
    assert (cache / "a.pyz").read_bytes() == A
    assert (cache / "b.cpio").read_bytes() == B
    assert names(cache) == ["a.pyz", "b.cpio"]


def test_what_is_made_is_the_users_alone(tmp_path: Path) -> None:
    pushed(tmp_path / "cache", ("a", A))
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "cache/a").stat().st_mode & 0o777 == 0o600


def test_a_second_push_sends_nothing_and_notes_the_use(tmp_path: Path) -> None:
    pushed(tmp_path, ("a", A))
    os.utime(tmp_path / "a", (1000, 1000))
    first, second = pushed(tmp_path, ("a", A))
    assert (first["missing"], second["stored"], second["received_bytes"]) == ([], [], 0)
    assert time.time() - (tmp_path / "a").stat().st_mtime < 60


def test_a_part_of_the_files_is_missing(tmp_path: Path) -> None:
    pushed(tmp_path, ("a", A))
    first, second = pushed(tmp_path, ("a", A), ("b", B))
    assert (first["missing"], second["stored"]) == (["b"], ["b"])


@pytest.mark.parametrize("there", [A[:-1], A[:-1] + b"x", b""], ids=["short", "one byte differs", "empty"])
def test_a_file_that_is_damaged_counts_as_missing_and_is_replaced(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "a").write_bytes(there)
    first, _ = pushed(tmp_path, ("a", A))
    assert first["missing"] == ["a"]
    assert (tmp_path / "a").read_bytes() == A


def test_a_link_is_no_file_and_its_target_is_left_alone(tmp_path: Path) -> None:
    cache, other = tmp_path / "cache", tmp_path / "other"
    cache.mkdir()
    other.write_bytes(A)
    (cache / "a").symlink_to(other)
    assert pushed(cache, ("a", A))[0]["missing"] == ["a"]
    assert not (cache / "a").is_symlink()


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    assert pushed(tmp_path, ("none", b""))[1]["stored"] == ["none"]
    assert (tmp_path / "none").read_bytes() == b""


def test_nothing_to_push_is_an_answer_too(tmp_path: Path) -> None:
    assert pushed(tmp_path / "cache")[1] == {"stored": [], "received_bytes": 0, "pruned": []}


def test_a_file_that_arrives_with_another_sum_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with receiver(tmp_path) as running:
        running.tell(entry("a", A), entry("b", B))
        running.answer()
        running.send(A + b"x" + B)
        answer = running.answer()
        assert running.end() == 1
    assert answer["kind"] == "checksum"
    assert answer["error"].startswith("b: arrived with sha256 ")
    assert hashlib.sha256(B).hexdigest() in answer["error"]
    assert names(tmp_path) == ["a"]


def test_a_stream_that_ends_early_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with receiver(tmp_path) as running:
        running.tell(entry("a", A))
        running.answer()
        running.send(A[:100])
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.answer() == {"kind": "protocol", "error": "stdin ended after 100 of 6000 bytes of a"}
        assert running.process.wait(20) == 1
    assert names(tmp_path) == []


def test_a_receiver_that_is_killed_leaves_nothing_that_is_used_and_a_later_one_tidies_up(tmp_path: Path) -> None:
    with receiver(tmp_path) as running:
        running.tell(entry("b", B))
        running.answer()
        running.send(B[: 3 * len(B) // 4])
        wait_for(lambda: names(tmp_path) != [], 20, "a file")
        running.process.kill()
        running.process.wait(20)
    (left,) = names(tmp_path)
    assert left.startswith(".receive-")
    assert pushed(tmp_path, ("b", B))[0]["missing"] == ["b"]
    assert names(tmp_path) == [left, "b"]  # it may be another one's that still runs
    os.utime(tmp_path / left, (1000, 1000))
    pushed(tmp_path, ("b", B))
    assert names(tmp_path) == ["b"]


def test_a_reader_that_went_away_ends_the_receiver_quietly(tmp_path: Path) -> None:
    with receiver(tmp_path) as running:
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.tell(entry("a", A))
        assert running.process.wait(20) == 1


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system of this size on `folder`; False where this user may mount none."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_too_little_room_is_known_before_anything_is_sent(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", MIB) as mounted:
        # Where nothing can be mounted, no disk is as large as this.
        kind, error = refused(tmp_path / "disk", entry("a", A, size=12 * MIB if mounted else 2**60))
    assert kind == "disk"
    if mounted:
        needed = 12 + MARGIN_BYTES // MIB
        assert error == f"No space left on device: {needed} MiB needed, 1 MiB free in {tmp_path}/disk"
    assert f"free in {tmp_path}/disk" in error


def test_a_full_disk_does_not_matter_where_nothing_is_missing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", MIB):
        (tmp_path / "disk/a").write_bytes(A)
        assert pushed(tmp_path / "disk", ("a", A))[0]["missing"] == []


def test_a_disk_that_fills_up_meanwhile_is_told_and_no_part_is_left(tmp_path: Path) -> None:
    data = bytes(6 * MIB)
    with small_disk(tmp_path / "disk", 4 * MIB + MARGIN_BYTES + 4 * MIB) as mounted:
        with receiver(tmp_path / "disk") as running:
            running.tell(entry("a", data))
            running.answer()
            if mounted:
                (tmp_path / "disk/other").write_bytes(bytes(MARGIN_BYTES + 4 * MIB))
            else:
                resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))
            running.send(data)
            answer = running.answer()
            assert running.end() == 1
        left = names(tmp_path / "disk")
    assert answer["kind"] == "disk"
    what = "No space left on device: 6 MiB needed, " if mounted else "File too large: 6 MiB needed, "
    assert answer["error"].startswith(what)
    assert left == (["other"] if mounted else [])


def test_a_cache_that_others_may_write_is_refused_with_what_to_do(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for mode in (0o777, 0o770, 0o722):
        cache.chmod(mode)
        assert refused(cache, entry("a", A)) == (
            "permission",
            f"{cache} may be written by others; run there: chmod go-w {cache}",
        )
    cache.chmod(0o755)
    pushed(cache, ("a", A))


def test_a_cache_of_somebody_else_is_refused(tmp_path: Path) -> None:
    somebody = tmp_path / "theirs"
    somebody.mkdir()
    if os.geteuid() == 0:
        os.chown(somebody, 54321, -1)
    else:
        somebody = Path("/")
    kind, error = refused(somebody, entry("a", A))
    assert kind == "permission"
    assert f"{somebody} belongs to user" in error


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kind, error = refused(tmp_path / "file/cache", entry("a", A))
    assert (kind, error) == ("permission", f"{tmp_path}/file/cache: Not a directory")
    assert refused("/proc/cache", entry("a", A))[0] == "permission"


@pytest.mark.parametrize("name", ["../a", "b/a", "/etc/passwd", "", ".", "..", ".hidden", "a\0b", 7, None])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: Any) -> None:
    cache = tmp_path / "cache"
    assert refused(cache, entry("a", A), entry(name, B))[0] == "protocol"
    assert not cache.exists()


@pytest.mark.parametrize(
    ("files", "keep"),
    [
        ([entry("a", A, size=-1)], 3),
        ([entry("a", A, size="6000")], 3),
        ([entry("a", A, size=True)], 3),
        ([entry("a", A, sha256="abc")], 3),
        ([entry("a", A, sha256=None)], 3),
        ([entry("a", A), entry("a", B)], 3),
        ([entry("a", A)], -1),
        ([entry("a", A)], "all"),
        ([{"name": "a"}], 3),
        (["a"], 3),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, files: list[Any], keep: Any) -> None:
    assert refused(tmp_path, *files, keep=keep)[0] == "protocol"


@pytest.mark.parametrize("line", [b"\n", b"hello\n", b"[]\n", b"{}\n", b"\xff\n", b'{"files": 3, "keep": 3}\n'])
def test_what_is_no_header_is_refused_and_shown(tmp_path: Path, line: bytes) -> None:
    with receiver(tmp_path) as running:
        running.send(SOURCE + line)
        answer = running.answer()
    assert answer["kind"] == "protocol"
    assert repr(line)[2:-1] in answer["error"]


def test_an_old_python_says_so_in_words(tmp_path: Path) -> None:
    aged = f"import sys; sys.version_info = (3, 6, 8)\n{LOADER}"
    expected = ("python", "Python 3.9 or later is needed, this is 3.6.8")
    assert refused(tmp_path, entry("a", A), loader=aged) == expected


def test_a_connection_lost_within_the_source_is_an_end_without_an_answer(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", LOADER, str(len(SOURCE)), str(tmp_path)]
    done = subprocess.run(argv, input=SOURCE[:-1], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"stdin ended within the source" in done.stderr


def test_the_loader_holds_nothing_that_a_login_shell_takes_for_its_own() -> None:
    # Of any shell: fish takes a backslash in single quotes for an escape, csh "!" for history and no newline at all.
    assert not set(LOADER) & set("'\\!\n\r\t`$")
    assert LOADER.isascii()


def test_the_loader_takes_nothing_from_the_folder_that_it_runs_in(tmp_path: Path) -> None:
    for name in ("json", "hashlib", "tempfile"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not meant')")
    argv = [sys.executable, "-c", LOADER, str(len(SOURCE)), str(tmp_path / "cache")]
    header = b'{"files": [], "keep": 3}\n'
    done = subprocess.run(argv, input=SOURCE + header, capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_loader_is_python_of_any_age_and_survives_a_shell() -> None:
    ast.parse(LOADER, feature_version=(3, 4))
    argv = [sys.executable, "-c", LOADER, "7"]
    done = subprocess.run(["/bin/sh", "-c", shlex.join(argv)], input=b"main=id", capture_output=True, check=False)
    assert b"Traceback" not in done.stderr


def test_the_usual_cache_is_that_of_the_host_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variables in (
        {"BENCH_CACHE": f"{tmp_path}/one"},
        {"BENCH_CACHE": "", "XDG_CACHE_HOME": f"{tmp_path}/two"},
        {"BENCH_CACHE": "", "XDG_CACHE_HOME": "", "HOME": f"{tmp_path}/three"},
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert cache_path("") == cache_folder()


def test_a_cache_may_be_named_from_the_home_folder(tmp_path: Path) -> None:
    with receiver("~/my cache", HOME=str(tmp_path)) as running:
        running.tell()
        assert running.answer()["cache"] == f"{tmp_path}/my cache"
    assert (tmp_path / "my cache").is_dir()


def aged(cache: Path, name: str, days: float) -> Path:
    cache.mkdir(exist_ok=True)
    path = cache / name
    path.write_bytes(b"x")
    used = time.time() - days * DAY_S
    os.utime(path, (used, used))
    return path


def test_of_each_kind_the_most_recently_used_are_kept(tmp_path: Path) -> None:
    for kind in ("fpr-host-{}.pyz", "guest-{}.cpio", "initrd-{}.cpio", "kernel-{}", "modules-{}"):
        for days in range(2, 7):
            aged(tmp_path, kind.format(days), days)
    removed = prune(tmp_path, 3, time.time())
    kinds = ("fpr-host-{}.pyz", "guest-{}.cpio", "initrd-{}.cpio", "kernel-{}", "modules-{}")
    assert removed == sorted(kind.format(days) for kind in kinds for days in (5, 6))
    assert not set(removed) & set(names(tmp_path))


def test_what_was_used_within_a_day_is_kept_however_many(tmp_path: Path) -> None:
    for number in range(9):
        aged(tmp_path, f"guest-{number}.cpio", number / 10)
    assert prune(tmp_path, 1, time.time()) == []


def test_what_is_used_again_is_not_old(tmp_path: Path) -> None:
    paths = [aged(tmp_path, f"kernel-{days}", days) for days in range(2, 7)]
    assert touch(paths[-1])
    assert not touch(tmp_path / "missing")
    assert prune(tmp_path, 3, time.time()) == ["kernel-4", "kernel-5"]


def test_a_file_that_is_there_is_in_use_before_it_is_read(tmp_path: Path) -> None:
    """Another controller's receiver may prune while the sum is taken."""
    sparse = tmp_path / "guest-old.cpio"
    sparse.touch()
    os.truncate(sparse, 256 * MIB)
    os.utime(sparse, (1000, 1000))
    with receiver(tmp_path) as running:
        running.tell({"name": sparse.name, "sha256": "0" * 64, "size": 256 * MIB})
        deadline = time.monotonic() + 20
        while sparse.stat().st_mtime == 1000:
            assert time.monotonic() < deadline
        assert prune(tmp_path, 0, time.time()) == []
        assert running.answer()["missing"] == [sparse.name]


def test_other_things_are_never_removed(tmp_path: Path) -> None:
    for name in ("kvm.json", "journal.json", "notes", "guest-x.cpio.bak", "fpr-host-x.1234.tmp"):
        aged(tmp_path, name, 900)
    for name in ("kernels", "modules-x", "kernel-x"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000, 1000))
    (tmp_path / "guest-y.cpio").symlink_to("/etc/hostname")
    before = names(tmp_path)
    assert prune(tmp_path, 0, time.time()) == []
    assert names(tmp_path) == before


@given(st.lists(st.floats(0, 400), max_size=8), st.integers(0, 5))
def test_neither_the_newest_nor_what_was_used_today_is_ever_removed(
    tmp_path_factory: pytest.TempPathFactory, ages: list[float], keep: int
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    for number, days in enumerate(ages):
        aged(cache, f"guest-{number}.cpio", days)
    now = time.time()
    removed = {cache / name for name in prune(cache, keep, now)}
    assert len(removed) <= max(0, len(ages) - keep)
    old = [days * DAY_S for days in ages if days * DAY_S > RECENT_S - 60]  # time goes on meanwhile
    assert len(removed) <= len(old)
    assert len(list(cache.iterdir())) == len(ages) - len(removed)


def test_a_push_prunes_what_it_replaces_and_says_so(tmp_path: Path) -> None:
    for days in range(2, 7):
        aged(tmp_path, f"guest-{days}.cpio", days)
    _, second = pushed(tmp_path, ("guest-new.cpio", A))
    assert second["pruned"] == ["guest-4.cpio", "guest-5.cpio", "guest-6.cpio"]
    assert names(tmp_path) == ["guest-2.cpio", "guest-3.cpio", "guest-new.cpio"]


def test_what_is_pushed_is_not_pruned(tmp_path: Path) -> None:
    files = [(f"guest-{number}.cpio", A) for number in range(5)]
    pushed(tmp_path, *files, keep=1)
    for name, _ in files:
        os.utime(tmp_path / name, (1000, 1000))
    assert pushed(tmp_path, *files, keep=1)[0]["missing"] == []
