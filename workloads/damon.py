"""DAMON told by its sysfs files to page out what nobody accessed for a while (admin-guide/mm/damon/usage.rst).

The engine and the scheme of DAMON_RECLAIM, but not that module: in Linux 6.12.95 it monitors and never reclaims.
damon_reclaim_apply_parameters() gives its scheme to the running context, then commits one without any to it, and that
takes the scheme away (mm/damon/reclaim.c; damon_commit_schemes() in core.c).

A page must be found untouched twice: the first pass over a region only marks its pages (damon_pa_pageout() leaves out
young ones), the next one pages out those that still carry the mark. Both passes are within the quota.
"""

from __future__ import annotations

import os

from workloads import guestos
from workloads.guestos import Unsupported

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from typing import Any

_ADMIN = "sys/kernel/mm/damon/admin/kdamonds"
_CONTEXT = f"{_ADMIN}/0/contexts/0"
_SCHEME = f"{_CONTEXT}/schemes/0"
# As DAMON_RECLAIM has them: a page of each region is looked at every 5 ms, and every 100 ms a region is a period older.
SAMPLE_US, PERIOD_US = 5000, 100000
_NO_LIMIT, _MOST_PERIODS = 2**64 - 1, 2**32 - 1
PAGE_BYTES = 4096


def begin(root: str, min_age_s: float, quota_bytes: int | None) -> None:
    """Starts a kdamond that pages out memory of the whole guest until `end`. Raises Unsupported.

    quota_bytes: of memory that a pass goes over in a second, at most; None: a quarter of the guest.
    """
    if not os.path.exists(_at(root, f"{_ADMIN}/nr_kdamonds")):  # noqa: PTH110 - no pathlib in a guest
        raise Unsupported("this kernel has no DAMON that is told by files (CONFIG_DAMON_SYSFS)")
    _write(root, f"{_ADMIN}/nr_kdamonds", 1)
    _write(root, f"{_ADMIN}/0/contexts/nr_contexts", 1)
    if "paddr" not in _read(root, f"{_CONTEXT}/avail_operations").split():
        raise Unsupported("this kernel's DAMON does not know physical memory (CONFIG_DAMON_PADDR)")
    _write(root, f"{_CONTEXT}/operations", "paddr")
    _write_monitor(root)
    _write_scheme(root, min_age_s, quota_bytes or guestos.meminfo(root)["MemTotal"] // 4)
    _write(root, f"{_ADMIN}/0/state", "on")


def freed_bytes(root: str) -> int:
    """What it has paged out so far. Waits for the kdamond, a period at most."""
    _write(root, f"{_ADMIN}/0/state", "update_schemes_stats")
    return int(_read(root, f"{_SCHEME}/stats/sz_applied"))


def end(root: str) -> None:
    """Ends the kdamond, and with it what can be read of its CPU time."""
    _write(root, f"{_ADMIN}/0/state", "off")
    _write(root, f"{_ADMIN}/nr_kdamonds", 0)


def system_ram(iomem: str) -> list[tuple[int, int]]:
    """(start, end) of the guest's memory in the text of /proc/iomem, in whole pages; end is the first byte behind it.

    Raises ValueError where it shows none.
    """
    found = []
    for line in iomem.splitlines():
        place, _, name = line.partition(" : ")
        if name == "System RAM" and not line.startswith(" "):
            first, _, last = place.partition("-")
            start = -(-int(first, 16) // PAGE_BYTES) * PAGE_BYTES
            behind = (int(last, 16) + 1) // PAGE_BYTES * PAGE_BYTES
            if behind > start:
                found.append((start, behind))
    if not found:
        raise ValueError("/proc/iomem shows no System RAM")
    return found


def _write_monitor(root: str) -> None:
    ranges = system_ram(_read(root, "proc/iomem"))
    intervals, regions = f"{_CONTEXT}/monitoring_attrs/intervals", f"{_CONTEXT}/targets/0/regions"
    _write(root, f"{intervals}/sample_us", SAMPLE_US)
    _write(root, f"{intervals}/aggr_us", PERIOD_US)
    _write(root, f"{_CONTEXT}/targets/nr_targets", 1)
    _write(root, f"{regions}/nr_regions", len(ranges))
    for number, (start, behind) in enumerate(ranges):
        _write(root, f"{regions}/{number}/start", start)
        _write(root, f"{regions}/{number}/end", behind)


def _write_scheme(root: str, min_age_s: float, quota_bytes: int) -> None:
    """Pages out regions without any access in at least min_age_s, older ones first; no limit of time."""
    _write(root, f"{_CONTEXT}/schemes/nr_schemes", 1)
    files: dict[str, Any] = {
        "action": "pageout",
        "access_pattern/sz/min": PAGE_BYTES,
        "access_pattern/sz/max": _NO_LIMIT,
        "access_pattern/nr_accesses/min": 0,
        "access_pattern/nr_accesses/max": 0,
        "access_pattern/age/min": max(1, round(min_age_s * 1e6 / PERIOD_US)),
        "access_pattern/age/max": _MOST_PERIODS,
        "quotas/ms": 0,
        "quotas/bytes": quota_bytes,
        "quotas/reset_interval_ms": 1000,
        "quotas/weights/age_permil": 1,
    }
    for name, value in files.items():
        _write(root, f"{_SCHEME}/{name}", value)


def _at(root: str, path: str) -> str:
    return f"{root.rstrip('/')}/{path}"


def _read(root: str, path: str) -> str:
    with open(_at(root, path)) as stream:
        return stream.read()


def _write(root: str, path: str, value: object) -> None:
    with open(_at(root, path), "w") as stream:
        stream.write(str(value))
