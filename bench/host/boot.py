"""One guest that is up: QEMU, monitor, agent link and sampler, and the phases that are run on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

from bench.host import qmp
from bench.host.actions import act, filled_in
from bench.host.arrive import Newcomer
from bench.host.cgroup import Group
from bench.host.digest import files_of
from bench.host.groupreaders import CgroupReader
from bench.host.guest import ClockTie, GuestError, GuestLink, open_link
from bench.host.meeting import Meeting
from bench.host.migrate import Second
from bench.host.placement import PlacementError, moved, place
from bench.host.plateau import Plateau
from bench.host.policy.loop import Loop, PolicyError
from bench.host.prober import probing
from bench.host.process import Qemu
from bench.host.readers import Labelled, ProcessReader, RamReader, Reader, read_smaps_rollup
from bench.host.sampler import Sampler
from bench.host.scene import Scene
from bench.wire.job import Job, Phase
from bench.wire.record import LogPart, PhaseDone, Placed, Ready, Record, of_guest

SOCKET_DEADLINE_S = 10.0
LAST_WORDS_S = 5.0


class SamplerError(Exception):
    """The sampler or the trace reader failed: what was measured is not complete."""


@dataclass(frozen=True)
class Stage:
    """What guests of one job have in common. group: their memory cgroup, or why they have none. latency: what is held
    of it, for the record of the placement.
    """

    job: Job
    sampler: Sampler
    meeting: Meeting
    group: Union[Group, str]
    latency: str


class Boot:
    """Runs the phases of one guest that is up, and emits what happens. phases: of this guest, from its start on."""

    def __init__(
        self,
        stage: Stage,
        guest: int,
        qemu: Qemu,
        monitor: qmp.Qmp,
        placed: Placed,
        moved: Callable[[], str],
        link: GuestLink,
        second: Second,
        folder: Path,
    ) -> None:
        self._job = stage.job
        self._meeting = stage.meeting
        self._group = stage.group
        self.sampler = stage.sampler
        self._guest = guest
        self._qemu = qemu
        self._placed = placed
        self._moved = moved
        self._link = link
        self._second = second
        self._folder = folder
        self.monitor = monitor
        self.clock: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.dmesg = ""
        # What a loop did that was never stopped, or could not be.
        self.decisions = ""
        self._newcomers: list[Newcomer] = []
        self._loops: list[Loop] = []

    async def run(self, phases: Sequence[Phase], emit: Callable[[Record], None]) -> None:
        """Placement, READY, clocks, every phase, final answers once all guests are there.

        Raises PlacementError, GuestError, SamplerError, PolicyError or TimeoutError.
        """
        emit(self._placed)
        if self._placed.problem:
            raise PlacementError(self._placed.problem)
        if self._guest == 0:
            # While the guest boots; the digests take some 50 ms.
            emit(await asyncio.to_thread(files_of, self._job.paths.kernel, self._qemu.pid))
        emit(await self._ready())
        # Not before: it would take CPU time from the boot, which no metric looks into.
        self.sampler.start()
        begin = await self._link.tie_clocks(self._qemu.now)
        await self.monitor.start_guest_stats()
        asked_hz = 0.0 if self._guest else self._job.qmp_hz
        async with probing(self.monitor, asked_hz, self._qemu.now, self.sampler.add):
            await self._phases(phases, emit)
        self._meeting.leave(self._guest)
        # What a guest holds of the host counts until the last one has done its part.
        await self._meeting.everybody()
        problem = self._moved()
        if problem:
            raise PlacementError(problem)
        self._note_clock(begin, await self._link.tie_clocks(self._qemu.now))
        emit(LogPart(of_guest("dmesg", self._guest), await self._dmesg()))
        self.facts = await self.monitor.facts()

    async def _phases(self, phases: Sequence[Phase], emit: Callable[[Record], None]) -> None:
        try:
            for phase in phases:
                emit(await self._phase(phase))
                self._check()
        except GuestError:
            # A task that the guest's kernel killed: its messages say why.
            with contextlib.suppress(GuestError, asyncio.TimeoutError):
                words = await asyncio.wait_for(self._dmesg(), LAST_WORDS_S)
                emit(LogPart(of_guest("dmesg", self._guest), words))
            raise

    async def _dmesg(self) -> str:
        """The guest kernel's messages; kept for who tells how the boot ended."""
        self.dmesg = str((await self._link.call("dmesg")).result["text"])
        return self.dmesg

    async def _ready(self) -> Ready:
        left = self._job.ready_deadline_s - self._qemu.age()
        try:
            facts = await asyncio.wait_for(self._link.ready(), max(left, 0.0))
        except asyncio.TimeoutError:
            raise TimeoutError(f"the guest did not say READY within {self._job.ready_deadline_s:.0f} s") from None
        return Ready(round(self._qemu.age(), 4), facts, self._guest)

    async def _phase(self, phase: Phase) -> PhaseDone:
        start = self._qemu.now()
        result: dict[str, Any] = {}
        times: tuple[Optional[int], Optional[int]] = (None, None)
        if phase.kind == "guest":
            answer = await self._link.call(phase.op, **self._filled_in(phase))
            result, times = answer.result, (answer.start_ns, answer.end_ns)
        elif phase.kind == "settle":
            result = {"settled": await self._settle(phase.args)}
        elif phase.kind == "host":
            result = await act(phase.op, self._scene(), self._filled_in(phase))
        elif phase.kind == "hold":
            await asyncio.sleep(phase.args["s"])
        elif phase.kind == "meet":
            await self._meeting.wait(phase.args["phases"])
        else:
            raise GuestError(f"phase {phase.name}: unknown kind {phase.kind!r}")
        end = self._qemu.now()
        self._meeting.done(self._guest, phase.name, result)
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
            guest=self._guest,
        )

    async def end(self) -> None:
        """Ends what was started beside the guest."""
        while self._newcomers:
            await self._newcomers.pop().end()
        while self._loops:
            loop = self._loops.pop()
            self.decisions = loop.log()
            await loop.abandon()

    def _scene(self) -> Scene:
        return Scene(
            self._job,
            self._qemu.pid,
            self.monitor,
            self._group,
            folder=self._folder,
            now=self._qemu.now,
            newcomers=self._newcomers,
            second=self._second,
            loops=self._loops,
        )

    def _filled_in(self, phase: Phase) -> dict[str, Any]:
        return filled_in(phase.args, self._meeting.results(self._guest))

    async def _settle(self, args: dict[str, Any]) -> bool:
        """Waits for the plateau, min_s at least and max_s at most; whether it was reached."""
        plateau = Plateau(args["window_s"], args["tolerance_bytes"])
        start = self._qemu.now()
        while True:
            await asyncio.sleep(1 / self._job.sample_hz)
            self._check()
            latest = self.sampler.latest_ram(of_guest("ram", self._guest))
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
        self.monitor.check()
        died = next((loop.error for loop in self._loops if loop.error), "")
        if died:
            raise PolicyError(died)

    def _note_clock(self, begin: ClockTie, end: ClockTie) -> None:
        self.clock = {
            "offset_s": begin.offset_s,
            "error_s": max(begin.error_s, end.error_s),
            "drift_s": end.offset_s - begin.offset_s,
            "wall_step_s": self._qemu.wall_step_s,
        }


@contextlib.asynccontextmanager
async def bring_up(stage: Stage, guest: int, qemu: Qemu, folder: Path) -> AsyncIterator[Boot]:
    """Monitor, placement, link and counters of a QEMU that was just spawned; all closed again at the end.

    folder: that guest's own, with its sockets.
    """
    job = alike(stage.job, guest)
    async with qmp.connect(folder / "qmp", SOCKET_DEADLINE_S) as monitor:
        vcpus = await monitor.vcpu_threads()
        # Early: every moment before it, the guest runs where it should not.
        placed = replace(place(job, qemu.pid, vcpus, stage.latency), guest=guest)
        stage.sampler.join(_readers(job, guest, qemu.pid, vcpus))
        link = await open_link(folder / "agent", SOCKET_DEADLINE_S)
        second = Second(job, qemu.argv, folder, qemu.pid, monitor, stage.group)
        boot = Boot(stage, guest, qemu, monitor, placed, lambda: moved(job, qemu.pid, vcpus), link, second, folder)
        try:
            yield boot
        finally:
            await boot.end()
            await second.end()
            # Before QEMU goes: its counters go with it. The first guest to leave does so when all are done.
            stage.sampler.stop()
            link.close()
        await monitor.quit()


def _readers(job: Job, guest: int, pid: int, vcpus: Sequence[int]) -> list[Reader]:
    own = (RamReader(pid, job.arm.backing, job.ram_parts), ProcessReader(pid, vcpus))
    # The cgroup is that of all guests.
    return [Labelled(reader, guest) for reader in own] if guest else [*own, CgroupReader(pid)]


def alike(job: Job, guest: int) -> Job:
    """The job as this guest's own: its vCPUs have other ones of the CPUs for guests than those of the guest before."""
    cpus = job.placement.guest_cpus
    if not (cpus and guest):
        return job
    first = guest * job.guest.vcpus % len(cpus)
    return replace(job, placement=replace(job.placement, guest_cpus=cpus[first:] + cpus[:first]))
