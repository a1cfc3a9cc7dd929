"""A guest is moved to a second QEMU on the same host, looked at there, and goes on in the first one.

QMP `migrate` over a unix socket in the boot's private folder (QEMU docs/devel/migration). The second QEMU has the argv
of the first one and waits with its CPUs stopped (`-S`), so that the memory of both can be compared before either runs
on. What the first one holds stays there (run state `postmigrate`): after the look the second QEMU ends and QMP `cont`
takes the guest up again where it left. So both sides can be verified, whatever became of the other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

from qemu.qmp.error import QMPError

from bench.errors import last_lines
from bench.host import qmp
from bench.host.cgroup import NEEDLESS, Group
from bench.host.giving import Monitor
from bench.host.guest import GuestError, GuestLink, open_link
from bench.host.process import Qemu, spawn
from bench.host.qemu import HINT_ID, incoming_argv, migration_uri
from bench.host.readers import RamReader, available_bytes
from bench.host.samepages import compare
from bench.wire.job import Job
from bench.wire.record import Row
from bench.wire.units import MIB, show_bytes

POLL_S = 0.02
SOCKET_DEADLINE_S = 10.0
# For what takes no time unless something is wrong: a migration that was cancelled, a guest that has arrived.
SOON_S = 15.0
DYING_S = 1.0
# QEMU without the guest's RAM, with some to spare; under TCG its translation buffer is in it.
QEMU_OWN_BYTES = 256 * MIB
# Of QMP query-migrate, and what it is called here; times there are in ms (QEMU qapi/migration.json).
_TIMES = {"total-time": "total_s", "downtime": "down_s", "setup-time": "setup_s"}
_COUNTS = {
    "transferred": "sent_bytes",
    "normal": "normal_pages",
    "duplicate": "zero_pages",
    "dirty-sync-count": "syncs",
    "total": "ram_bytes",
    "remaining": "remaining_bytes",
    "page-size": "page_bytes",
}
# What comparing both memories says, besides of how long it took.
_COMPARED = ("pages", "different_pages", "zero_different_pages", "emptied_pages", "compare_ns")
_UNDER_WAY = ("setup", "active", "pre-switchover", "device", "wait-unplug", "cancelling", "none")

T = TypeVar("T")


class MigrationError(GuestError):
    """The guest could not be moved, or its second QEMU is gone."""


def statistics(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What query-migrate says, in seconds, bytes and pages; None for what it does not say."""
    ram = answer.get("ram", {})
    times = {name: None if key not in answer else answer[key] / 1e3 for key, name in _TIMES.items()}
    return {"status": answer.get("status"), **times, **{name: ram.get(key) for key, name in _COUNTS.items()}}


def without_room(job: Job, root: Path = Path("/")) -> Optional[str]:
    """Why this host cannot hold a guest twice, for a job that migrates; None where it can, or does not say."""
    if not any(phase.op == "migrate" for phase in job.phases):
        return None
    free, needed = available_bytes(root), 2 * (job.guest.memory_bytes + QEMU_OWN_BYTES)
    if free is None or free >= needed:
        return None
    return (
        f"a guest that is migrated on one host is there twice: {show_bytes(needed)} are needed, {show_bytes(free)} are "
        "available (MemAvailable); give it less memory"
    )


def hint_cpu_ns(pid: int, root: Path = Path("/")) -> Optional[int]:
    """CPU time of QEMU's thread for hints, by its name (util/iothread.c, with debug-threads=on); None without one."""
    for task in (root / f"proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == f"IO {HINT_ID}":
            return int((task / "schedstat").read_text().split()[0])
    return None


class Second:
    """The second QEMU of a job, one at a time. argv, folder, pid, monitor: of the first one.

    group: the memory cgroup that both are in, or why there is none. root: where proc is mounted.
    """

    def __init__(
        self,
        job: Job,
        argv: Sequence[str],
        folder: Path,
        pid: int,
        monitor: Monitor,
        group: Union[Group, str] = NEEDLESS,
        root: Path = Path("/"),
    ) -> None:
        self._job = job
        self._argv = list(argv)
        self._folder, self._other = folder, folder / "2"
        self._pid = pid
        self._first = monitor
        self._group = group
        self._root = root
        self._stack = contextlib.AsyncExitStack()
        self._qemu: Optional[Qemu] = None
        self._second: Optional[qmp.Qmp] = None
        self._link: Optional[GuestLink] = None
        self._status: Optional[int] = None
        self._discarded: list[Row] = []

    async def migrate(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """args: bytes_per_s (0: no limit), deadline_s. Moves the guest, and has it run over there.

        -> what `statistics` says, converged (False: cancelled at the deadline, the guest runs on where it was),
        source_bytes, destination_bytes (residency of the guest's RAM in each QEMU; the first before the migration),
        source_after_bytes, pages, different_pages, zero_different_pages and emptied_pages (as `compare`; None where
        it cannot be read),
        compare_ns, hint_cpu_ns (of the thread that takes hints and does nothing else; None without one).
        Raises MigrationError, qemu.qmp.QMPError, OSError.
        """
        await self._start()
        before, hints = self._resident(self._pid), hint_cpu_ns(self._pid, self._root)
        # 0 is no limit, here and there (QEMU migration/migration.c, migrate_params_apply).
        await self._first.call("migrate-set-parameters", **{"max-bandwidth": int(args["bytes_per_s"])})
        await self._first.call("migrate", uri=migration_uri(str(self._other)))
        found = await self._ended(float(args["deadline_s"]))
        answer = {**statistics(found), "converged": found["status"] == "completed", "source_bytes": before}
        spent = hint_cpu_ns(self._pid, self._root)
        answer["hint_cpu_ns"] = None if hints is None or spent is None else spent - hints
        if not answer["converged"]:
            await self.end()
            return answer
        await self._alive(self._arrived())
        sides = await self._sides()
        assert self._second is not None
        await self._alive(self._second.call("cont"))
        return {**answer, **sides}

    async def inspect(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """args: checks ([name, op of the agent, its arguments] each), deadline_s (of all of them).

        -> answers (by the check's name), alive (it answered all), reason and console (last lines) where it did not,
        destination_bytes, discarded_bytes (by the second QEMU until now). {"skipped": reason} where no guest came over.
        Raises MigrationError where the second QEMU died of something else than its guest.
        """
        if self._link is None or self._qemu is None:
            return {"skipped": "the migration did not converge: there is no guest to look at"}
        answers: dict[str, Any] = {}
        deadline_s = float(args["deadline_s"])
        answer: dict[str, Any] = {"answers": answers, "alive": True}
        try:
            asked = self._alive(self._ask(args["checks"], answers))
            await asyncio.wait_for(asked, deadline_s)
        except asyncio.TimeoutError:
            answer.update(alive=False, reason=f"it did not answer within {deadline_s:g} s")
        except GuestError as error:
            # 0: its guest panicked, and would have booted again.
            if self._status not in (None, 0):
                raise
            answer.update(alive=False, reason=str(error))
        if not answer["alive"]:
            answer["console"] = last_lines(self._console())
        else:
            answer["destination_bytes"] = self._resident(self._qemu.pid)
        discarded = sum(value for _, _, name, value in self._discarded if name == "bytes")
        return {**answer, "discarded_bytes": discarded}

    async def back(self, _args: Mapping[str, Any]) -> dict[str, Any]:
        """The second QEMU ends, and the guest goes on in the first one."""
        await self.end()
        await self._first.call("cont")
        return {}

    async def end(self) -> None:
        """The second QEMU is gone, however far it came."""
        self._link = None
        await self._stack.aclose()
        self._qemu = self._second = None

    async def _start(self) -> None:
        self._other.mkdir(mode=0o700, exist_ok=True)
        argv = incoming_argv(self._argv, str(self._folder), str(self._other))
        join = self._group.join if isinstance(self._group, Group) else None
        no_thp = self._job.arm.host_thp == "never"
        self._discarded = []
        self._qemu = await spawn(argv, self._discarded.extend, os.sched_getaffinity(self._pid), no_thp, join)
        self._stack.push_async_callback(self._qemu.end)
        opened = self._stack.enter_async_context(qmp.connect(self._other / "qmp", SOCKET_DEADLINE_S))
        self._second = await self._alive(opened)
        self._link = await self._alive(open_link(self._other / "agent", SOCKET_DEADLINE_S))
        self._stack.callback(self._link.close)

    async def _alive(self, work: Awaitable[T]) -> T:
        """What `work` gives. Raises MigrationError where the second QEMU ends first, or fails at it."""
        assert self._qemu is not None
        task, death = asyncio.ensure_future(work), asyncio.ensure_future(self._qemu.wait())
        try:
            await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and task.exception() is not None:
                # A dying QEMU closes its sockets first.
                await asyncio.wait({death}, timeout=DYING_S)
            if death.done():
                self._status = death.result()
                raise MigrationError(self._death(self._status))
            return task.result()
        except (QMPError, TimeoutError, asyncio.TimeoutError, ConnectionError) as error:
            raise MigrationError(f"the second QEMU: {str(error) or type(error).__name__}") from error
        finally:
            for pending in (task, death):
                pending.cancel()
            await asyncio.gather(task, death, return_exceptions=True)

    def _death(self, status: int) -> str:
        said = list(self._qemu.log)[-1:] if self._qemu else []
        return ": ".join([f"the second QEMU ended with status {status}", *said])

    async def _ended(self, deadline_s: float) -> dict[str, Any]:
        """query-migrate's answer when the migration is over: completed, or cancelled at the deadline."""
        found = await self._until_over(deadline_s)
        if found["status"] in _UNDER_WAY:
            await self._first.call("migrate_cancel")
            # It may have ended in the meantime.
            over = await self._until_over(SOON_S)
            if over["status"] in _UNDER_WAY:
                raise MigrationError(f"the migration could not be cancelled within {SOON_S:.0f} s")
            # What was sent until then: a cancelled migration says no more of that.
            found = over if over["status"] == "completed" else {**found, **over, "ram": found.get("ram", {})}
        if found["status"] == "failed":
            await self._why_failed(str(found.get("error-desc") or "QEMU does not say why"))
        return found

    async def _why_failed(self, said: str) -> None:
        assert self._qemu is not None
        with contextlib.suppress(asyncio.TimeoutError):
            status = await asyncio.wait_for(self._qemu.wait(), DYING_S)
            raise MigrationError(f"the migration failed: {self._death(status)}")
        raise MigrationError(f"the migration failed: {said}")

    async def _until_over(self, deadline_s: float) -> dict[str, Any]:
        end = time.monotonic() + deadline_s
        while True:
            found: dict[str, Any] = await self._first.call("query-migrate")
            if found.get("status") not in _UNDER_WAY or time.monotonic() > end:
                return {"status": "none", **found}
            await asyncio.sleep(POLL_S)

    async def _arrived(self) -> None:
        """The first QEMU is done before the second one has read all of it."""
        assert self._second is not None
        end = time.monotonic() + SOON_S
        while (await self._second.call("query-status"))["status"] == "inmigrate":
            if time.monotonic() > end:
                raise TimeoutError(f"the guest did not arrive within {SOON_S:.0f} s")
            await asyncio.sleep(POLL_S)

    async def _sides(self) -> dict[str, Any]:
        """What both hold, while both are stopped."""
        assert self._qemu is not None
        held = {
            "source_after_bytes": self._resident(self._pid),
            "destination_bytes": self._resident(self._qemu.pid),
        }
        if self._job.arm.backing == "anonymous":
            return {**held, **dict.fromkeys(_COMPARED)}
        start = time.monotonic()
        seen = await asyncio.to_thread(compare, self._pid, self._qemu.pid, self._job.ram_parts, self._root)
        return {
            **held,
            "pages": seen["pages"],
            "different_pages": seen["different_pages"],
            "zero_different_pages": seen["zero_pages"],
            "emptied_pages": seen["emptied_pages"],
            "compare_ns": int((time.monotonic() - start) * 1e9),
        }

    async def _ask(self, checks: Sequence[Sequence[Any]], answers: dict[str, Any]) -> None:
        assert self._link is not None
        for name, op, arguments in checks:
            answers[name] = (await self._link.call(op, **arguments)).result

    def _resident(self, pid: int) -> int:
        return sum(RamReader(pid, self._job.arm.backing, self._job.ram_parts, self._root).now())

    def _console(self) -> str:
        with contextlib.suppress(OSError):
            return (self._other / "console").read_text(errors="replace")
        return ""
