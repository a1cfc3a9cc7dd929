"""Round trips to QEMU's monitor at fixed deadlines: how long its main loop keeps somebody waiting.

QEMU holds its one big lock while it discards what a guest reports (hw/virtio/virtio-balloon.c,
virtio_balloon_handle_report()), so a burst of reports shows here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from bench.host.qmp import Qmp
from bench.wire.record import Row


@contextlib.asynccontextmanager
async def probing(
    monitor: Qmp, hz: float, clock: Callable[[], float], rows: Callable[[list[Row]], None]
) -> AsyncIterator[None]:
    """Asks `query-status` at `hz` inside the block; a row ("qmp", "round_trip_s") a question, at its sending. 0: never.

    A question that is late because the one before took long is not made up for. Leaving the block raises what ended
    the questions early: then the series is not complete.
    """
    if not hz:
        yield
        return
    asking = asyncio.ensure_future(_ask(monitor, 1 / hz, clock, rows))
    try:
        yield
    finally:
        early = asking.done()
        asking.cancel()
        if early:
            asking.result()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


async def _ask(monitor: Qmp, period_s: float, clock: Callable[[], float], rows: Callable[[list[Row]], None]) -> None:
    begin, due = clock(), 0
    while True:
        await asyncio.sleep(max(0.0, begin + due * period_s - clock()))
        sent = clock()
        await monitor.call("query-status")
        rows([(round(sent, 6), "qmp", "round_trip_s", round(clock() - sent, 6))])
        due = max(due, int((clock() - begin) / period_s)) + 1
