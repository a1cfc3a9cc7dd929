"""The scratch disk: its content, that it is made once and whole or not at all, and what is said without room."""

from __future__ import annotations

import os
import resource
import struct
import time
import zlib
from pathlib import Path

import pytest

from bench.host import disk
from bench.host.disk import CHUNK_BYTES, FIRST_WORD, PAGE_BYTES, DiskError, content, scratch_disk
from bench.host.receive import KEEP, PREFIX
from bench.wire.units import MIB

SIZE = 3 * MIB


def words(data: bytes) -> list[int]:
    return [struct.unpack_from("=Q", data, start)[0] for start in range(0, len(data), PAGE_BYTES)]


def test_each_page_begins_with_its_number_and_the_rest_cannot_be_made_small(tmp_path: Path) -> None:
    data = Path(scratch_disk(tmp_path, SIZE).path).read_bytes()
    assert len(data) == SIZE
    assert words(data) == [FIRST_WORD + page for page in range(SIZE // PAGE_BYTES)]
    assert len(zlib.compress(data[:CHUNK_BYTES])) > 0.99 * CHUNK_BYTES
    pages = {data[start : start + PAGE_BYTES] for start in range(0, SIZE, PAGE_BYTES)}
    assert len(pages) == SIZE // PAGE_BYTES, "equal pages could be merged by the host"


def test_the_same_size_is_made_once_and_its_use_is_noted(tmp_path: Path) -> None:
    made = Path(scratch_disk(tmp_path, SIZE).path)
    number, long_ago = made.stat().st_ino, time.time() - 90 * 24 * 3600
    os.utime(made, (long_ago, long_ago))
    assert scratch_disk(tmp_path, SIZE).path == str(made)
    assert made.stat().st_ino == number
    assert made.stat().st_mtime > long_ago + 1
    other = scratch_disk(tmp_path, 2 * SIZE).path
    assert Path(other).stat().st_size == 2 * SIZE
    assert {path.name for path in tmp_path.iterdir()} == {made.name, Path(other).name}


def test_a_disk_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    made = Path(scratch_disk(tmp_path, SIZE).path)
    made.write_bytes(b"short")
    assert words(Path(scratch_disk(tmp_path, SIZE).path).read_bytes())[-1] == FIRST_WORD + SIZE // PAGE_BYTES - 1


def test_a_new_disk_takes_the_place_of_those_that_nobody_used_for_long(tmp_path: Path) -> None:
    made = []
    for count in range(1, KEEP + 3):
        made.append(scratch_disk(tmp_path, count * MIB).path)
        os.utime(made[-1], (count, count))
    assert {str(path) for path in tmp_path.iterdir()} == set(made[2:])


def test_nothing_is_left_of_a_disk_that_nobody_waits_for_any_more(tmp_path: Path) -> None:
    answers = iter([False, True])
    with pytest.raises(DiskError, match="nobody waits"):
        scratch_disk(tmp_path, SIZE, lambda: next(answers))
    assert list(tmp_path.iterdir()) == []


def test_without_room_it_is_said_how_much_is_needed_and_where(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    size = (free.f_bavail * free.f_frsize // MIB + 1) * MIB
    with pytest.raises(DiskError, match=rf"needed, .* free in {tmp_path}; make room, name another folder"):
        scratch_disk(tmp_path, size)
    assert list(tmp_path.iterdir()) == []


def test_room_that_ends_while_the_disk_is_written_is_said_too(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        with pytest.raises(DiskError, match="no room for the guest's scratch disk: 3 MiB needed"):
            scratch_disk(tmp_path, SIZE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_behind_is_removed_after_an_hour(tmp_path: Path) -> None:
    for name, age_s in (("old", 2 * 3600), ("young", 60)):
        left = tmp_path / f"{PREFIX}{name}"
        left.write_bytes(b"part")
        os.utime(left, (time.time() - age_s,) * 2)
    scratch_disk(tmp_path, SIZE)
    assert {path.name for path in tmp_path.glob(f"{PREFIX}*")} == {f"{PREFIX}young"}


def test_whether_the_page_cache_can_be_passed_by_is_found_by_reading(tmp_path: Path) -> None:
    made = Path(scratch_disk(tmp_path, SIZE).path)
    try:
        os.close(os.open(made, os.O_RDONLY | os.O_DIRECT))
        opens = True
    except OSError:
        opens = False
    assert disk.can_direct(made) is opens
    assert not disk.can_direct(Path("/proc/self/status")), "a file system without O_DIRECT"


@pytest.mark.parametrize("size", [0, -MIB, MIB + 1])
def test_a_size_of_no_whole_mebibytes_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="a multiple of 1048576 is needed"):
        scratch_disk(tmp_path, size)


def test_a_chunk_of_the_content_is_whole_pages() -> None:
    assert [len(chunk) for chunk in content(2 * CHUNK_BYTES)] == [CHUNK_BYTES, CHUNK_BYTES]
