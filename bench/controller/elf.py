"""As much of ELF (64 bit, little endian) as it takes to carry a program and its libraries into a guest."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_DT_STRTAB, _DT_SONAME = 5, 14

# (type, offset in the file, address in memory, bytes in the file)
Segment = tuple[int, int, int, int]


def is_elf(data: bytes) -> bool:
    """Whether this is an ELF file that these functions read."""
    return data[:6] == b"\x7fELF\x02\x01"


def strip(data: bytes) -> bytes:
    """The file without what no segment needs at run time: symbols, debug information, section headers."""
    end = max(offset + size for _, offset, _, size in _segments(data))
    kept = bytearray(data[:end])
    struct.pack_into("<Q", kept, 40, 0)  # e_shoff
    struct.pack_into("<HH", kept, 60, 0, 0)  # e_shnum, e_shstrndx
    return bytes(kept)


def loader(data: bytes) -> str:
    """Path of the dynamic loader that a program names. Raises ValueError for one that is linked statically."""
    for kind, offset, _, size in _segments(data):
        if kind == _INTERP:
            return data[offset : offset + size].rstrip(b"\0").decode()
    raise ValueError("linked statically: it can load no extension modules")


def soname(data: bytes) -> str:
    """The name by which other files ask for this library; "" when it has none."""
    entries = dict(_dynamic(data))
    if _DT_SONAME not in entries:
        return ""
    start = _offset(data, entries[_DT_STRTAB]) + entries[_DT_SONAME]
    return data[start : data.index(b"\0", start)].decode()


def _segments(data: bytes) -> Iterator[Segment]:
    if not is_elf(data):
        raise ValueError("no ELF file of 64 bit, little endian")
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for place in range(start, start + size * count, size):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", data, place)
        yield kind, offset, address, length


def _dynamic(data: bytes) -> Iterator[tuple[int, int]]:
    for kind, offset, _, size in _segments(data):
        if kind == _DYNAMIC:
            yield from struct.iter_unpack("<QQ", data[offset : offset + size - size % 16])


def _offset(data: bytes, address: int) -> int:
    for kind, offset, start, size in _segments(data):
        if kind == _LOAD and start <= address < start + size:
            return offset + address - start
    raise ValueError(f"no segment holds address {address:#x}")
