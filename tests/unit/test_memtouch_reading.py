"""Reading a file of known content, in order and at a pace, by system calls and where it is mapped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from mmap import MAP_SHARED, PROT_READ, mmap
from pathlib import Path

import pytest
from workloads.memtouch._memtouch import lib

from bench.host import disk as host_disk
from workloads import disk as guest_disk
from workloads.memtouch.reading import BLOCK_BYTES, PacedReader, Pieces, read_all

MIB = 1 << 20
SIZE = 4 * MIB
WHOLE = Pieces(SIZE, SIZE, 1, host_disk.FIRST_WORD)
HOT = Pieces(64 << 10, MIB, 4, host_disk.FIRST_WORD)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(b"".join(bytes(chunk) for chunk in host_disk.content(SIZE)))
    return path


@pytest.fixture(params=["read", "mmap"])
def source(file: Path, request: pytest.FixtureRequest) -> Iterator[int | mmap]:
    fd = os.open(file, os.O_RDONLY)
    try:
        if request.param == "read":
            yield fd
        else:
            with mmap(fd, SIZE, MAP_SHARED, PROT_READ) as mapped:
                yield mapped
    finally:
        os.close(fd)


def test_guest_and_host_mean_the_same_content() -> None:
    assert (guest_disk.FIRST_WORD, BLOCK_BYTES) == (host_disk.FIRST_WORD, host_disk.PAGE_BYTES)


def test_all_of_it_is_read_and_found_right(source: int | mmap) -> None:
    done = read_all(source, WHOLE)
    assert (done.bytes, done.reads, done.bad_blocks, done.first_bad) == (SIZE, 4, 0, None)
    assert done.ns > 0


def test_pieces_are_read_and_nothing_between_them(source: int | mmap) -> None:
    done = read_all(source, HOT)
    assert (done.bytes, done.reads, done.bad_blocks) == (4 * (64 << 10), 4, 0)


def test_a_wrong_block_is_counted_and_the_first_one_shown(file: Path, source: int | mmap) -> None:
    with file.open("r+b") as stream:
        for block in (7, 700):
            stream.seek(block * BLOCK_BYTES)
            stream.write(bytes(8))
    done = read_all(source, WHOLE)
    assert (done.bad_blocks, done.first_bad) == (2, (7 * BLOCK_BYTES, host_disk.FIRST_WORD + 7, 0))
    reader = PacedReader(source, HOT, 1000)
    wait_for(reader, 64)
    seen = reader.stop()
    assert seen.bad_blocks >= 1
    assert seen.first_bad == (7 * BLOCK_BYTES, host_disk.FIRST_WORD + 7, 0)


def wait_for(reader: PacedReader, reads: int) -> None:
    end = time.monotonic() + 20
    while reader.reads.count < reads and time.monotonic() < end:
        time.sleep(0.005)


def test_a_paced_reader_keeps_its_pace_and_counts_every_read_twice(source: int | mmap) -> None:
    period_ns = 2_000_000
    reader = PacedReader(source, HOT, period_ns)
    wait_for(reader, 50)
    done = reader.stop()
    assert (done.bad_blocks, done.bytes) == (0, done.reads * BLOCK_BYTES)
    assert done.reads >= 50
    # It never runs ahead; how far it lags depends on what else this machine does.
    assert done.reads <= done.ns // period_ns + 1
    assert reader.reads.count == reader.waits.count == done.reads
    assert reader.reads.quantile(0.5) <= reader.waits.quantile(1.0)
    assert reader.reads.max_ns <= reader.waits.max_ns


@pytest.mark.parametrize("bits", [1, 2, 3, 6, 13, 20])
def test_a_round_has_every_block_once_and_another_order_than_the_one_before(bits: int) -> None:
    numbers = range(1 << bits)
    rounds = [[lib.mt_shuffled(index, turn, numbers[-1]) for index in numbers] for turn in (0, 1)]
    assert all(sorted(order) == list(numbers) for order in rounds)
    if bits > 2:
        assert rounds[0] != rounds[1]
        assert list(numbers) not in rounds


def test_a_reader_comes_by_every_block(file: Path) -> None:
    """One block a time is made wrong; each is noticed within two rounds."""
    blocks = HOT.bytes // BLOCK_BYTES
    for block in (0, blocks // 2, blocks - 1):
        place = block * BLOCK_BYTES // HOT.piece_bytes * HOT.stride_bytes + block * BLOCK_BYTES % HOT.piece_bytes
        with file.open("r+b") as stream:
            stream.seek(place)
            right = stream.read(8)
            stream.seek(place)
            stream.write(bytes(8))
            stream.flush()
            reader = PacedReader(stream.fileno(), HOT, 1000)
            wait_for(reader, 2 * blocks)
            done = reader.stop()
            assert done.first_bad == (place, int.from_bytes(right, sys.byteorder), 0)
            stream.seek(place)
            stream.write(right)


def test_a_file_that_ends_before_is_an_error(file: Path) -> None:
    with file.open("rb") as stream:
        longer = Pieces(2 * SIZE, 2 * SIZE, 1, host_disk.FIRST_WORD)
        with pytest.raises(OSError, match="read: No data available"):
            read_all(stream.fileno(), longer)
        reader = PacedReader(stream.fileno(), longer, 1)
        time.sleep(0.05)
        with pytest.raises(OSError, match="read: No data available"):
            reader.stop()


@pytest.mark.parametrize("pieces", [(0, MIB, 1), (100, MIB, 1), (2 * MIB, MIB, 2), (MIB, MIB + 1, 1), (MIB, MIB, 0)])
def test_impossible_pieces_are_refused(file: Path, pieces: tuple[int, int, int]) -> None:
    with file.open("rb") as stream, pytest.raises(OSError, match="read: Invalid argument"):
        read_all(stream.fileno(), Pieces(*pieces, host_disk.FIRST_WORD))
