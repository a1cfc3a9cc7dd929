"""One guest that is up: QEMU, monitor, agent link and sampler, and the phases that are run on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Optional, Union

from bench.host import qmp
from bench.host.actions import Scene, act, filled_in
from bench.host.cgroup import Group
from bench.host.digest import files_of
from bench.host.guest import ClockTie, GuestError, GuestLink, open_link
from bench.host.placement import PlacementError, moved, place
from bench.host.plateau import Plateau
from bench.host.prober import probing
from bench.host.process import Qemu
from bench.host.readers import (
    CgroupReader,
    MeminfoReader,
    PressureReader,
    ProcessReader,
    RamReader,
    VmstatReader,
    read_smaps_rollup,
)
from bench.host.sampler import Sampler
from bench.wire.job import Job, Phase
from bench.wire.record import LogPart, PhaseDone, Placed, Ready, Record

SOCKET_DEADLINE_S = 10.0
FLUSH_S = 0.5
LAST_WORDS_S = 5.0


class SamplerError(Exception):
    """The sampler or the trace reader failed: what was measured is not complete."""


class Boot:
    """Runs the phases of a job on a guest that is up, and emits what happens."""

    def __init__(
        self,
        job: Job,
        qemu: Qemu,
        monitor: qmp.Qmp,
        placed: Placed,
        moved: Callable[[], str],
        link: GuestLink,
        sampler: Sampler,
        group: Union[Group, str],
    ) -> None:
        self._job = job
        self._qemu = qemu
        self._placed = placed
        self._moved = moved
        self._link = link
        self.monitor = monitor
        self.sampler = sampler
        self._group = group
        self.clock: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.dmesg = ""
        self._results: dict[str, dict[str, Any]] = {}

    async def run(self, emit: Callable[[Record], None]) -> None:
        """Placement, READY, clocks, every phase, final answers.

        Raises PlacementError, GuestError, SamplerError or TimeoutError.
        """
        emit(self._placed)
        if self._placed.problem:
            raise PlacementError(self._placed.problem)
        # While the guest boots; the digests take some 50 ms.
        emit(await asyncio.to_thread(files_of, self._job.paths.kernel, self._qemu.pid))
        emit(await self._ready())
        # Not before: it would take CPU time from the boot, which no metric looks into.
        self.sampler.start()
        begin = await self._link.tie_clocks(self._qemu.now)
        await self.monitor.start_guest_stats()
        async with probing(self.monitor, self._job.qmp_hz, self._qemu.now, self.sampler.add):
            await self._phases(emit)
        problem = self._moved()
        if problem:
            raise PlacementError(problem)
        self._note_clock(begin, await self._link.tie_clocks(self._qemu.now))
        emit(LogPart("dmesg", await self._dmesg()))
        self.facts = await self.monitor.facts()

    async def _phases(self, emit: Callable[[Record], None]) -> None:
        try:
            for phase in self._job.phases:
                emit(await self._phase(phase))
                self._check()
        except GuestError:
            # A task that the guest's kernel killed: its messages say why.
            with contextlib.suppress(GuestError, asyncio.TimeoutError):
                emit(LogPart("dmesg", await asyncio.wait_for(self._dmesg(), LAST_WORDS_S)))
            raise

    async def _dmesg(self) -> str:
        """The guest kernel's messages; kept for who tells how the boot ended."""
        self.dmesg = str((await self._link.call("dmesg")).result["text"])
        return self.dmesg

    async def _ready(self) -> Ready:
        left = self._job.ready_deadline_s - self._qemu.now()
        try:
            facts = await asyncio.wait_for(self._link.ready(), max(left, 0.0))
        except asyncio.TimeoutError:
            raise TimeoutError(f"the guest did not say READY within {self._job.ready_deadline_s:.0f} s") from None
        return Ready(round(self._qemu.now(), 4), facts)

    async def _phase(self, phase: Phase) -> PhaseDone:
        start = self._qemu.now()
        result: dict[str, Any] = {}
        times: tuple[Optional[int], Optional[int]] = (None, None)
        if phase.kind == "guest":
            answer = await self._link.call(phase.op, **filled_in(phase.args, self._results))
            result, times = answer.result, (answer.start_ns, answer.end_ns)
        elif phase.kind == "settle":
            result = {"settled": await self._settle(phase.args)}
        elif phase.kind == "host":
            scene = Scene(self._job, self._qemu.pid, self.monitor, self._group)
            result = await act(phase.op, scene, filled_in(phase.args, self._results))
        elif phase.kind == "hold":
            await asyncio.sleep(phase.args["s"])
        else:
            raise GuestError(f"phase {phase.name}: unknown kind {phase.kind!r}")
        end = self._qemu.now()
        self._results[phase.name] = result
        return PhaseDone(
            phase.name,
            phase.kind,
            phase.iteration,
            phase.warmup,
            round(start, 6),
            round(end, 6),
            result,
            guest_start_ns=times[0],
            guest_end_ns=times[1],
            smaps=read_smaps_rollup(self._qemu.pid),
        )

    async def _settle(self, args: dict[str, Any]) -> bool:
        """Waits for the plateau, min_s at least and max_s at most; whether it was reached."""
        plateau = Plateau(args["window_s"], args["tolerance_bytes"])
        start = self._qemu.now()
        while True:
            await asyncio.sleep(1 / self._job.sample_hz)
            self._check()
            latest = self.sampler.latest_ram
            if latest is not None and latest[0] >= start:
                plateau.add(*latest)
            waited = self._qemu.now() - start
            if waited >= args["min_s"] and plateau.settled:
                return True
            if waited >= args["max_s"]:
                return False

    def _check(self) -> None:
        problem = self.sampler.stats.error or self._qemu.trace_error
        if problem:
            raise SamplerError(problem)

    def _note_clock(self, begin: ClockTie, end: ClockTie) -> None:
        self.clock = {
            "offset_s": begin.offset_s,
            "error_s": max(begin.error_s, end.error_s),
            "drift_s": end.offset_s - begin.offset_s,
            "wall_step_s": self._qemu.wall_step_s,
        }


@contextlib.asynccontextmanager
async def bring_up(
    job: Job, qemu: Qemu, rows: Outbox, folder: Path, latency: str, group: Union[Group, str]
) -> AsyncIterator[Boot]:
    """Monitor, placement, sampler and link of a QEMU that was just spawned; all closed again at the end.

    latency: what is held of it, for the record of the placement. group: QEMU's own memory cgroup, or why it has none.
    """
    async with qmp.connect(folder / "qmp", SOCKET_DEADLINE_S) as monitor:
        vcpus = await monitor.vcpu_threads()
        # Early: every moment before it, the guest runs where it should not.
        placed = place(job, qemu.pid, vcpus, latency)
        readers = (
            RamReader(qemu.pid, job.arm.backing, job.ram_parts),
            ProcessReader(qemu.pid, vcpus),
            CgroupReader(qemu.pid),
            VmstatReader(),
            MeminfoReader(),
            PressureReader(),
        )
        sampler = Sampler(readers, job.sample_hz, qemu.now)
        rows.sampler = sampler
        link = await open_link(folder / "agent", SOCKET_DEADLINE_S)
        try:
            yield Boot(job, qemu, monitor, placed, lambda: moved(job, qemu.pid, vcpus), link, sampler, group)
        finally:
            # Before QEMU goes: its counters go with it.
            sampler.stop()
            link.close()
        await monitor.quit()


class Outbox:
    """Where rows wait until they are sent: those of the trace, and those of the sampler once it runs."""

    def __init__(self) -> None:
        self._rows: list[Any] = []
        self.sampler: Optional[Sampler] = None

    def add(self, rows: list[Any]) -> None:
        self._rows.extend(rows)

    def take(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows + (self.sampler.take() if self.sampler else [])
