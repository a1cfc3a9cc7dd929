"""As much of ELF (64 bit, little endian) as it takes to carry a program and its libraries into a guest."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 1, 5, 14, 15, 29

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
    return next(iter(_strings(data, _DT_SONAME)), "")


def needed(data: bytes) -> list[str]:
    """The names of the libraries that this file asks for; [] for one that is linked statically."""
    return _strings(data, _DT_NEEDED)


def search_path(data: bytes) -> list[str]:
    """Folders in which this file wants its libraries to be looked for first; $ORIGIN is that of the file itself."""
    paths = _strings(data, _DT_RUNPATH) or _strings(data, _DT_RPATH)
    return [folder for path in paths for folder in path.split(":") if folder]


def machine(data: bytes) -> int:
    """e_machine: the architecture that it is for. Raises ValueError for what is no such ELF file."""
    if not is_elf(data):
        raise ValueError("no ELF file of 64 bit, little endian")
    (number,) = struct.unpack_from("<H", data, 18)
    return int(number)


def _strings(data: bytes, kind: int) -> list[str]:
    """The texts of all dynamic entries of one kind."""
    entries = list(_dynamic(data))
    table = dict(entries).get(_DT_STRTAB)
    if table is None:
        return []
    starts = [_offset(data, table) + value for key, value in entries if key == kind]
    return [data[start : data.index(b"\0", start)].decode() for start in starts]


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
