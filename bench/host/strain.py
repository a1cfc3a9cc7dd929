"""How short of memory the host of a group is: what went to swap, and how long somebody was stalled.

Swap is counted for the whole host (pswpout of /proc/vmstat): no cgroup counts it before Linux 6.13, and nobody else is
at work while a boot is measured. PSI is the group's own where it has one (version 2), else the host's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Union

from bench.host.cgroup import Group
from bench.host.readers import parse_words

# The kernel counts swap in its own pages.
PAGE_BYTES = 4096


def counters(now_s: float, group: Union[Group, str], root: Path = Path("/")) -> dict[str, Any]:
    """t_s, swapped_out_bytes and swapped_in_bytes (since the host's start), stalled_s (PSI memory "some", None without
    PSI), group_bytes (memory of the group).
    """
    vmstat = parse_words((root / "proc/vmstat").read_text())
    return {
        "t_s": now_s,
        "swapped_out_bytes": vmstat["pswpout"] * PAGE_BYTES,
        "swapped_in_bytes": vmstat["pswpin"] * PAGE_BYTES,
        "stalled_s": _stalled_s(group, root),
        "group_bytes": group.current_bytes if isinstance(group, Group) else None,
    }


def strain(
    now: dict[str, Any], before: Optional[dict[str, Any]], swapped_bytes: float, pressure_share: float
) -> dict[str, Any]:
    """{"counters": now}, and against the counters of `before`: out_bytes, in_bytes, stalled_share (None without PSI),
    and full: whether more was swapped out, or somebody was stalled for more of the time, than the limits say.
    """
    if before is None:
        return {"counters": now}
    out, back = (now[name] - before[name] for name in ("swapped_out_bytes", "swapped_in_bytes"))
    passed, stalled = now["t_s"] - before["t_s"], None
    if now["stalled_s"] is not None and before["stalled_s"] is not None and passed > 0:
        stalled = (now["stalled_s"] - before["stalled_s"]) / passed
    full = out > swapped_bytes or (stalled is not None and stalled > pressure_share)
    return {"counters": now, "out_bytes": out, "in_bytes": back, "stalled_share": stalled, "full": full}


def _stalled_s(group: Union[Group, str], root: Path) -> Optional[float]:
    own = [group.path / "memory.pressure"] if isinstance(group, Group) else []
    for path in (*own, root / "proc/pressure/memory"):
        try:
            first = path.read_text().partition("\n")[0]
        except OSError:
            continue
        return float(first.rpartition("total=")[2]) / 1e6
    return None
