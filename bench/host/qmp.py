"""QMP through qemu.qmp: connect, the few queries that a boot records, and the events seen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from qemu.qmp import ConnectError, EventListener, ExecInterruptedError, ExecuteError, QMPClient, Runstate
from qemu.qmp.error import QMPError

from bench.host.qemu import BALLOON_ID

STATS_INTERVAL_S = 5
LAST_EVENTS_S = 0.1
# Beyond its connection state the library logs only what it also raises.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class MonitorLostError(QMPError):
    """QEMU closed its monitor's connection: who lives on without one cannot be asked, told or believed."""

    def __init__(self) -> None:
        super().__init__("QEMU's monitor (QMP) was closed while its guest was in use")


class Qmp:
    """A connected monitor. `events` grows as QEMU sends them (name, timestamp, data)."""

    def __init__(self, client: QMPClient) -> None:
        self._client = client
        self.events: list[dict[str, Any]] = []

    async def call(self, command: str, **arguments: Any) -> Any:
        """The answer of one command. Raises qemu.qmp.QMPError."""
        self.check()
        try:
            return await self._client.execute(command, arguments or None)
        except ExecInterruptedError as error:
            raise MonitorLostError from error

    def check(self) -> None:
        """Raises MonitorLostError when the connection is gone. Nobody else would notice while nothing is asked."""
        if self._client.runstate != Runstate.RUNNING:
            raise MonitorLostError

    async def vcpu_threads(self) -> list[int]:
        """Thread ids of the vCPUs on the host."""
        return [int(cpu["thread-id"]) for cpu in await self.call("query-cpus-fast")]

    async def start_guest_stats(self) -> None:
        """Asks the balloon driver for statistics every STATS_INTERVAL_S, where there is a balloon."""
        with contextlib.suppress(ExecuteError):
            path = f"/machine/peripheral/{BALLOON_ID}"
            await self.call("qom-set", path=path, property="guest-stats-polling-interval", value=STATS_INTERVAL_S)

    async def facts(self) -> dict[str, Any]:
        """What QEMU says of the guest: status, balloon, guest statistics, memory, KVM. What it lacks is absent."""
        queries: dict[str, tuple[str, dict[str, Any]]] = {
            "status": ("query-status", {}),
            "balloon": ("query-balloon", {}),
            "guest_stats": ("qom-get", {"path": f"/machine/peripheral/{BALLOON_ID}", "property": "guest-stats"}),
            "memory": ("query-memory-size-summary", {}),
            "kvm": ("query-kvm", {}),
            "kvm_vm_stats": ("query-stats", {"target": "vm"}),
        }
        answers: dict[str, Any] = {}
        for key, (command, arguments) in queries.items():
            with contextlib.suppress(ExecuteError):
                answers[key] = await self.call(command, **arguments)
        return answers

    async def quit(self) -> None:
        """Ends QEMU; it may be gone before it answers."""
        with contextlib.suppress(QMPError, ConnectionError, asyncio.TimeoutError):
            await asyncio.wait_for(self.call("quit"), 2)


@contextlib.asynccontextmanager
async def connect(path: Path, deadline_s: float) -> AsyncIterator[Qmp]:
    """The monitor behind a socket file that QEMU is about to make. Raises TimeoutError or qemu.qmp.QMPError."""
    client = QMPClient("bench")
    monitor = Qmp(client)
    listener = EventListener()
    client.register_listener(listener)
    try:
        await asyncio.wait_for(_connect(client, path), deadline_s)
    except asyncio.TimeoutError:
        raise TimeoutError(f"QEMU's QMP socket did not answer within {deadline_s:.0f} s") from None
    collector = asyncio.ensure_future(_collect(listener, monitor.events))
    try:
        yield monitor
    except Exception:
        # The last event of a dying QEMU says why it died, and may come after whatever failed first.
        await asyncio.sleep(LAST_EVENTS_S)
        raise
    finally:
        collector.cancel()
        with contextlib.suppress(QMPError, ConnectionError, EOFError, asyncio.CancelledError):
            await client.disconnect()


async def _connect(client: QMPClient, path: Path) -> None:
    while True:
        try:
            await client.connect(str(path))
        except ConnectError as error:
            # The file appears a moment before QEMU listens on it.
            if not isinstance(error.exc, (FileNotFoundError, ConnectionRefusedError)):
                raise
            await asyncio.sleep(0.005)
        else:
            return


async def _collect(listener: EventListener, into: list[dict[str, Any]]) -> None:
    async for message in listener:
        into.append(dict(message))  # noqa: PERF401 - an event has to be seen when it comes, not at the end
