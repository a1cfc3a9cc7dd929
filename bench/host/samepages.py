"""Whether two QEMUs hold the same memory of a guest, page by page. Both have to be stopped meanwhile.

Read by system calls: a hole in a memfd then stays one, while a look through a mapping would fill it (Linux mm/shmem.c,
shmem_file_read_iter() takes the zero page).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.host.readers import find_memfds

PAGE_BYTES = 4096
CHUNK_BYTES = 4 << 20


def compare(first: int, second: int, sizes: Sequence[int], root: Path = Path("/")) -> dict[str, Any]:
    """The RAM of two QEMUs, by their process ids, whose memory is in files (memfd, hugetlb, file).

    sizes: bytes of each piece of it. -> pages, different_pages, zero_pages (of the different ones, those that are zero
    in the second), emptied_pages (those that are zero in the first), first_different (its offset in its piece; None for
    none). Raises OSError.
    """
    found: dict[str, Any] = {
        "pages": 0,
        "different_pages": 0,
        "zero_pages": 0,
        "emptied_pages": 0,
        "first_different": None,
    }
    pairs = zip(*(find_memfds(root / f"proc/{pid}/fd", sizes) for pid in (first, second)))
    for (one, other), size in zip(pairs, sizes):
        descriptors = [os.open(file, os.O_RDONLY | os.O_CLOEXEC) for file in (one, other)]
        try:
            _compare_files(descriptors, size, found)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
    return found


def _compare_files(descriptors: Sequence[int], size: int, found: dict[str, Any]) -> None:
    found["pages"] += size // PAGE_BYTES
    for offset in range(0, size, CHUNK_BYTES):
        length = min(CHUNK_BYTES, size - offset)
        one, other = (_read(descriptor, length, offset) for descriptor in descriptors)
        if one == other:
            continue
        for page in range(0, length, PAGE_BYTES):
            here, there = (side[page : page + PAGE_BYTES] for side in (one, other))
            if here != there:
                found["different_pages"] += 1
                found["zero_pages"] += not there.strip(b"\0")
                found["emptied_pages"] += not here.strip(b"\0")
                if found["first_different"] is None:
                    found["first_different"] = offset + page


def _read(descriptor: int, length: int, offset: int) -> bytes:
    """Exactly `length` bytes. Raises OSError where the file ends before."""
    parts = bytearray()
    while len(parts) < length:
        part = os.pread(descriptor, length - len(parts), offset + len(parts))
        if not part:
            raise OSError(f"the guest's memory ends at {offset + len(parts)} instead of {offset + length}")
        parts += part
    return bytes(parts)
