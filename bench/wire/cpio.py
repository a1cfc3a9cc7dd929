"""Reproducible cpio archives ("newc"), as the Linux kernel unpacks them at boot, and how a cache gets one.

Same entries, same bytes: names sorted, times zero, owner root, inode numbers counted from 1. Format:
Linux Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

BLOCK = 512  # an archive is padded to this, so that another one can follow it
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    """One name in the archive. name: without a leading slash. mode: file type and permissions as in st_mode.

    data: content of a file, target of a symbolic link. device: (major, minor) of a device node.
    """

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(name: str, data: bytes, executable: bool = False) -> Entry:
    """A regular file."""
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), data)


def folder(name: str) -> Entry:
    """An (empty) folder; folders above entries need not be named."""
    return Entry(name, stat.S_IFDIR | 0o755)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int) -> Entry:
    """A character device node, for root only."""
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive: folders above its entries are added. Raises ValueError for a name twice or not relative."""
    named: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in named or not _is_plain(entry.name):
            raise ValueError(f"{entry.name!r}: a name in an archive is relative, plain and used once")
        named[entry.name] = entry
    for name in list(named):
        for parent in PurePosixPath(name).parents:
            if str(parent) != ".":
                named.setdefault(str(parent), folder(str(parent)))
    parts = [part for inode, name in enumerate(sorted(named), start=1) for part in _member(named[name], inode)]
    parts += _member(Entry(_TRAILER, 0), 0)
    body = b"".join(parts)
    return body + bytes(-len(body) % BLOCK)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that no reader ever sees a part of it; makes its folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _is_plain(name: str) -> bool:
    return bool(name) and str(PurePosixPath(name)) == name and name[0] != "/" and ".." not in name.split("/")


def _member(entry: Entry, inode: int) -> tuple[bytes, bytes]:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    numbers = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
    return head + bytes(-len(head) % 4), entry.data + bytes(-len(entry.data) % 4)
