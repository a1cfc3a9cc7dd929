"""The swap that a host has: what it is, and on which device. Seconds of swapping say nothing without that."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.host.knobs import read_text

_ZSWAP = ("enabled", "compressor", "zpool", "max_pool_percent")


@dataclass(frozen=True)
class Swap:
    """A line of /proc/swaps. kind: "file" or "partition", as the kernel says it."""

    name: str
    kind: str
    size_bytes: int
    used_bytes: int
    priority: int


def active(root: Path = Path("/")) -> list[Swap]:
    """All swap in use, in the kernel's order; [] where that cannot be read."""
    lines = (read_text(root / "proc/swaps") or "").splitlines()[1:]
    return [_line(*line.split()) for line in lines if len(line.split()) == 5]


def _line(name: str, kind: str, size: str, used: str, priority: str) -> Swap:
    plain = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), name)
    return Swap(plain, kind, int(size) * 1024, int(used) * 1024, int(priority))


def facts(root: Path = Path("/")) -> list[dict[str, Any]]:
    """For the provenance: name, kind, bytes and priority of each, and the disk below it with what that is, if known.

    kind is "zram" for a compressed device in memory. rotational: as the kernel says; a virtual disk may say anything.
    """
    found = []
    for swap in active(root):
        about: dict[str, Any] = {
            "name": swap.name,
            "kind": "zram" if swap.name.startswith("/dev/zram") else swap.kind,
            "bytes": swap.size_bytes,
            "priority": swap.priority,
        }
        found.append({**about, **_disk(swap.name, root)})
    return found


def zswap(root: Path = Path("/")) -> str:
    """ "enabled Y, compressor lzo …"; "" for a kernel without it."""
    folder = root / "sys/module/zswap/parameters"
    texts = {name: read_text(folder / name) for name in _ZSWAP}
    return ", ".join(f"{name} {text}" for name, text in texts.items() if text)


def _disk(name: str, root: Path) -> dict[str, Any]:
    try:
        found = (root / name.lstrip("/")).stat()
    except OSError:
        return {}
    number = found.st_rdev if stat.S_ISBLK(found.st_mode) else found.st_dev
    place = (root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    # A partition has no queue of its own, its disk has.
    for folder in (place, place.parent):
        rotational = read_text(folder / "queue/rotational")
        if rotational:
            return {"disk": folder.name, "rotational": rotational == "1"}
    return {}
