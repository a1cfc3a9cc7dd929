"""How much is asked of a memory cgroup, and when that ends: what the kernel would take then is QEMU's own memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.host.cgroup import Group
from bench.host.pageout import _out_of_cache
from bench.wire.units import MIB


class Kernel(Group):
    """A group whose kernel gives `yields` bytes of swap cache for each that is asked for."""

    def __init__(self, folder: Path, cached: int, yields: float) -> None:
        super().__init__(folder, 2)
        self.cached, self.yields = cached, yields
        self.asked: list[int] = []
        self.say()

    def say(self) -> None:
        (self.path / "memory.current").write_text(f"{self.cached + 100 * MIB}\n")
        (self.path / "memory.stat").write_text(f"file_writeback 0\nswapcached {self.cached}\n")

    def reclaim(self, size_bytes: int) -> None:
        self.asked.append(size_bytes)
        self.cached = max(0, self.cached - int(self.yields * size_bytes))
        self.say()


def test_the_swap_cache_is_asked_for_in_portions_until_little_is_left(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, 100 * MIB, 1.5)
    _out_of_cache(kernel, time.monotonic() + 10)
    assert kernel.asked == [16 * MIB, 16 * MIB, 16 * MIB, 16 * MIB, 4 * MIB]
    assert kernel.cached < 2 * MIB


def test_a_kernel_that_takes_other_pages_is_asked_once(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, 100 * MIB, 0)
    _out_of_cache(kernel, time.monotonic() + 10)
    assert kernel.asked == [16 * MIB]


def test_little_in_the_swap_cache_is_not_asked_for(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, MIB, 1)
    _out_of_cache(kernel, time.monotonic() + 10)
    assert kernel.asked == []


def test_a_kernel_that_does_not_say_how_much_there_is_is_asked_for_everything(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, 100 * MIB, 1)
    (tmp_path / "memory.stat").write_text("anon 7\n")
    _out_of_cache(kernel, time.monotonic() + 10)
    assert kernel.asked == [200 * MIB]


def test_pages_that_are_being_written_are_waited_for_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path, 10 * MIB, 1)
    (tmp_path / "memory.stat").write_text(f"file_writeback 4096\nswapcached {10 * MIB}\n")
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        assert kernel.asked == []
        if len(waited) == 3:
            kernel.say()

    monkeypatch.setattr(time, "sleep", sleep)
    _out_of_cache(kernel, time.monotonic() + 10)
    assert (len(waited), kernel.asked) == (3, [10 * MIB])
    (tmp_path / "memory.stat").write_text("file_writeback 4096\n")
    _out_of_cache(kernel, time.monotonic() - 1)
