"""Reading a file of known content: all of it once, or a part of it at a fixed pace beside everything else."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from mmap import mmap
from typing import Any

from workloads.memtouch._memtouch import ffi, lib
from workloads.memtouch.histogram import Histogram

BLOCK_BYTES = int(lib.MT_BLOCK_BYTES)
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Pieces:
    """What is read of a file: `count` pieces of `piece_bytes`, the first at 0, each `stride_bytes` behind the last one.

    Bytes are multiples of BLOCK_BYTES. first_word: of block 0; each block's is one more than that of the one before.
    """

    piece_bytes: int
    stride_bytes: int
    count: int
    first_word: int

    @property
    def bytes(self) -> int:
        """All pieces together."""
        return self.piece_bytes * self.count

    def struct(self, source: int | mmap) -> Any:
        """For C. source: a file descriptor, or the whole file mapped."""
        place = (0, source) if isinstance(source, int) else (_address(source), -1)
        fields = (self.piece_bytes, self.stride_bytes, self.count, self.first_word, *place, 0)
        return ffi.new("struct mt_pieces *", fields)


@dataclass(frozen=True)
class Read:
    """What was read. first_bad: (offset, expected, found) of the first block with another first word, None for none."""

    ns: int
    bytes: int
    reads: int
    bad_blocks: int
    first_bad: tuple[int, int, int] | None


def read_all(source: int | mmap, pieces: Pieces) -> Read:
    """All pieces once, in order; ns counts the reading only. source: a file descriptor, or the whole file mapped.

    Raises OSError, also where the file ends before; of a mapping that is too short ValueError.
    """
    buffer, out = ffi.new("char[]", BUFFER_BYTES), ffi.new("struct mt_read *")
    _check(lib.mt_read_all(pieces.struct(source), buffer, BUFFER_BYTES, out))
    return _read(out)


class PacedReader:
    """Reads one block of the pieces every `period_ns`, in a thread that needs no interpreter, until `stop`.

    source: as of `read_all`; a mapping has to stay until then.

    reads: time in each read. waits: from the moment at which it was due until it was done, what a client that asks at
    that pace would see: a read that takes long makes those behind it wait.
    """

    def __init__(self, source: int | mmap, pieces: Pieces, period_ns: int) -> None:
        self.reads, self.waits = Histogram(), Histogram()
        self._pieces, self._out, self._error = pieces.struct(source), ffi.new("struct mt_read *"), 0
        self.period_ns = period_ns
        self._thread = threading.Thread(target=self._run, name="paced reader", daemon=True)
        self._thread.start()

    def stop(self) -> Read:
        """Ends it. Raises OSError where a read had failed."""
        lib.mt_stop_reading(self._pieces)
        self._thread.join()
        _check(self._error)
        self.reads.max_ns, self.waits.max_ns = int(self._out.max_ns), int(self._out.max_wait_ns)
        return _read(self._out)

    def _run(self) -> None:
        counts = (self.reads.counts_pointer, self.waits.counts_pointer)
        self._error = lib.mt_read_paced(self._pieces, self.period_ns, *counts, self._out)


def _address(mapped: mmap) -> int:
    return int(ffi.cast("uintptr_t", ffi.from_buffer(mapped)))


def _read(out: Any) -> Read:
    bad = (int(out.offset), int(out.expected), int(out.found)) if out.bad_pages else None
    return Read(int(out.ns), int(out.bytes), int(out.reads), int(out.bad_pages), bad)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, f"read: {os.strerror(-result)}")
