"""The agent's operations on a scratch disk, with a plain file for the disk and a synthetic tree around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.host import disk as host_disk
from workloads import disk
from workloads.ops import Operations

MIB = 1 << 20
SIZE = 4 * MIB
WHOLE = {"piece_bytes": SIZE, "stride_bytes": SIZE, "count": 1}
HOT = {"piece_bytes": 64 << 10, "stride_bytes": MIB, "count": 4}

Ops = dict[str, Callable[..., dict[str, Any]]]


def counters(root: Path, sectors: int, refaults: int) -> None:
    (root / "sys/block/vda/stat").write_text(f"   9   0   {sectors}   1   0   0   0   0   0   0   0\n")
    (root / "proc/vmstat").write_text(
        f"nr_free_pages 5\nworkingset_refault_anon 3\nworkingset_refault_file {refaults}\n"
    )


@pytest.fixture
def ops(tmp_path: Path) -> Ops:
    for folder in ("dev", "proc", "sys/block/vda", "sys/block/loop0"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dev/vda").write_bytes(b"".join(bytes(chunk) for chunk in host_disk.content(SIZE)))
    counters(tmp_path, 1000, 7)
    return Operations(str(tmp_path)).table()


def test_the_disk_is_found_and_its_size_is_told(ops: Ops) -> None:
    assert ops["disk_open"]() == {"device": "vda", "bytes": SIZE}


def test_a_guest_without_a_disk_says_so(ops: Ops, tmp_path: Path) -> None:
    (tmp_path / "sys/block/vda").rename(tmp_path / "sys/block/nvme0")
    with pytest.raises(OSError, match="no scratch disk: /sys/block has no vd"):
        ops["disk_open"]()


@pytest.mark.parametrize("access", ["read", "mmap"])
def test_reading_answers_bytes_time_and_what_was_wrong(ops: Ops, tmp_path: Path, access: str) -> None:
    ops["disk_open"]()
    done = ops["disk_read"](**WHOLE, access=access)
    assert (done["bytes"], done["bad_pages"], done["first_bad"]) == (SIZE, 0, None)
    assert done["ns"] > 0
    assert (done["disk_bytes"], done["refault_pages"]) == (0, 0)
    with (tmp_path / "dev/vda").open("r+b") as stream:
        stream.seek(4096)
        stream.write(bytes(8))
    bad = ops["disk_read"](**WHOLE, access=access)
    assert bad["bad_pages"] == 1
    assert bad["first_bad"] == {"address": 4096, "expected": disk.FIRST_WORD + 1, "found": 0}


def test_forgetting_closes_the_mapping_and_reading_goes_on(ops: Ops) -> None:
    ops["disk_open"]()
    ops["disk_read"](**HOT, access="mmap", times=2)
    assert ops["disk_forget"]() == {}
    assert ops["disk_read"](**HOT, access="mmap")["bytes"] == 4 * (64 << 10)


def test_the_reader_counts_what_came_from_the_disk_meanwhile(ops: Ops, tmp_path: Path) -> None:
    ops["disk_open"]()
    assert ops["reader_start"](**HOT, round_s=0.064) == {"period_ns": 1_000_000}
    with pytest.raises(ValueError, match="a reader runs already"):
        ops["reader_start"](**HOT, round_s=1.0)
    counters(tmp_path, 1008, 9)
    time.sleep(0.1)
    done = ops["reader_stop"]()
    assert (done["disk_bytes"], done["refault_pages"]) == (8 * 512, 2)
    assert done["reads"] > 0
    assert done["due"] >= 90
    assert sum(count for _, count in done["histogram"]) == sum(count for _, count in done["wait_histogram"])
    assert 0 < done["p50_ns"] <= done["p99_ns"] <= done["p999_ns"] <= done["max_ns"] <= done["wait_max_ns"]
    with pytest.raises(ValueError, match="no reader runs"):
        ops["reader_stop"]()


def test_a_kernel_that_counts_no_refaults_gives_none_and_an_older_one_its_only_counter(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 5\n")
    assert disk.refault_pages(str(tmp_path)) is None
    (tmp_path / "proc/vmstat").write_text("workingset_refault 5\n")
    assert disk.refault_pages(str(tmp_path)) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [({"count": 9}, "pieces end at 8454144, the disk has 4194304"), ({"access": "guess"}, "read or mmap")],
)
def test_what_cannot_be_read_is_refused(ops: Ops, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="the disk is not open"):
        ops["disk_read"](**HOT)
    ops["disk_open"]()
    with pytest.raises(ValueError, match=message):
        ops["disk_read"](**{**HOT, **change})
