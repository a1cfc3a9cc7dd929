"""Why reports can do nothing in a boot that is a control, told from its facts alone.

A control counts only when the reason was recognised: nothing discarded for an unknown reason is a broken measurement.
The mechanisms are those of QEMU's virtio_balloon_handle_report() (hw/virtio/virtio-balloon.c) and of Linux
mm/page_reporting.c.
"""

from __future__ import annotations

from bench.analysis.series import NO_CURVE, Curve
from bench.analysis.values import FAILED, Boot
from bench.wire.units import show_bytes

FAILED_DISCARD = FAILED
HUGE_PAGE_ORDER = 9
# page_reporting.c skips a zone with less free than its low watermark and a full batch of 32 blocks.
BATCH_BLOCKS = 32
PAGE_BYTES = 4096


def recognised(boot: Boot, lines: dict[str, Curve]) -> list[str]:
    """Each condition under which reports have no effect, with what was seen of it."""
    guest = boot.get("guest") or {}
    found = []
    if guest.get("page_poison"):
        found.append("the guest poisons freed pages (page_poison=1): QEMU ignores its reports, to keep the pattern")
    failed = len(lines.get(FAILED_DISCARD, NO_CURVE))
    if boot.get("mem_lock") and failed:
        found.append(f"QEMU has locked its memory (mem-lock=on): all {failed} discards failed")
    order = _order(boot)
    if boot.get("backing") == "hugetlb" and order is not None and order < HUGE_PAGE_ORDER:
        size = show_bytes(PAGE_BYTES << order)
        found.append(
            f"reports of {size} and more against huge pages of 2 MiB: QEMU ignores what is not aligned to them"
        )
    full = _in_full_use(boot)
    if full:
        found.append(f"the guest is in full use: {full}")
    return found


def _order(boot: Boot) -> int | None:
    """The reporting order as read back by phase `setup`, else by the guest's facts."""
    answers = [phase["result"] for phase in boot.get("phases") or [] if phase.get("name") == "setup"]
    value = (answers[0] if answers else boot.get("guest") or {}).get("page_reporting_order")
    return int(value) if isinstance(value, int) else None


def _in_full_use(boot: Boot) -> str:
    """Free memory against what a pass needs, zone by zone, where no zone has that after the free; else "".

    mm/page_reporting.c, page_reporting_process_zone(): low watermark + BATCH_BLOCKS blocks of the reporting order.
    """
    found = [phase["result"].get("zones") for phase in boot.get("phases") or [] if phase.get("name") == "snapshot"]
    zones, order = (found[-1] if found else None), _order(boot)
    if not zones or order is None:
        return ""
    needs = [
        (zone["name"], zone["free_bytes"], zone["low_bytes"] + BATCH_BLOCKS * (PAGE_BYTES << order)) for zone in zones
    ]
    if any(free >= least for _, free, least in needs):
        return ""
    return ", ".join(
        f"{name} has {show_bytes(free)} free, a pass needs {show_bytes(least)}" for name, free, least in needs
    )
