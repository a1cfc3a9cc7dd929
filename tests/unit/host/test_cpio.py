"""The archive that the kernel unpacks, read back by an independent reader and, where it is there, by cpio itself."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cpio_reader import read_archives

from bench.wire import cpio

ENTRIES = [
    cpio.file("usr/bin/tool", b"\x7fELF", executable=True),
    cpio.file("init", b"#!/usr/bin/tool\n", executable=True),
    cpio.file("etc/empty", b""),
    cpio.link("lib64/loader", "/usr/lib/loader"),
    cpio.character_device("dev/console", 5, 1),
    cpio.folder("proc"),
]


def test_what_was_put_in_comes_out_with_its_type_mode_and_content() -> None:
    (members,) = read_archives(cpio.archive(ENTRIES))
    assert members["usr/bin/tool"][:2] == (stat.S_IFREG | 0o755, b"\x7fELF")
    assert members["etc/empty"][:2] == (stat.S_IFREG | 0o644, b"")
    assert members["lib64/loader"][:2] == (stat.S_IFLNK | 0o777, b"/usr/lib/loader")
    assert (members["dev/console"].mode, members["dev/console"].device) == (stat.S_IFCHR | 0o600, (5, 1))


def test_folders_above_a_name_are_added_before_it() -> None:
    (members,) = read_archives(cpio.archive(ENTRIES))
    names = list(members)
    assert names == sorted(names)
    assert [name for name in names if stat.S_ISDIR(members[name].mode)] == [
        "dev",
        "etc",
        "lib64",
        "proc",
        "usr",
        "usr/bin",
    ]
    assert names.index("usr") < names.index("usr/bin") < names.index("usr/bin/tool")


def test_the_bytes_do_not_depend_on_the_order_of_the_entries_or_on_the_time() -> None:
    first = cpio.archive(ENTRIES)
    assert first == cpio.archive(reversed(ENTRIES))
    (members,) = read_archives(first)
    assert {member.mtime for member in members.values()} == {0}


def test_no_two_files_share_an_inode_so_that_none_is_taken_for_a_hard_link() -> None:
    (members,) = read_archives(cpio.archive(ENTRIES))
    assert len({member.inode for member in members.values()}) == len(members)
    assert all(member.links == 1 for member in members.values() if stat.S_ISREG(member.mode))


def test_one_archive_can_follow_another() -> None:
    both = cpio.archive(ENTRIES) + cpio.archive([cpio.file("modules/order", b"a\n")])
    assert len(cpio.archive(ENTRIES)) % cpio.BLOCK == 0
    first, second = read_archives(both)
    assert "init" in first
    assert second["modules/order"].data == b"a\n"


@pytest.mark.parametrize("name", ["/etc/passwd", "a/../b", "", "a//b", "a/"])
def test_a_name_that_the_kernel_would_put_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="relative, plain and used once"):
        cpio.archive([cpio.file(name, b"")])


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'init'.*used once"):
        cpio.archive([cpio.file("init", b"1"), cpio.file("init", b"2")])


def test_a_file_is_there_completely_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    cpio.write_atomically(target, b"one")
    cpio.write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        cpio.write_atomically(tmp_path / "folder", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
