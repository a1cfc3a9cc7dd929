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


class Monitor(Protocol):
    """QMP, as far as it is needed here."""

    async def call(self, command: str, **arguments: Any) -> Any: ...


async def balloon(job: Job, monitor: Monitor, without_bytes: int, deadline_s: float) -> dict[str, Any]:
    """The guest's balloon holds so many bytes of its memory from now on (0: none).

    -> as `virtio_mem`, and traced: false.

    QEMU discards what the balloon takes in pages of 4 KiB, 262144 a GiB. A trace line for each made the balloon half as
    slow again (0.9 s for 512 MiB under TCG without, 1.3 s with), so there is none meanwhile.
    """
    whole = job.guest.memory_bytes
    asked = without_bytes // PAGE_BYTES * PAGE_BYTES

    async def held() -> int:
        return whole - int((await monitor.call("query-balloon"))["actual"])

    await _trace(monitor, False)
    try:
        request = monitor.call("balloon", value=whole - asked)
        found = await _reach(request, held, asked, deadline_s)
    finally:
        await _trace(monitor, True)
    return {"wanted_bytes": without_bytes, **found, "traced": False}


async def _trace(monitor: Monitor, enable: bool) -> None:
    await monitor.call("trace-event-set-state", name=DISCARD_EVENT, enable=enable)


async def virtio_mem(job: Job, monitor: Monitor, without_bytes: int, deadline_s: float) -> dict[str, Any]:
    """So many bytes of the guest's pluggable memory are unplugged from now on (0: none).

    -> wanted_bytes (`without_bytes`), asked_bytes (what can be asked for of that: all that is pluggable at most, in
    whole blocks), reached_bytes, ns (from asking to reaching, or to giving up), reached.
    """
    pluggable = job.ram_parts[-1]
    asked = min(without_bytes, pluggable) // PLUG_BLOCK_BYTES * PLUG_BLOCK_BYTES
    device = {"path": f"/machine/peripheral/{PLUG_ID}"}

    async def unplugged() -> int:
        return pluggable - int(await monitor.call("qom-get", property="size", **device))

    request = monitor.call("qom-set", property="requested-size", value=pluggable - asked, **device)
    return {"wanted_bytes": without_bytes, **await _reach(request, unplugged, asked, deadline_s)}


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
