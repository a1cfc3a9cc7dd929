"""One mapped region of memory: map, touch, verify, release. The numbers come from C (memtouch.h)."""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, get_args

from workloads.memtouch._memtouch import ffi, lib
from workloads.memtouch.histogram import Histogram
from workloads.memtouch.refusal import check, fail

Mapping = Literal["anonymous", "shared-anonymous", "memfd", "private-file", "shared-file", "hugetlb"]
Thp = Literal["system", "always", "never"]
Mode = Literal["write", "read", "fill"]
Extent = Literal["word", "full"]
How = Literal["munmap", "dontneed", "free", "holes"]
# Blocks of a mixed release: one part of the region each, of the same size.
MIXED_BLOCKS: tuple[int, ...] = (16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20)

# In the order of the enums in memtouch.h.
MAPPINGS: tuple[str, ...] = get_args(Mapping)
THPS: tuple[str, ...] = get_args(Thp)
MODES: tuple[str, ...] = get_args(Mode)
EXTENTS: tuple[str, ...] = get_args(Extent)
HOWS: tuple[str, ...] = get_args(How)

# Where will-it-scale puts its files too.
DEFAULT_FOLDER = "/tmp"  # noqa: S108

_seeds = itertools.count(1)


@dataclass(frozen=True)
class Touched:
    """One pass over a region: time in ns, bytes of the region, and pages touched, of `page_bytes` each."""

    ns: int
    bytes: int
    pages: int
    page_bytes: int


@dataclass(frozen=True)
class FirstBad:
    """The first wrong 8-byte word: its address, its offset in the region, and both values."""

    address: int
    offset: int
    expected: int
    found: int


@dataclass(frozen=True)
class Verified:
    """One check of the pattern over `bytes`: time in ns, pages with a wrong word, and the first of them."""

    ns: int
    bytes: int
    bad_pages: int
    first_bad: FirstBad | None


@dataclass(frozen=True)
class Released:
    """A release. `bytes` were resident before and gone after; `offered_bytes` were resident in what was released.

    They differ where the kernel takes the pages later (free) or not at all (dontneed of shared memory). `ns` is the
    time of the releasing calls alone. Memory of hugetlb goes back to its pool, not to the page allocator.
    """

    ns: int
    bytes: int
    offered_bytes: int


class Region:
    """A mapped region; made by `map_region`. Leaving the `with` block unmaps it."""

    def __init__(self, region: Any, mapping: str) -> None:
        self._region = region
        self.mapping = mapping

    @property
    def bytes(self) -> int:
        """Size, a multiple of `page_bytes`."""
        return int(self._region.bytes)

    @property
    def page_bytes(self) -> int:
        """The step of a touch: the base page, or the huge page of hugetlb."""
        return int(self._region.page_bytes)

    @property
    def address(self) -> int:
        """Where it is; 0 after it was unmapped."""
        return int(self._region.address)

    def buffer(self) -> memoryview:
        """The memory itself, writable; not to be used after the region was unmapped."""
        self._check_mapped()
        return memoryview(ffi.buffer(ffi.cast("char *", self.address), self.bytes))

    def expected_word(self, offset: int) -> int:
        """The pattern's 8-byte word at an offset (a multiple of 8) in the region."""
        return int(lib.mt_pattern(self.address + offset, self._region.seed))

    def resident_bytes(self) -> int:
        """Bytes that unmapping would free now: private pages of this process alone, or pages of a shared object."""
        self._check_mapped()
        out = ffi.new("uint64_t *")
        check(lib.mt_resident(self._region, out), "resident", self.mapping)
        return int(out[0])

    def touch(self, mode: Mode = "write", histogram: Histogram | None = None) -> Touched:
        """Touch every page once; with a histogram, each page's latency is added to it (a clock reading a page).

        write: the first pattern word of each page; read: one read a page; fill: the pattern in every byte.
        """
        self._check_mapped()
        out = ffi.new("struct mt_touched *")
        counts = ffi.NULL if histogram is None else histogram.counts_pointer
        check(lib.mt_touch(self._region, _index("mode", mode, MODES), counts, out), "touch", self.mapping)
        if histogram is not None:
            histogram.max_ns = max(histogram.max_ns, int(out.max_ns))
        return Touched(int(out.ns), self.bytes, int(out.pages), self.page_bytes)

    def verify(self, extent: Extent = "word") -> Verified:
        """Check the pattern: the first word of each page (after write or fill), or every byte (full, after fill)."""
        self._check_mapped()
        out = ffi.new("struct mt_verified *")
        check(lib.mt_verify(self._region, _index("extent", extent, EXTENTS), out), "verify", self.mapping)
        first = None
        if out.bad_pages:
            address = int(out.address)
            first = FirstBad(address, address - self.address, int(out.expected), int(out.found))
        return Verified(int(out.ns), self.bytes, int(out.bad_pages), first)

    def release(self, how: How = "munmap", every: int = 2, block_bytes: int = 2 << 20) -> Released:
        """Give memory back. `every` and `block_bytes` are for holes: blocks 0, every, 2 * every, ... are given back.

        munmap also closes the file behind the region, and ends it. Shared memory: holes are punched with MADV_REMOVE,
        dontneed drops the page tables only (bytes is 0), free is refused. OSError with advice, ValueError for
        wrong use.
        """
        self._check_mapped()
        if how == "holes" and (every < 1 or block_bytes < 1 or block_bytes % self.page_bytes):
            raise ValueError(
                f"every: {every}, block_bytes: {block_bytes}: every must be at least 1 and block_bytes a multiple of "
                f"{self.page_bytes}"
            )
        out = ffi.new("struct mt_released *")
        stride = (every, block_bytes) if how == "holes" else (1, 0)
        check(lib.mt_release(self._region, _index("how", how, HOWS), *stride, out), how, self.mapping)
        return Released(int(out.ns), int(out.bytes), int(out.offered_bytes))

    def renew(self, block_bytes: int, histogram: Histogram | None = None) -> Touched:
        """Give each block back and touch (write) it at once, one after another; only the touches are timed.

        So no more than a block is free at any moment, and the kernel takes for a block what it was just given. The page
        tables stay, a page in 512. The pattern is a new one: `verify` tells what was there before from what is
        written now. ValueError for a block that is no multiple of `page_bytes`, and for memory that
        MADV_DONTNEED does not free.
        """
        self._check_mapped()
        if block_bytes < 1 or block_bytes % self.page_bytes:
            raise ValueError(f"block_bytes: {block_bytes} is no multiple of {self.page_bytes}: make it one")
        if self.mapping != "anonymous":
            raise ValueError(f"mapping: {self.mapping} memory is not freed in blocks: use anonymous")
        self._region.seed = next(_seeds)
        ns = pages = 0
        for offset in range(0, self.bytes, block_bytes):
            block = Region(self._part(offset, min(block_bytes, self.bytes - offset)), self.mapping)
            block.release("dontneed")
            touched = block.touch("write", histogram)
            ns, pages = ns + touched.ns, pages + touched.pages
        return Touched(ns, self.bytes, pages, self.page_bytes)

    def release_mixed(self, blocks: tuple[int, ...] = MIXED_BLOCKS) -> Released:
        """Give every second block back, of another size in each of as many parts of the region as there are `blocks`.

        What a long-running guest frees: memory in pieces of many sizes, each beside one that stays in use. Raises as
        `release` with holes.
        """
        self._check_mapped()
        part_bytes = self.bytes // len(blocks) // max(blocks) * max(blocks)
        if not part_bytes:
            raise ValueError(f"bytes: {self.bytes} is too little for {len(blocks)} parts of {max(blocks)} or more")
        done = []
        for index, block_bytes in enumerate(blocks):
            part, out = self._part(index * part_bytes, part_bytes), ffi.new("struct mt_released *")
            check(lib.mt_release(part, _index("how", "holes", HOWS), 2, block_bytes, out), "holes", self.mapping)
            done.append(out)
        return Released(*(sum(int(getattr(out, name)) for out in done) for name in ("ns", "bytes", "offered_bytes")))

    def _part(self, offset: int, size_bytes: int) -> Any:
        same = {name: getattr(self._region, name) for name in ("page_bytes", "mapping", "fd", "seed")}
        return ffi.new("struct mt_region *", {**same, "address": self.address + offset, "bytes": size_bytes})

    def _check_mapped(self) -> None:
        if not self.address:
            raise ValueError("this region was unmapped: map a new one")

    def __enter__(self) -> Region:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.address:
            self.release("munmap")


def page_bytes() -> int:
    """The base page size, as the system says."""
    return int(lib.mt_page_bytes())


def clock_cost_ns(batches: int = 20) -> int:
    """Mean time of a clock reading in C, in ns: what a histogram adds to each page at least.

    The best of some batches of 100 readings: one interruption makes a mean a hundred times too high.
    """
    return min(int(lib.mt_clock_cost_ns(100)) for _ in range(batches))


def map_region(
    size_bytes: int, mapping: Mapping = "anonymous", thp: Thp = "system", folder: str = DEFAULT_FOLDER
) -> Region:
    """Map `size_bytes`, rounded up to pages. `folder` is where the nameless file of a file mapping is made.

    OSError with advice when the system refuses; ValueError for an unknown name or an impossible size.
    """
    if not 0 < size_bytes < 1 << 47:
        raise ValueError(f"size_bytes: {size_bytes} is no size of a region: give 1 to 2**47 - 1")
    if mapping == "hugetlb" and thp != "system":
        raise ValueError(f"thp: {thp} has no meaning for hugetlb: give system")
    kind, advice = _index("mapping", mapping, MAPPINGS), _index("thp", thp, THPS)
    fd = _backing(mapping, size_bytes, folder)
    fields = {"bytes": size_bytes, "seed": next(_seeds), "mapping": kind, "fd": fd}
    region = ffi.new("struct mt_region *", fields)
    code = lib.mt_map(region, advice)
    if code:
        if fd >= 0:
            os.close(fd)
        fail(-code, "thp" if code == -errno.EINVAL and thp == "always" else "map", mapping)
    return Region(region, mapping)


def _backing(mapping: str, size_bytes: int, folder: str) -> int:
    if mapping == "memfd":
        fd = os.memfd_create("memtouch")
        os.ftruncate(fd, -(-size_bytes // page_bytes()) * page_bytes())
        return fd
    return nameless_file(folder, size_bytes) if mapping.endswith("-file") else -1


def nameless_file(folder: str, size_bytes: int) -> int:
    """A descriptor of a new sparse file of `size_bytes`, rounded up to pages, that has no name in `folder` any more.

    OSError when the folder cannot hold it: a sparse file on a full disk would end the process with SIGBUS at a touch.
    """
    size = -(-size_bytes // page_bytes()) * page_bytes()
    room = os.statvfs(folder)
    # ramfs (an initramfs may be one) says that it has no blocks at all, and means that it has no limit.
    if room.f_blocks and room.f_bavail * room.f_frsize < size:
        raise OSError(errno.ENOSPC, f"{room.f_bavail * room.f_frsize} bytes free, {size} needed", folder)
    path = os.path.join(folder, f".memtouch.{os.urandom(8).hex()}")  # noqa: PTH118 - pathlib is slow to import in a guest
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)  # noqa: PTH108
    os.ftruncate(fd, size)
    return fd


def _index(key: str, name: str, names: tuple[str, ...]) -> int:
    if name not in names:
        raise ValueError(f"{key}: {name!r} is unknown: one of {', '.join(names)}")
    return names.index(name)
