"""Counters of who is short of memory: PSI of the host, and what the memory cgroup of a process says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from bench.host.procfile import ProcFile
from bench.host.readers import Triple


class PressureReader:
    """PSI totals in microseconds; absent on a kernel without PSI, or with PSI switched off."""

    def __init__(self, root: Path = Path("/")) -> None:
        folder = root / "proc/pressure"
        self._files = {name: ProcFile(folder / name) for name in ("memory", "cpu", "io") if _readable(folder / name)}

    def read(self) -> Iterator[Triple]:
        for name, file in self._files.items():
            for kind, total in _pressures(file.text()):
                yield ("psi", f"{name}_{kind}_us", total)


class CgroupReader:
    """The memory counters of the cgroup that a process is in; v2 and v1. The root group of v2 has none.

    Beside memory and swap: processes that its limit killed (oom_kills), and its PSI totals of memory (v2).
    """

    _FILES: ClassVar[dict[str, str]] = {
        "memory.current": "current_bytes",
        "memory.swap.current": "swap_bytes",
        "memory.usage_in_bytes": "current_bytes",
        "memory.memsw.usage_in_bytes": "current_and_swap_bytes",
    }

    def __init__(self, pid: int, root: Path = Path("/")) -> None:
        folder = _memory_cgroup(pid, root)
        found = {folder / name: label for name, label in self._FILES.items()}
        self._files = [(ProcFile(path), label) for path, label in found.items() if path.exists()]
        kills = (folder / name for name in ("memory.events", "memory.oom_control"))
        self._kills = [ProcFile(path) for path in kills if path.exists()]
        pressure = folder / "memory.pressure"
        self._pressure = [ProcFile(pressure)] if pressure.exists() and _readable(pressure) else []

    def read(self) -> Iterator[Triple]:
        for file, label in self._files:
            yield ("cgroup", label, float(file.text()))
        for file in self._kills:
            for line in file.text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    yield ("cgroup", "oom_kills", float(value))
        for file in self._pressure:
            for kind, total in _pressures(file.text()):
                yield ("cgroup", f"pressure_{kind}_us", total)


def _pressures(text: str) -> Iterator[tuple[str, float]]:
    """("some" or "full", total in microseconds) of a PSI file (Documentation/accounting/psi.rst)."""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        yield kind, float(rest.rpartition("total=")[2])


def _readable(path: Path) -> bool:
    try:
        path.read_text()
    except OSError:  # EOPNOTSUPP where PSI is compiled in but off, as distributions ship it
        return False
    return True


def _memory_cgroup(pid: int, root: Path) -> Path:
    base = root / "sys/fs/cgroup"
    unified = base
    for line in (root / f"proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return base / "memory" / path.lstrip("/")
        if controllers == "":
            unified = base / path.lstrip("/")
    return unified
