"""How the host has memory back from a guest by asking for it, and gives it again: balloon and virtio-mem.

Both are targets that the guest works towards: QMP `balloon` (docs/interop of QEMU, virtio-balloon) sets the size that
the guest should have, `qom-set requested-size` how much of a virtio-mem device should be plugged. The guest may be
slower than anybody waits, or never get there (memory in use cannot be unplugged); what it reached is read back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Callable, Protocol

from bench.host.qemu import DISCARD_EVENT, PLUG_ID
from bench.wire.job import PLUG_BLOCK_BYTES, Job

# How often it is looked at whether the guest is there: `ns` is late by a twentieth of itself at most, besides one
# answer of QEMU, and never by more than POLL_S. virtio-mem may be done within milliseconds.
POLL_S, POLL_LEAST_S, POLL_SHARE = 0.02, 0.001, 0.05
PAGE_BYTES = 4096
_PLUG = {"path": f"/machine/peripheral/{PLUG_ID}"}


class Monitor(Protocol):
    """QMP, as far as it is needed here."""

    async def call(self, command: str, **arguments: Any) -> Any: ...


async def balloon(job: Job, monitor: Monitor, without_bytes: int, deadline_s: float) -> dict[str, Any]:
    """The guest's balloon holds so many bytes of its memory from now on (0: none).

    -> as `virtio_mem`, and traced: false.

    QEMU discards what the balloon takes in pages of 4 KiB, 262144 a GiB. A trace line for each made the balloon half as
    slow again (0.9 s for 512 MiB under TCG without, 1.3 s with), so there is none meanwhile.
    """
    await trace(monitor, False)
    try:
        return await ballooned(job, monitor, without_bytes, deadline_s)
    finally:
        await trace(monitor, True)


async def ballooned(job: Job, monitor: Monitor, without_bytes: int, deadline_s: float) -> dict[str, Any]:
    """As `balloon`, of which somebody else has switched the trace off."""
    asked = without_bytes // PAGE_BYTES * PAGE_BYTES
    request = monitor.call("balloon", value=job.guest.memory_bytes - asked)
    found = await _reach(request, lambda: in_balloon(job, monitor), asked, deadline_s)
    return {"wanted_bytes": without_bytes, **found, "traced": False}


async def in_balloon(job: Job, monitor: Monitor) -> int:
    """Bytes of the guest's memory that its balloon holds."""
    return job.guest.memory_bytes - int((await monitor.call("query-balloon"))["actual"])


async def trace(monitor: Monitor, enable: bool) -> None:
    """Whether QEMU tells of every discard from here on."""
    await monitor.call("trace-event-set-state", name=DISCARD_EVENT, enable=enable)


async def virtio_mem(job: Job, monitor: Monitor, without_bytes: int, deadline_s: float) -> dict[str, Any]:
    """So many bytes of the guest's pluggable memory are unplugged from now on (0: none).

    -> wanted_bytes (`without_bytes`), asked_bytes (what can be asked for of that: all that is pluggable at most, in
    whole blocks), reached_bytes, ns (from asking to reaching, or to giving up), reached.
    """
    pluggable = job.ram_parts[-1]
    asked = min(without_bytes, pluggable) // PLUG_BLOCK_BYTES * PLUG_BLOCK_BYTES
    request = monitor.call("qom-set", property="requested-size", value=pluggable - asked, **_PLUG)
    return {"wanted_bytes": without_bytes, **await _reach(request, lambda: unplugged(job, monitor), asked, deadline_s)}


async def unplugged(job: Job, monitor: Monitor) -> int:
    """Bytes of the guest's pluggable memory that are not plugged."""
    return job.ram_parts[-1] - int(await monitor.call("qom-get", property="size", **_PLUG))


async def _reach(
    request: Awaitable[Any], now: Callable[[], Awaitable[int]], asked: int, deadline_s: float
) -> dict[str, Any]:
    """Asks, then waits until the guest does without exactly `asked` bytes, or the deadline passed."""
    start = time.monotonic()
    await request
    while True:
        reached = await now()
        passed = time.monotonic() - start
        if reached == asked or passed > deadline_s:
            break
        await asyncio.sleep(min(POLL_S, max(POLL_LEAST_S, POLL_SHARE * passed)))
    return {"asked_bytes": asked, "reached_bytes": reached, "ns": int(passed * 1e9), "reached": reached == asked}
