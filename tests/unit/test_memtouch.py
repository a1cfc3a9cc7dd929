"""memtouch against the kernel: what it says is compared with mincore, smaps and the fault counter."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads import memtouch
from workloads.memtouch import _memtouch
from workloads.memtouch.region import EXTENTS, HOWS, MODES, THPS, Mapping

ffi, lib = _memtouch.ffi, _memtouch.lib
MIB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
SIZE = 4 * MIB
PAGES = SIZE // PAGE
SHARED: tuple[Mapping, ...] = ("shared-anonymous", "memfd", "shared-file")
ORDINARY: tuple[Mapping, ...] = ("anonymous", *SHARED, "private-file")
SOURCES = Path(memtouch.__file__).parent


def mincore(region: memtouch.Region) -> list[bool]:
    """Residency of each base page, asked from the C library."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = region.bytes // PAGE
    vector = (ctypes.c_ubyte * pages)()
    assert libc.mincore(ctypes.c_void_p(region.address), ctypes.c_size_t(region.bytes), vector) == 0
    return [bool(byte & 1) for byte in vector]


def smaps(region: memtouch.Region, field: str) -> int:
    """A field of the region's entry in smaps, in bytes."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= region.address < int(found[2], 16)
        elif inside and line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field} for {region.address:#x}")


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@contextlib.contextmanager
def filled() -> Iterator[memtouch.Region]:
    with memtouch.map_region(16 * PAGE) as region:
        region.touch("fill")
        yield region


@pytest.mark.parametrize("mapping", ORDINARY)
@pytest.mark.parametrize("mode", ["write", "fill"])
def test_a_touched_region_is_resident_and_verifies(
    mapping: Mapping, mode: memtouch.region.Mode, tmp_path: Path
) -> None:
    with memtouch.map_region(SIZE, mapping, folder=str(tmp_path)) as region:
        touched = region.touch(mode)
        assert touched == memtouch.Touched(touched.ns, SIZE, PAGES, PAGE)
        assert touched.ns > 0
        assert all(mincore(region))
        assert region.resident_bytes() == SIZE
        verified = region.verify("full" if mode == "fill" else "word")
        assert (verified.bad_pages, verified.first_bad) == (0, None)


def test_every_page_of_a_write_is_a_page_fault_of_its_own() -> None:
    with memtouch.map_region(SIZE, thp="never") as region:
        before = faults()
        region.touch("write")
        assert faults() - before >= PAGES


def test_reading_anonymous_memory_maps_the_zero_page_which_is_nothing_to_give_back() -> None:
    with memtouch.map_region(SIZE, thp="never") as region:
        before = faults()
        region.touch("read")
        assert faults() - before >= PAGES
        assert region.resident_bytes() == 0
        assert region.release("dontneed").bytes == 0


def test_a_size_is_rounded_up_to_pages() -> None:
    with memtouch.map_region(PAGE + 1) as region:
        assert (region.bytes, region.page_bytes) == (2 * PAGE, memtouch.page_bytes())
    assert memtouch.page_bytes() == PAGE


def test_huge_pages_are_used_only_where_they_are_asked_for() -> None:
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("transparent huge pages are off on this machine")
    with memtouch.map_region(2 * MIB, thp="always") as region, memtouch.map_region(2 * MIB, thp="never") as small:
        region.touch("write")
        small.touch("write")
        assert region.address % (2 * MIB) == 0
        assert smaps(small, "AnonHugePages") == 0
        # Not one fault a page: at least when memory is not too fragmented for a single huge page.
        assert smaps(region, "AnonHugePages") in {0, 2 * MIB}
        assert "hg" in vm_flags(region)
        assert "nh" in vm_flags(small)


def vm_flags(region: memtouch.Region) -> list[str]:
    text = Path("/proc/self/smaps").read_text()
    entry = text[text.index(f"{region.address:x}-") :]
    return re.search(r"VmFlags: (.*)", entry)[1].split()  # type: ignore[index]


@settings(deadline=None)
@given(offset=st.integers(0, 16 * PAGE - 1), flip=st.integers(1, 255))
def test_a_full_check_finds_a_single_changed_byte_anywhere(offset: int, flip: int) -> None:
    with filled() as region:
        region.buffer()[offset] ^= flip
        verified = region.verify("full")
        bad = verified.first_bad
        assert bad is not None
        assert verified.bad_pages == 1
        assert (bad.offset, bad.address) == (offset // 8 * 8, region.address + offset // 8 * 8)
        assert bad.expected == region.expected_word(bad.offset)
        assert (bad.expected ^ bad.found).to_bytes(8, "little")[offset % 8] == flip
        assert (bad.expected ^ bad.found).bit_count() == flip.bit_count()


def test_a_full_check_reports_the_first_of_several_bad_pages() -> None:
    with filled() as region:
        for page in (9, 3, 12):
            region.buffer()[page * PAGE + 77] ^= 1
        verified = region.verify("full")
        assert verified.bad_pages == 3
        assert verified.first_bad is not None
        assert verified.first_bad.offset == 3 * PAGE + 72


def test_a_word_check_finds_a_zeroed_page() -> None:
    with memtouch.map_region(16 * PAGE) as region:
        region.touch("write")
        region.buffer()[5 * PAGE : 6 * PAGE] = bytes(PAGE)
        verified = region.verify("word")
        expected = memtouch.FirstBad(region.address + 5 * PAGE, 5 * PAGE, region.expected_word(5 * PAGE), 0)
        assert (verified.bad_pages, verified.first_bad) == (1, expected)


def test_a_full_check_of_pages_that_were_only_written_once_fails() -> None:
    with memtouch.map_region(16 * PAGE) as region:
        region.touch("write")
        assert region.verify("full").bad_pages == 16


def test_a_page_of_another_place_or_of_an_earlier_use_of_the_same_place_is_bad() -> None:
    with filled() as region:
        region.buffer()[:PAGE] = bytes(region.buffer()[PAGE : 2 * PAGE])
        assert region.verify("word").bad_pages == 1
    assert lib.mt_pattern(0x7F0000000000, 1) != lib.mt_pattern(0x7F0000000000, 2)


@settings(deadline=None)
@given(page=st.integers(0, 2**35), seed=st.integers(0, 2**64 - 1))
def test_a_pattern_word_is_never_zero(page: int, seed: int) -> None:
    assert lib.mt_pattern(page * PAGE, seed) != 0


@pytest.mark.parametrize("mapping", ORDINARY)
@pytest.mark.parametrize(("every", "block_pages"), [(2, 1), (3, 4), (2, 512), (1, 16), (1000, 1), (7, 3)])
def test_holes_are_exactly_every_nth_block(mapping: Mapping, every: int, block_pages: int, tmp_path: Path) -> None:
    block = block_pages * PAGE
    with memtouch.map_region(SIZE, mapping, thp="never", folder=str(tmp_path)) as region:
        region.touch("write")
        released = region.release("holes", every, block)
        kept = [page // block_pages % every != 0 for page in range(PAGES)]
        verified = region.verify("word") if mapping == "private-file" else None
        if verified is None:
            assert mincore(region) == kept
            verified = region.verify("word")
        assert released.bytes == released.offered_bytes == kept.count(False) * PAGE
        assert verified.bad_pages == kept.count(False)


def test_a_block_that_a_hole_does_not_fill_ends_with_the_region() -> None:
    with memtouch.map_region(10 * PAGE) as region:
        region.touch("write")
        assert region.release("holes", 2, 4 * PAGE).bytes == (4 + 2) * PAGE


def test_holes_count_only_what_was_resident() -> None:
    with memtouch.map_region(SIZE, thp="never") as region:
        region.touch("write")
        first = region.release("holes", 2, 16 * PAGE)
        again = region.release("holes", 2, 16 * PAGE)
        rest = region.release("munmap")
        assert (first.bytes, again.bytes, rest.bytes) == (SIZE // 2, 0, SIZE // 2)


@pytest.mark.parametrize("mapping", ["anonymous", "private-file"])
def test_dontneed_empties_private_memory(mapping: Mapping, tmp_path: Path) -> None:
    with memtouch.map_region(SIZE, mapping, folder=str(tmp_path)) as region:
        region.touch("write")
        released = region.release("dontneed")
        assert (released.bytes, released.offered_bytes) == (SIZE, SIZE)
        assert smaps(region, "Private_Dirty") == 0
        assert region.verify("word").bad_pages == PAGES


@pytest.mark.parametrize("mapping", SHARED)
def test_dontneed_of_shared_memory_gives_nothing_back_and_loses_nothing(mapping: Mapping, tmp_path: Path) -> None:
    with memtouch.map_region(SIZE, mapping, folder=str(tmp_path)) as region:
        region.touch("fill")
        released = region.release("dontneed")
        assert (released.bytes, released.offered_bytes) == (0, SIZE)
        assert region.verify("full").bad_pages == 0


def test_free_only_offers_pages_and_a_write_takes_them_back() -> None:
    with memtouch.map_region(SIZE, thp="never") as region:
        region.touch("write")
        released = region.release("free")
        assert released.offered_bytes == SIZE
        # The kernel may have taken some already, and marks pages in batches of up to 31 a CPU.
        assert released.bytes + smaps(region, "LazyFree") >= SIZE - 64 * PAGE
        region.touch("write")
        assert smaps(region, "LazyFree") == 0
        assert region.verify("word").bad_pages == 0


def test_a_renewed_region_faults_on_every_page_again_block_by_block_and_has_its_pattern() -> None:
    with memtouch.map_region(SIZE, thp="never") as region:
        region.touch("write")
        written, latencies = region.buffer()[:8].tobytes(), memtouch.Histogram()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        # The last block is smaller than the others.
        renewed = region.renew(48 * PAGE, latencies)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before >= PAGES
        assert (renewed.bytes, renewed.pages, renewed.page_bytes) == (SIZE, PAGES, PAGE)
        assert latencies.count == PAGES
        assert renewed.ns >= latencies.max_ns > 0
        assert region.verify("word").bad_pages == 0
        # What a page held before is not taken for what was written now.
        region.buffer()[:8] = written
        assert region.verify("word").bad_pages == 1


def test_what_cannot_be_renewed_in_blocks_is_refused(tmp_path: Path) -> None:
    with memtouch.map_region(SIZE) as region, pytest.raises(ValueError, match="no multiple of"):
        region.renew(PAGE + 8)
    with (
        memtouch.map_region(SIZE, "memfd", folder=str(tmp_path)) as region,
        pytest.raises(ValueError, match="use anonymous"),
    ):
        region.renew(PAGE)


@pytest.mark.parametrize("mapping", SHARED)
def test_free_of_shared_memory_is_refused_with_advice(mapping: Mapping, tmp_path: Path) -> None:
    with memtouch.map_region(SIZE, mapping, folder=str(tmp_path)) as region:
        with pytest.raises(OSError, match="private anonymous memory only") as caught:
            region.release("free")
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("mapping", ORDINARY)
def test_munmap_gives_all_back_with_its_descriptor_and_ends_the_region(mapping: Mapping, tmp_path: Path) -> None:
    descriptors = open_descriptors()
    region = memtouch.map_region(SIZE, mapping, folder=str(tmp_path))
    address = region.address
    region.touch("write")
    released = region.release("munmap")
    assert (released.bytes, released.offered_bytes) == (SIZE, SIZE)
    assert released.ns > 0
    assert not re.search(rf"^{address:x}-", Path("/proc/self/maps").read_text(), re.MULTILINE)
    assert open_descriptors() == descriptors
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="was unmapped"):
        region.touch("write")


def test_hugetlb_without_huge_pages_says_how_to_get_them() -> None:
    free = re.search(r"HugePages_Free:\s+(\d+)", Path("/proc/meminfo").read_text())
    if free is None or int(free[1]) > 0:
        pytest.skip("this machine has free huge pages, or no hugetlb at all")
    with pytest.raises(OSError, match=r"hugetlb.*vm\.nr_hugepages") as caught:
        memtouch.map_region(SIZE, "hugetlb")
    assert caught.value.errno == errno.ENOMEM


@pytest.fixture
def four_huge_pages() -> Iterator[None]:
    """Four more huge pages than there were, given back afterwards."""
    file = Path("/proc/sys/vm/nr_hugepages")
    if os.geteuid() != 0:
        pytest.skip("only root may reserve huge pages")
    before = int(file.read_text())
    file.write_text(f"{before + 4}\n")
    try:
        assert int(file.read_text()) == before + 4, "no memory for four huge pages"
        yield
    finally:
        file.write_text(f"{before}\n")


@pytest.mark.usefixtures("four_huge_pages")
def test_hugetlb_touches_and_releases_huge_pages() -> None:
    with memtouch.map_region(2 * MIB + 1, "hugetlb") as region:
        assert region.touch("fill").pages == 2
        assert region.page_bytes == 2 * MIB
        assert region.verify("full").bad_pages == 0
        assert region.release("munmap").bytes == 4 * MIB


def test_a_file_that_the_disk_cannot_hold_is_refused_before_it_is_touched(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="bytes free") as caught:
        memtouch.map_region(1 << 46, "shared-file", folder=str(tmp_path))
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_mapping_that_fails_leaves_nothing_behind() -> None:
    before, descriptors = mapped_pages(), open_descriptors()
    for _ in range(20):
        region = ffi.new("struct mt_region *", {"bytes": SIZE, "mapping": 3, "fd": 10_000})
        assert lib.mt_map(region, 0) == -errno.EBADF
        assert region.address == 0
    assert mapped_pages() - before < 2 * PAGES
    assert open_descriptors() == descriptors


def mapped_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0])


def test_every_region_is_aligned_to_huge_pages_and_reserves_nothing_more() -> None:
    before = mapped_pages()
    with contextlib.ExitStack() as stack:
        sizes = [PAGE, 3 * PAGE, 2 * MIB, 2 * MIB + PAGE, 5 * PAGE]
        regions = [stack.enter_context(memtouch.map_region(size)) for size in sizes]
        assert [region.address % (2 * MIB) for region in regions] == [0] * len(sizes)
        assert (mapped_pages() - before) * PAGE < sum(sizes) + MIB


@pytest.mark.parametrize("size", [0, -1, 1 << 47])
def test_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="size_bytes"):
        memtouch.map_region(size)


@pytest.mark.parametrize(("every", "block"), [(0, PAGE), (2, 0), (2, PAGE - 1), (-1, PAGE)])
def test_impossible_holes_are_refused(every: int, block: int) -> None:
    with memtouch.map_region(SIZE) as region, pytest.raises(ValueError, match="every"):
        region.release("holes", every, block)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'huge' is unknown: one of anonymous, shared-anonymous"):
        memtouch.map_region(SIZE, "huge")  # type: ignore[arg-type]
    with memtouch.map_region(SIZE) as region:
        with pytest.raises(ValueError, match="one of write, read, fill"):
            region.touch("scribble")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="one of munmap, dontneed, free, holes"):
            region.release("drop")  # type: ignore[arg-type]


def test_c_refuses_what_python_would_never_ask() -> None:
    region = ffi.new("struct mt_region *", {"bytes": SIZE, "mapping": 99, "fd": -1})
    assert lib.mt_map(region, 0) == -errno.EINVAL
    assert lib.mt_touch(region, 0, ffi.NULL, ffi.new("struct mt_touched *")) == -errno.EINVAL
    assert lib.mt_verify(region, 0, ffi.new("struct mt_verified *")) == -errno.EINVAL
    assert lib.mt_release(region, 3, 2, 100, ffi.new("struct mt_released *")) == -errno.EINVAL


def test_the_names_are_in_the_order_of_the_enums_in_c() -> None:
    assert [n.upper().replace("-", "_") for n in get_args(Mapping)] == enum_names("mt_mapping")
    assert [f"THP_{name.upper()}" for name in THPS] == enum_names("mt_thp")
    assert [name.upper() for name in MODES] == enum_names("mt_mode")
    assert [name.upper() for name in EXTENTS] == enum_names("mt_extent")
    assert [name.upper() for name in HOWS] == enum_names("mt_how")


def enum_names(enum: str) -> list[str]:
    elements: dict[int, str] = ffi.typeof(f"enum {enum}").elements
    return [elements[i].removeprefix("MT_") for i in range(len(elements))]


@pytest.mark.parametrize("name", ["memtouch", "release", "histogram", "throughput"])
def test_it_compiles_for_arm64(name: str, tmp_path: Path) -> None:
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("no arm64 compiler (apt-get install gcc-aarch64-linux-gnu)")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-c"]
    subprocess.run([compiler, *flags, str(SOURCES / f"{name}.c"), "-o", str(tmp_path / "out.o")], check=True)


def test_a_mixed_release_gives_every_second_block_of_each_size_back() -> None:
    blocks = (PAGE, 4 * PAGE)
    with memtouch.map_region(64 * PAGE, thp="never") as region:
        region.touch("fill")
        released = region.release_mixed(blocks)
        assert released.bytes == released.offered_bytes == 32 * PAGE
        zero = [not any(region.buffer()[start : start + PAGE]) for start in range(0, 64 * PAGE, PAGE)]
        assert zero[:8] == [True, False] * 4
        assert zero[32:48] == ([True] * 4 + [False] * 4) * 2
        with pytest.raises(ValueError, match="is too little for 2 parts"):
            region.release_mixed((PAGE, 64 * PAGE))
