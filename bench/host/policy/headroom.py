"""Whether the host needs memory: what is left below the limit of the guests' group, or of the host without a limit."""

from __future__ import annotations

from bench.host.cgroup import Group
from bench.host.readers import parse_colon_table
from bench.host.scene import Scene


def headroom(scene: Scene) -> tuple[int, int]:
    """(bytes left, bytes in all): of the group below its limit, of the host (MemAvailable, MemTotal) else.

    Raises OSError where the host's own numbers cannot be read.
    """
    limit = scene.job.cgroup.limit_bytes if scene.job.cgroup else None
    current = scene.group.current_bytes if isinstance(scene.group, Group) else None
    if limit is not None and current is not None:
        return max(0, limit - current), limit
    table = parse_colon_table((scene.root / "proc/meminfo").read_text())
    return table["MemAvailable"], table["MemTotal"]
