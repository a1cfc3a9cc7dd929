"""The guest's end of the scratch disk: reading it through the page cache, and a reader that goes on in the background.

A descriptor stays open: a block device's page cache is dropped when the last one is closed (Linux block/bdev.c,
blkdev_put_whole()). What came from the disk is counted by the disk's own /sys/block/NAME/stat, readahead included.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from typing import Any

    from workloads.memtouch import PacedReader, Pieces, Read

# As the host made it: bench/host/disk.py. A test compares.
FIRST_WORD = 0x4650525F44534B00
_SECTOR_BYTES = 512  # of /sys/block/NAME/stat, whatever the device's own: Documentation/block/stat.rst


class Disk:
    """The operations on the scratch disk. root: where dev, proc and sys are mounted."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")
        self._name = ""
        self._fd = self._random_fd = -1
        self._mapped: mmap | None = None
        self._bytes = 0
        self._reader: PacedReader | None = None
        self._before: dict[str, int | None] = {}

    def table(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Every operation by the name that the host calls it by."""
        return {
            "disk_open": self.open,
            "disk_read": self.read,
            "disk_forget": self.forget,
            "reader_start": self.reader_start,
            "reader_stop": self.reader_stop,
        }

    def open(self) -> dict[str, Any]:
        """Opens the disk, the only virtio block device. Raises OSError where there is none."""
        folder = f"{self._root}/sys/block"
        names = sorted(name for name in os.listdir(folder) if name.startswith("vd"))  # noqa: PTH208
        if not names:
            raise OSError("this guest has no scratch disk: /sys/block has no vd*; does its kernel have virtio_blk?")
        self._name = names[0]
        path = f"{self._root}/dev/{self._name}"
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        # Its own descriptor: no readahead for random blocks, and none of it is spoilt for those who read in order.
        self._random_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(self._random_fd, 0, 0, os.POSIX_FADV_RANDOM)
        self._bytes = os.lseek(self._fd, 0, os.SEEK_END)
        return {"device": self._name, "bytes": self._bytes}

    def read(
        self, piece_bytes: int, stride_bytes: int, count: int, access: str = "read", times: int = 1
    ) -> dict[str, Any]:
        """Reads all pieces, in order, `times` times. ns: of the last time, the reading only.

        access: "read" by system calls, "mmap" where the disk is mapped. disk_bytes: what came from the disk, all times
        together. bad_pages, first_bad: as `verify` answers.
        """
        from workloads.memtouch import read_all

        pieces, before = self._pieces(piece_bytes, stride_bytes, count), self._counters()
        done = [read_all(self._source(access, self._fd), pieces) for _ in range(times)]
        bad = next((read for read in done if read.bad_blocks), done[-1])
        return {**_answer(done[-1]), **_bad(bad), **self._since(before)}

    def forget(self) -> dict[str, Any]:
        """Drops the disk's page cache, clean as it is: the next read is a cold one."""
        if self._mapped is not None:  # mapped pages would stay
            self._mapped.close()
            self._mapped = None
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return {}

    def reader_start(
        self, piece_bytes: int, stride_bytes: int, count: int, round_s: float, access: str = "read"
    ) -> dict[str, Any]:
        """Begins to read the pieces block by block, each once in `round_s`, in an order that looks random."""
        from workloads.memtouch import BLOCK_BYTES, PacedReader

        if self._reader is not None:
            raise ValueError("a reader runs already: stop it first")
        pieces = self._pieces(piece_bytes, stride_bytes, count)
        period_ns = max(1, int(round_s * 1e9 / (pieces.bytes // BLOCK_BYTES)))
        self._before = self._counters()
        self._reader = PacedReader(self._source(access, self._random_fd), pieces, period_ns)
        return {"period_ns": period_ns}

    def reader_stop(self) -> dict[str, Any]:
        """Ends it: reads, due (how many there should have been), quantiles of a read, and from when it was due."""
        if self._reader is None:
            raise ValueError("no reader runs: start one first")
        reader, self._reader = self._reader, None
        done = reader.stop()
        result: dict[str, Any] = {**_answer(done), **_bad(done), **self._since(self._before)}
        result["due"] = done.ns // reader.period_ns
        for prefix, histogram in (("", reader.reads), ("wait_", reader.waits)):
            for name, quantile in (("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)):
                result[f"{prefix}{name}"] = histogram.quantile(quantile) if done.reads else None
            result[f"{prefix}max_ns"] = histogram.max_ns
            result[f"{prefix}histogram"] = histogram.buckets()
        return result

    def _pieces(self, piece_bytes: int, stride_bytes: int, count: int) -> Pieces:
        from workloads.memtouch import Pieces

        if self._fd < 0:
            raise ValueError("the disk is not open: disk_open first")
        end = (count - 1) * stride_bytes + piece_bytes
        if end > self._bytes:
            raise ValueError(f"pieces end at {end}, the disk has {self._bytes} bytes")
        return Pieces(piece_bytes, stride_bytes, count, FIRST_WORD)

    def _source(self, access: str, fd: int) -> int | mmap:
        import mmap

        if access == "read":
            return fd
        if access != "mmap":
            raise ValueError(f"access: {access!r} is unknown: read or mmap")
        if self._mapped is None:
            self._mapped = mmap.mmap(self._fd, self._bytes, mmap.MAP_SHARED, mmap.PROT_READ)
            self._mapped.madvise(mmap.MADV_RANDOM)  # no readahead, as for the random reads by system calls
        return self._mapped

    def _counters(self) -> dict[str, int | None]:
        with open(f"{self._root}/sys/block/{self._name}/stat") as stream:
            sectors = int(stream.read().split()[2])
        return {"disk_bytes": sectors * _SECTOR_BYTES, "refault_pages": refault_pages(self._root)}

    def _since(self, before: dict[str, int | None]) -> dict[str, int | None]:
        found = {}
        for name, value in self._counters().items():
            then = before[name]
            found[name] = None if value is None or then is None else value - then
        return found


def refault_pages(root: str = "/") -> int | None:
    """File pages that came back after the kernel had reclaimed them (Linux mm/workingset.c); None where not counted.

    Not counted is what was dropped by hand (drop_caches): that leaves no trace behind.
    """
    with open(f"{root.rstrip('/')}/proc/vmstat") as stream:
        counters = dict(line.split() for line in stream)
    # One counter for all pages until Linux 5.9.
    count = counters.get("workingset_refault_file", counters.get("workingset_refault"))
    return None if count is None else int(count)


def _answer(done: Read) -> dict[str, Any]:
    return {"ns": done.ns, "bytes": done.bytes, "reads": done.reads}


def _bad(done: Read) -> dict[str, Any]:
    names = ("address", "expected", "found")
    first = dict(zip(names, done.first_bad, strict=True)) if done.first_bad else None
    return {"bad_pages": done.bad_blocks, "first_bad": first}
