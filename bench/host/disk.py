"""The scratch disk of a guest: a file of known content in the host's cache, made once for each size, read only.

The first 8 bytes of each 4 KiB page are `FIRST_WORD` plus the number of the page, in the machine's byte order, so that
a guest can tell whether it read the right one; the rest is noise, which no file system, swap or merging makes smaller.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.host import receive
from bench.wire.units import show_bytes

# In the file's name: another content needs another number, here and in workloads/disk.py (a test compares).
CONTENT_VERSION = 1
FIRST_WORD = 0x4650525F44534B00
PAGE_BYTES = 4096
CHUNK_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskError(Exception):
    """The scratch disk cannot be made; the text says why and what would help."""


class Disk(NamedTuple):
    """direct: QEMU reads it past the host's page cache (O_DIRECT); not every file system can do that."""

    path: str
    direct: bool


def scratch_disk(cache: Path, size_bytes: int, stopped: Callable[[], bool] = lambda: False) -> Disk:
    """The disk of this size in `cache`, made when it is not there. size_bytes: whole MiB.

    stopped: asked while it is made, which may take a minute; what is begun is then removed. Raises DiskError, OSError.
    """
    if size_bytes <= 0 or size_bytes % CHUNK_BYTES:
        raise ValueError(f"a scratch disk of {size_bytes} bytes; a multiple of {CHUNK_BYTES} is needed")
    path = cache / f"disk-v{CONTENT_VERSION}-{size_bytes}.img"
    if not (receive.touch(path) and path.stat().st_size == size_bytes):
        _make(path, size_bytes, stopped)
        receive.prune(cache, receive.KEEP, time.time())
    return Disk(str(path), can_direct(path))


def content(size_bytes: int) -> Iterator[memoryview]:
    """The disk's content, a chunk at a time; each chunk is valid until the next is asked for."""
    chunk = bytearray(hashlib.shake_128(b"fpr-bench scratch disk").digest(CHUNK_BYTES))
    words = memoryview(chunk).cast("Q")
    pages = CHUNK_BYTES // PAGE_BYTES
    for first in range(FIRST_WORD, FIRST_WORD + size_bytes // PAGE_BYTES, pages):
        words[:: PAGE_BYTES // 8] = memoryview(array("Q", range(first, first + pages)))
        yield memoryview(chunk)


def can_direct(path: Path) -> bool:
    """Whether the file can be read with O_DIRECT, found by reading it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    # Aligned memory: O_DIRECT takes no other.
    with mmap.mmap(-1, PAGE_BYTES) as page:
        try:
            return os.preadv(fd, [page], 0) == PAGE_BYTES
        except OSError:
            return False
        finally:
            os.close(fd)


def _make(path: Path, size_bytes: int, stopped: Callable[[], bool]) -> None:
    """Nobody sees the file under its name before it is whole and on the disk."""
    receive.remove_leftovers(path.parent)
    free = receive.free_bytes(path.parent)
    if size_bytes + receive.MARGIN_BYTES > free:
        raise _no_room(path, size_bytes)
    fd, temporary = tempfile.mkstemp(prefix=receive.PREFIX, dir=path.parent)
    try:
        try:
            _write(fd, size_bytes, stopped)
        finally:
            os.close(fd)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink()
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _no_room(path, size_bytes) from error
        raise


def _write(fd: int, size_bytes: int, stopped: Callable[[], bool]) -> None:
    for chunk in content(size_bytes):
        if stopped():
            raise DiskError("the scratch disk was not finished: nobody waits for it any more")
        rest = chunk
        while rest:
            rest = rest[os.write(fd, rest) :]
    os.fsync(fd)
    # What was written is still in the host's memory, where it would disturb the first boot only.
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _no_room(path: Path, size_bytes: int) -> DiskError:
    free = show_bytes(receive.free_bytes(path.parent))
    return DiskError(
        f"no room for the guest's scratch disk: {show_bytes(size_bytes)} needed, {free} free in {path.parent}; make "
        "room, name another folder (scratch: in hosts.yaml), or make the guest or the part that it reads smaller"
    )
