"""Lists of CPUs as the kernel writes them ("0-3,8"), and which CPUs there are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def parse_cpus(text: str) -> tuple[int, ...]:
    """The CPUs of a list, in its order; () for an empty one. Raises ValueError."""
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, dash, last = part.partition("-")
        found += range(int(first), int(last if dash else first) + 1)
    return tuple(found)


def show_cpus(cpus: Iterable[int]) -> str:
    """The list as the kernel writes it: sorted, neighbours as a range."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def online_cpus(root: Path = Path("/")) -> tuple[int, ...]:
    """CPUs that are online. Raises OSError or ValueError where /sys does not say."""
    return parse_cpus((root / "sys/devices/system/cpu/online").read_text())
