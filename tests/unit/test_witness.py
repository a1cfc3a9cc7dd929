"""The writer that knows its pages, and what a kernel says of itself, on a synthetic tree."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from workloads import guestos
from workloads.ops import Operations
from workloads.witness import Witness, Writer

PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    (tmp_path / "proc/sys/kernel/tainted").write_text("128\n")
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 7\nallocstall_normal 3\nallocstall_movable 4\noom_kill 1\n")
    return tmp_path


def passes(writer: Writer, least: int) -> None:
    end = time.monotonic() + 10
    while writer._passes < least and time.monotonic() < end:
        time.sleep(0.005)


def test_a_writer_finds_its_pages_as_it_left_them() -> None:
    ops = Operations("/").table()
    assert ops["writer_start"](bytes=10 * PAGE, period_s=0.001) == {"pages": 10}
    with pytest.raises(ValueError, match="runs already"):
        ops["writer_start"](bytes=PAGE, period_s=1)
    time.sleep(0.1)
    done = ops["writer_stop"]()
    assert (done["bad_pages"], done["first_bad"]) == (0, None)
    assert done["passes"] >= 2
    assert done["bytes"] == done["passes"] * 10 * PAGE
    assert 10**6 <= done["longest_ns"] < 10**10
    with pytest.raises(ValueError, match="no writer runs"):
        ops["writer_stop"]()


def test_a_page_that_went_back_to_an_older_state_is_told_with_its_place() -> None:
    writer = Writer(8 * PAGE, 30.0)
    passes(writer, 1)
    writer._words[3] = 0
    writer._words[5] = 7
    done = writer.stop()
    assert done["bad_pages"] == 2
    assert done["first_bad"] == {"address": 3 * PAGE, "offset": 3 * PAGE, "expected": 1, "found": 0}


def test_a_writer_that_fails_is_an_error_and_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(PAGE, 30.0)
    passes(writer, 1)
    monkeypatch.setattr(writer, "_error", "MemoryError: no")
    with pytest.raises(OSError, match="the writer failed: MemoryError: no"):
        writer.stop()


def test_a_kernels_complaints_are_told_from_what_it_says_else(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = "[    0.1] all is well\n[    2.5] kernel BUG at lib/list_debug.c:56!\n[    2.6] WARNING: CPU: 0"
    monkeypatch.setattr(guestos, "kernel_log", lambda _device: log)
    assert Witness(str(tree)).health() == {
        "tainted": 128,
        "complaints": ["[    2.5] kernel BUG at lib/list_debug.c:56!", "[    2.6] WARNING: CPU: 0"],
        "oom_kills": 1,
        "stalls": 7,
    }


def test_what_a_kernel_does_not_count_is_none(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guestos, "kernel_log", lambda _device: "")
    (tree / "proc/sys/kernel/tainted").unlink()
    (tree / "proc/vmstat").write_text("nr_free_pages 7\n")
    assert Witness(str(tree)).health() == {"tainted": None, "complaints": [], "oom_kills": None, "stalls": None}


@pytest.mark.parametrize(("features", "agreed"), [("00010100", True), ("00000100", False)])
def test_a_guest_that_takes_no_hints_is_told_from_one_that_does(tmp_path: Path, features: str, agreed: bool) -> None:
    device = tmp_path / "sys/bus/virtio/devices/virtio0"
    device.mkdir(parents=True)
    (device / "device").write_text("0x0005\n")
    (device / "features").write_text(features.ljust(64, "0"))
    if agreed:
        assert Witness(str(tmp_path)).hinting() == {}
    else:
        with pytest.raises(guestos.Unsupported, match="did not agree on free page hinting"):
            Witness(str(tmp_path)).hinting()
