"""`bench` as real processes, for the guest tests: what they start, and what is left of them on this machine."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from forked import Bench

from bench.host import cgroup, swapfile
from bench.wire.cache import cache_folder


def bench(*args: str, cwd: Path) -> Bench:
    return Bench(*args, cwd=cwd)


def finished(process: Bench) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.wait(), out, err


# Children inherit it: what other tests started beside these is theirs.
MARK = "BENCH_TESTS_OF"
os.environ[MARK] = str(os.getpid())


def cmdlines() -> dict[int, list[str]]:
    """Of what these tests started, whoever its parent is now."""
    mine, found = f"{MARK}={os.getpid()}".encode(), {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mine in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().split("\0")
            except OSError:
                continue  # it ended meanwhile
    return found


def qemus() -> list[int]:
    return [pid for pid, argv in cmdlines().items() if "qemu-system" in argv[0]]


def guests() -> list[int]:
    """QEMUs in a memory cgroup that a host side made; a canary guest is in none."""
    found = []
    for group in cgroup.there():
        with contextlib.suppress(OSError):
            found += [int(word) for word in (group / "cgroup.procs").read_text().split()]
    return found


def host_sides() -> list[int]:
    return [pid for pid, argv in cmdlines().items() if any("fpr-host-" in word for word in argv)]


def parent_of(pid: int) -> int:
    """The host side that runs this QEMU; another one holds the host."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def boots(run: Path) -> list[dict[str, Any]]:
    path = run / "boots.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def left_here() -> list[str]:
    """What of any bench is on this machine: memory cgroups, swap files, QEMUs."""
    files = swapfile.there([cache_folder()])
    return [*map(str, cgroup.there()), *map(str, files), *(f"QEMU {pid}" for pid in qemus())]
