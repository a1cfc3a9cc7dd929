"""Memory cgroups on synthetic trees of both versions: where one is made, its limits, reclaim, and who may remove it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.host import cgroup
from bench.host.cgroup import Group, Unavailable, hierarchy, make, private_group, prune
from bench.wire.job import Cgroup
from bench.wire.units import GIB, MIB

Version = Callable[..., Group]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files(folder: Path, **content: str) -> Path:
    """A group's folder with these files; __ in a name stands for its dot."""
    for name, text in content.items():
        write(folder / name.replace("__", "."), text)
    return folder


def v2(folder: Path, **more: str) -> Group:
    stat = "anon 7\nswapcached 3145728\nswapcached_other 9\n"
    return Group(files(folder, memory__current="104857600\n", memory__stat=stat, **more), 2)


def v1(folder: Path, **more: str) -> Group:
    stat = "cache 7\nswapcached 3145728\n"
    return Group(files(folder, memory__usage_in_bytes="104857600\n", memory__stat=stat, **more), 1)


def test_version_2_is_used_where_it_has_the_memory_controller(tmp_path: Path) -> None:
    write(tmp_path / "sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n")
    assert hierarchy(tmp_path) == (tmp_path / "sys/fs/cgroup", 2)


def test_version_1_is_used_where_it_has_it(tmp_path: Path) -> None:
    write(tmp_path / "sys/fs/cgroup/cgroup.controllers", "cpu\n")
    write(tmp_path / "sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n")
    assert hierarchy(tmp_path) == (tmp_path / "sys/fs/cgroup/memory", 1)


def test_a_host_without_the_controller_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no memory controller"):
        hierarchy(tmp_path)
    with private_group(Cgroup(), "none", tmp_path) as group:
        assert isinstance(group, str)
        assert "no memory controller" in group


def test_a_boot_that_needs_no_group_gets_none(tmp_path: Path) -> None:
    with private_group(None, "none", tmp_path) as group:
        assert group == cgroup.NEEDLESS


@pytest.mark.parametrize("version", [v1, v2])
def test_the_counters_are_those_of_the_group(tmp_path: Path, version: Version) -> None:
    group = version(tmp_path)
    assert (group.current_bytes, group.swap_cached_bytes) == (100 * MIB, 3 * MIB)
    (tmp_path / "memory.stat").write_text("anon 7\n")
    assert group.swap_cached_bytes is None


def test_reclaim_writes_the_amount_where_the_kernel_takes_one(tmp_path: Path) -> None:
    group = v2(tmp_path, memory__reclaim="", memory__high="max\n")
    group.reclaim(5 * MIB)
    assert (tmp_path / "memory.reclaim").read_text() == f"{5 * MIB}\n"
    assert (tmp_path / "memory.high").read_text() == "max\n"


@pytest.mark.parametrize(
    ("version", "name", "limit"),
    [(v2, "memory__high", "max"), (v1, "memory__limit_in_bytes", "9223372036854771712")],
)
def test_an_older_kernel_is_asked_by_a_limit_that_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: Version, name: str, limit: str
) -> None:
    group = version(tmp_path, **{name: f"{limit}\n"})
    written = []

    def note(paths: list[Path], value: str) -> list[str]:
        written.append((paths[0].name, value))
        return [""]

    monkeypatch.setattr(group, "_write", note)
    group.reclaim(60 * MIB)
    file = name.replace("__", ".")
    assert written == [(file, str(40 * MIB)), (file, limit)]


def test_limits_are_each_versions_own(tmp_path: Path) -> None:
    asked = Cgroup(GIB, 2 * GIB)
    v2(tmp_path / "2", memory__max="max\n", memory__swap__max="max\n").limit(asked)
    assert (tmp_path / "2/memory.max").read_text() == f"{GIB}\n"
    assert (tmp_path / "2/memory.swap.max").read_text() == f"{2 * GIB}\n"
    v1(tmp_path / "1", memory__limit_in_bytes="9\n", memory__memsw__limit_in_bytes="9\n").limit(asked)
    assert (tmp_path / "1/memory.limit_in_bytes").read_text() == f"{GIB}\n"
    assert (tmp_path / "1/memory.memsw.limit_in_bytes").read_text() == f"{3 * GIB}\n"


def test_no_limit_asked_for_is_none_set_and_one_that_cannot_be_set_is_told(tmp_path: Path) -> None:
    group = v2(tmp_path, memory__max="max\n")
    group.limit(Cgroup())
    assert (tmp_path / "memory.max").read_text() == "max\n"
    with pytest.raises(Unavailable, match=r"memory\.swap\.max: No such file"):
        group.limit(Cgroup(swap_limit_bytes=MIB))


def test_a_group_without_counters_is_removed_again_and_the_controller_was_asked_for(tmp_path: Path) -> None:
    top = tmp_path / "sys/fs/cgroup"
    write(top / "cgroup.controllers", "memory\n")
    control = write(top / "cgroup.subtree_control", "")
    with pytest.raises(Unavailable, match="could not be enabled"):
        make(Cgroup(), root=tmp_path)
    assert control.read_text() == "+memory\n"
    assert list(top.glob("fpr-bench.*")) == []


def test_who_may_not_make_a_group_is_told_what_gives_the_right(tmp_path: Path) -> None:
    top = tmp_path / "sys/fs/cgroup"
    write(top / "cgroup.controllers", "memory\n")
    # A name that cannot be made for anybody, root included.
    (tmp_path / "sys/fs/cgroup").rename(tmp_path / "gone")
    (tmp_path / "sys/fs/cgroup").symlink_to("/proc/self")
    with pytest.raises(Unavailable, match=r"no memory cgroup could be made: mkdir: .*become: sudo.* sudo visudo"):
        cgroup._made(tmp_path / "sys/fs/cgroup", 2, "none")


def test_only_the_groups_of_dead_owners_are_pruned_in_both_hierarchies(tmp_path: Path) -> None:
    top = tmp_path / "sys/fs/cgroup"
    dead = [top / "fpr-bench.1.1", top / "memory/fpr-bench.2.2"]
    alive, other = top / "memory/fpr-bench.3.3", top / "somebody.else"
    for folder in (*dead, alive, other):
        folder.mkdir(parents=True)
    descriptor = os.open(alive, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert prune(root=tmp_path) == [(path, "") for path in dead]
    finally:
        os.close(descriptor)
    assert [folder.exists() for folder in (*dead, alive, other)] == [False, False, True, True]


def test_a_group_of_another_user_is_left_to_that_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sys/fs/cgroup/fpr-bench.1.1"
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert prune(root=tmp_path) == []
    assert folder.exists()


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "sys/fs/cgroup/fpr-bench.1.1"
    write(folder / "below/file", "")
    ((path, problem),) = prune(root=tmp_path)
    assert path == folder
    assert str(folder) in problem
    assert "not empty" in problem


def test_with_sudo_every_step_goes_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "asked"
    (tmp_path / "sudo").write_text(f'#!/bin/sh\nshift\necho "$@" >> {log}\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    group = cgroup._made(tmp_path, 2, "sudo")
    files(group.path, cgroup__procs="", memory__reclaim="")
    group.join()
    group.reclaim(4096)
    assert group.holds(os.getpid())
    (group.path / "cgroup.procs").unlink()
    (group.path / "memory.reclaim").unlink()
    assert group.remove() == ""
    path = group.path
    asked = [
        f"mkdir -m 755 -- {path}",
        f"tee -- {path}/cgroup.procs",
        f"tee -- {path}/memory.reclaim",
        f"rmdir -- {path}",
    ]
    assert log.read_text().splitlines() == asked
