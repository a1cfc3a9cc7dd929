"""What the doctor says about room and rights: memory, the scratch folder, root, who has the host, what they left."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from bench.host.journal import COMMAND, Entry
from bench.host.knobs import read_text
from bench.host.readers import parse_colon_table
from bench.wire.finding import UNKNOWN, Finding
from bench.wire.holder import held_by
from bench.wire.units import MIB

LOW_MEMORY_BYTES = 1024 * MIB
# A fetched kernel, the guest image and an initramfs of each kernel take about 150 MiB.
LEAST_ROOM_BYTES = 200 * MIB
LOW_ROOM_BYTES = 1024 * MIB
LEAST_FILES = 1000


def memory(root: Path, need_bytes: int) -> Finding:
    """need_bytes: what a run needs, 0 where that is not known."""
    available = parse_colon_table(read_text(root / "proc/meminfo") or "").get("MemAvailable")
    if available is None:
        return Finding("info", "free memory", UNKNOWN)
    value = f"{available / MIB:.0f} MiB available"
    if need_bytes and available < need_bytes:
        return Finding(
            "error", "free memory", value, f"the plan needs {need_bytes / MIB:.0f} MiB: make its guests smaller"
        )
    if available < LOW_MEMORY_BYTES:
        return Finding("warn", "free memory", value, "little room for guests; the host may swap or reclaim")
    return Finding("ok", "free memory", value)


def room(folder: Path) -> Finding:
    """Free space where the suite keeps its files on this host, and what it keeps there."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return Finding("info", "scratch folder", f"{folder}: {UNKNOWN}")
    # What this user may fill; root's reserve is not counted.
    return judged_room(folder, disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None)


def judged_room(folder: Path, free_bytes: int, free_files: Optional[int]) -> Finding:
    """free_files: None on a file system that does not count them."""
    kept = f"bench keeps {used_bytes(folder) / MIB:.0f} MiB here: rm -r {shlex.quote(str(folder))} removes it"
    value = f"{free_bytes / MIB:.0f} MiB free; {kept}"
    few_files = free_files is not None and free_files < LEAST_FILES
    if free_bytes < LEAST_ROOM_BYTES or few_files:
        least = f"{LEAST_FILES} new files" if few_files else f"{LEAST_ROOM_BYTES // MIB} MiB"
        return Finding("error", "scratch folder", value, f"{least} are needed: make room, or name another (scratch:)")
    if free_bytes < LOW_ROOM_BYTES:
        return Finding(
            "warn", "scratch folder", value, "little room for kernels and images; or name another (scratch:)"
        )
    return Finding("ok", "scratch folder", value)


def used_bytes(folder: Path) -> int:
    """Disk blocks of everything in the folder; what goes away meanwhile, or is not readable, is not counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_blocks * 512
            except OSError:
                continue
    return total


def rights(become: str, prefix: Optional[Sequence[str]], why_not: str) -> Finding:
    """become, prefix, why_not: as in bench.host.packages (root_prefix, why_not_root)."""
    if prefix is not None:
        return Finding("ok", "root", "by sudo without a password" if prefix else "this user is root")
    if become == "none":
        return Finding("ok", "root", "not used (become: none): nothing can be installed or tuned")
    advice = "let this user run sudo without a password, or write become: none"
    return Finding("error", "root", why_not, advice)


def in_use(holder: Optional[Mapping[str, Any]], problem: str = "") -> Finding:
    """holder: as bench.host.lock.holder says; problem: why that could not be asked."""
    if problem:
        return Finding("error", "host in use", UNKNOWN, problem)
    if holder is None:
        return Finding("ok", "host in use", "by nobody")
    advice = "wait for its end; no canary guest was booted, so as not to disturb it"
    return Finding("warn", "host in use", held_by(holder), advice)


def tuned(entries: Optional[Sequence[Entry]], held: bool, problem: str = "") -> Finding:
    """entries: what is changed and will be put back; None where that could not be read. held: a run has the host."""
    what = "tuned settings"
    if entries is None:
        return Finding("warn", what, UNKNOWN, problem)
    if not entries:
        return Finding("warn" if problem else "ok", what, "none", problem)
    value = ", ".join(dict.fromkeys(entry.name for entry in entries))
    lines = tuple(
        f"{entry.file}: {entry.before} -> {entry.wanted or 'changed with it'}, by {entry.by}" for entry in entries
    )
    runs = sorted({entry.by for entry in entries if entry.by != COMMAND})
    if not runs:
        return Finding("info", what, value, "by bench tune; they stay until restored", "bench tune restore", lines)
    if held:
        return Finding("info", what, value, "by the run that has the host, which puts them back", evidence=lines)
    return Finding(
        "warn", what, value, f"left by {', '.join(runs)}, which did not end well", "bench tune restore", lines
    )
