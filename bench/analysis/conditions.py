"""Why reports can do nothing in a boot that is a control, told from its facts alone.

A control counts only when the reason was recognised: nothing discarded for an unknown reason is a broken measurement.
The mechanisms are those of QEMU's virtio_balloon_handle_report() (hw/virtio/virtio-balloon.c) and of Linux
mm/page_reporting.c.
"""

from __future__ import annotations

from bench.analysis.series import NO_CURVE, Curve
from bench.analysis.values import Boot, number
from bench.wire.units import MIB, show_bytes

FAILED_DISCARD = "discard.failed_bytes"
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
    free, least = _free_after(boot), _least_free(boot)
    if free is not None and least is not None and free < least:
        found.append(f"the guest is in full use: {show_bytes(free)} free, and a pass needs {show_bytes(least)}")
    return found


def _order(boot: Boot) -> int | None:
    """The reporting order as read back by phase `setup`, else by the guest's facts."""
    answers = [phase["result"] for phase in boot.get("phases") or [] if phase.get("name") == "setup"]
    value = (answers[0] if answers else boot.get("guest") or {}).get("page_reporting_order")
    return int(value) if isinstance(value, int) else None


def _free_after(boot: Boot) -> float | None:
    """MemFree of the last snapshot after the free."""
    found = [phase["result"].get("free_bytes") for phase in boot.get("phases") or [] if phase.get("name") == "snapshot"]
    return number(found[-1]) if found else None


def _least_free(boot: Boot) -> float | None:
    order = _order(boot)
    # The low watermark itself is not asked for: the batch alone is the larger part from 64 MiB on.
    return None if order is None else float(max(MIB, BATCH_BLOCKS * (PAGE_BYTES << order)))
