"""QEMU's stderr, told apart line by line. The lines were seen with QEMU 7.2."""

from __future__ import annotations

import pytest

from bench.host.trace import Discard, is_trace, parse_line
from bench.wire.units import KIB, MIB

SEEN = (
    "22682@1795423049.305373:ram_block_discard_range pc.ram@0x7fb42da00000 + 0x400000: madvise: 1 fallocate: 0 ret: 0"
)
FAILED = "2026-11-23T08:37:29.305373Z qemu-system-x86_64: Failed to discard range pc.ram:a800000 +400000 (-22)"


def test_a_discard_has_its_length_and_its_time() -> None:
    assert parse_line(SEEN) == Discard(4 * MIB, failed=False, wall_s=1795423049.305373)


@pytest.mark.parametrize("how", ["madvise: 1 fallocate: 1", "madvise: 0 fallocate: 1", "madvise: 1 fallocate: 0"])
def test_a_discard_is_one_whatever_backs_the_memory(how: str) -> None:
    line = f"1@2.000001:ram_block_discard_range ram@0x7f0000000000 + 0x1000: {how} ret: 0"
    assert parse_line(line) == Discard(4 * KIB, failed=False, wall_s=2.000001)


def test_a_discard_of_a_memory_backend_carries_its_object_name() -> None:
    line = "1@2.5:ram_block_discard_range /objects/ram@0x7f0000000000 + 0x200000: madvise: 1 fallocate: 1 ret: 0"
    assert parse_line(line) == Discard(2 * MIB, failed=False, wall_s=2.5)


def test_memory_to_be_plugged_is_discarded_before_it_has_a_name() -> None:
    line = "28611@1.5:ram_block_discard_range @0x7f398fffe000 + 0x28000000: madvise: 1 fallocate: 1 ret: 0"
    assert parse_line(line) == Discard(640 * MIB, failed=False, wall_s=1.5)


def test_a_traced_discard_with_an_error_is_a_failed_one() -> None:
    line = SEEN.replace("ret: 0", "ret: -22")
    assert parse_line(line) == Discard(4 * MIB, failed=True, wall_s=1795423049.305373)


def test_a_failed_discard_has_no_time_of_its_own() -> None:
    assert parse_line(FAILED) == Discard(4 * MIB, failed=True, wall_s=None)


def test_a_failed_discard_is_seen_without_the_time_before_it() -> None:
    assert parse_line(FAILED.partition(" ")[2]) == Discard(4 * MIB, failed=True)


def test_a_failed_discard_is_no_trace_event() -> None:
    assert not is_trace(FAILED)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "qemu-system-x86_64: warning: host doesn't support requested feature",
        "2026-11-23T08:37:29.305373Z qemu-system-x86_64: terminating on signal 15 from pid 1 (python3)",
        "ram_block_discard_range pc.ram@0x7fb42da00000 + 0x400000: madvise: 1 fallocate: 0 ret: 0",
        "a guest wrote: 1@2.0:ram_block_discard_range",
    ],
)
def test_another_line_is_for_the_log(line: str) -> None:
    assert parse_line(line) is None
    assert not is_trace(line)


@pytest.mark.parametrize(
    "line",
    [
        "22682@1795423049.305373:ram_block_discard_range rb=pc.ram start=0x0 len=0x400000",
        "22682@1795423049.305373:ram_block_discard_range pc.ram@0x7fb42da00000 + 4194304: madvise: 1 ret: 0",
        "22682@1795423049.305373:virtio_balloon_to_target balloon target: 0x1 num_pages: 2",
    ],
)
def test_a_trace_line_in_an_unknown_format_is_known_as_one(line: str) -> None:
    assert parse_line(line) is None
    assert is_trace(line)
