"""The guests of one job: each is started when its track says so, runs its phases beside the others, and is watched.

Whatever ends one of them before its time ends the job, and is told with the guest's number where there are several.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from bench.host.boot import Boot, Stage, bring_up
from bench.host.cgroup import Group
from bench.host.disk import Disk
from bench.host.groupreaders import PressureReader
from bench.host.guest import GuestError
from bench.host.meeting import Meeting
from bench.host.placement import Seat
from bench.host.process import Qemu, spawn
from bench.host.qemu import qemu_argv
from bench.host.readers import MeminfoReader, VmstatReader
from bench.host.sampler import Sampler
from bench.wire.job import Job, Phase
from bench.wire.record import PhaseDone, Record, Row, Started
from bench.wire.units import show_bytes

DYING_S = 1.0
LAST_WORDS_S = 0.2
# Less than this is none: every CPU keeps a few free slots to itself (mm/swap_slots.c).
NO_SWAP_BYTES = 4 << 20


class CgroupError(Exception):
    """QEMU is not in the group that was made for it: what is measured there would not be its own."""


class QemuError(Exception):
    """QEMU cannot be started, or ended before its time."""


class Outbox:
    """Where rows wait until they are sent: those of the trace, and those of the sampler."""

    def __init__(self, sampler: Sampler) -> None:
        self._rows: list[Row] = []
        self._sampler = sampler
        self._least_swap_free: Optional[float] = None

    def add(self, rows: list[Row]) -> None:
        self._rows.extend(rows)

    def take(self) -> list[Row]:
        self._collect()
        rows, self._rows = self._rows, []
        return rows

    def least_swap_free(self) -> Optional[float]:
        """Bytes of swap that the host had left when it had least; None before anybody looked."""
        self._collect()
        return self._least_swap_free

    def _collect(self) -> None:
        rows = self._sampler.take()
        free = [value for _, source, name, value in rows if (source, name) == ("meminfo", "SwapFree_bytes")]
        if self._least_swap_free is not None:
            free.append(self._least_swap_free)
        self._least_swap_free = min(free, default=None)
        self._rows.extend(rows)


class Crew:
    """All guests of a job. folder: private; guest 0 has its sockets in it, the others in folders of their own there."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        initrd: str,
        disk: Optional[Disk],
        place: Seat,
        group: Union[Group, str],
        emit: Callable[[Record], None],
    ) -> None:
        self.job, self.folder, self.initrd, self.disk, self.place, self.emit = job, folder, initrd, disk, place, emit
        self.zero_s: Optional[float] = None
        # Whose trouble ended the job, as the beginning of a sentence.
        self.culprit = ""
        sampler = Sampler((VmstatReader(), MeminfoReader(), PressureReader()), job.sample_hz, self.now)
        self.stage = Stage(job, sampler, Meeting(job.guests, job.phases), group, place.latency)
        self.outbox = Outbox(sampler)
        self.members = [Member(self, number) for number in range(job.guests)]

    def now(self) -> float:
        """Seconds since the first QEMU was started; 0 before."""
        return 0.0 if self.zero_s is None else time.monotonic() - self.zero_s

    async def run(self) -> None:
        """Until every guest has run its phases. Raises what ended the first one that did not, QEMU's end before all."""
        tasks = [asyncio.ensure_future(member.run()) for member in self.members]
        try:
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if others:
                # What failed may only have seen that another one's QEMU is dying.
                done |= (await asyncio.wait(others, timeout=DYING_S))[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        errors = [(error, number) for number, task in enumerate(tasks) if task in done and (error := task.exception())]
        for error, number in sorted(errors, key=lambda found: not isinstance(found[0], QemuError)):
            self.culprit = f"guest {number}: " if self.job.guests > 1 else ""
            raise error

    async def end(self) -> None:
        """Every QEMU is gone after this."""
        self.stage.sampler.stop()
        await asyncio.gather(*(member.qemu.end() for member in self.members if member.qemu))


class Member:
    """One guest: its QEMU once it was started, and its boot once QEMU answered."""

    def __init__(self, crew: Crew, number: int) -> None:
        self._crew = crew
        self.number = number
        self.several = crew.job.guests > 1
        self.folder = crew.folder / f"g{number}" if number else crew.folder
        self.qemu: Optional[Qemu] = None
        self.boot: Optional[Boot] = None
        self._phases_done = False

    async def run(self) -> None:
        before, boot, phases = _cut(self._crew.job.track(self.number))
        meeting = self._crew.stage.meeting
        for phase in before:
            await self._wait(phase)
        if boot and meeting.declines(boot.args.get("unless")):
            meeting.leave(self.number)
            return
        self.qemu = qemu = await self._started()
        if boot:
            self._done(boot, self._crew.now())
        await self._watched(qemu, phases)

    async def _wait(self, phase: Phase) -> None:
        """A phase of a guest that is not there yet."""
        start = self._crew.now()
        if phase.kind == "meet":
            await self._crew.stage.meeting.wait(phase.args["phases"])
        elif phase.kind == "hold":
            await asyncio.sleep(phase.args["s"])
        else:
            raise GuestError(f"phase {phase.name}: {phase.kind!r} before the guest is started")
        self._done(phase, start)

    def _done(self, phase: Phase, start_s: float) -> None:
        end = self._crew.now()
        self._crew.stage.meeting.done(self.number, phase.name, {})
        facts = (phase.name, phase.kind, phase.iteration, phase.warmup, round(start_s, 6), round(end, 6))
        self._crew.emit(PhaseDone(*facts, guest=self.number))

    async def _started(self) -> Qemu:
        crew, job, group = self._crew, self._crew.job, self._crew.stage.group
        self.folder.mkdir(mode=0o700, exist_ok=True)
        argv = qemu_argv(job, str(self.folder), crew.initrd, crew.disk, self.number)
        join = group.join if isinstance(group, Group) else None
        no_thp = job.arm.host_thp == "never"
        try:
            qemu = await spawn(argv, crew.outbox.add, crew.place.qemu_cpus, no_thp, join, crew.zero_s, self.number)
        except OSError as error:
            raise QemuError(f"QEMU cannot be started: {error}") from error
        if crew.zero_s is None:
            crew.zero_s = qemu.zero_s
        wall = dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds")
        crew.emit(Started(argv, qemu.pid, wall, self.number))
        return qemu

    async def _watched(self, qemu: Qemu, phases: Sequence[Phase]) -> None:
        """The boot beside its enemy, the death of QEMU."""
        drive = asyncio.ensure_future(self._drive(qemu, phases))
        death = asyncio.ensure_future(qemu.wait())
        tasks: set[asyncio.Future[Any]] = {drive, death}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not death.done():
                if drive.exception() is not None:
                    # A dying QEMU closes its sockets first: its exit status is the better reason, when it comes.
                    await asyncio.wait({death}, timeout=DYING_S)
            elif not drive.done():
                # Told to quit, it is gone before its connections are closed; else its last event may be on its way.
                await asyncio.wait({drive}, timeout=DYING_S if self._phases_done else LAST_WORDS_S)
            if self._phases_done and not (drive.done() and drive.exception()):
                return
            if death.done():
                raise QemuError(self._ended(death.result()))
            drive.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _drive(self, qemu: Qemu, phases: Sequence[Phase]) -> None:
        group = self._crew.stage.group
        if isinstance(group, Group) and not group.holds(qemu.pid):
            raise CgroupError(f"QEMU could not be moved into its memory cgroup {group.path}")
        async with bring_up(self._crew.stage, self.number, qemu, self.folder) as boot:
            self.boot = boot
            await boot.run(phases, self._crew.emit)
            self._phases_done = True

    def _ended(self, status: int) -> str:
        event = self._last_event()
        killed = self._killed_by_limit() if status == -signal.SIGKILL else ""
        during = "while its guest was in use" if self.boot else "before its sockets answered"
        return f"QEMU ended with status {status}{event} {during}{killed}"

    def _last_event(self) -> str:
        for event in reversed(self.boot.monitor.events if self.boot else []):
            if event.get("event") == "SHUTDOWN":
                return f" after a {event['data'].get('reason', 'shutdown')}"
        return ""

    def _killed_by_limit(self) -> str:
        group, asked = self._crew.stage.group, self._crew.job.cgroup
        if not (isinstance(group, Group) and group.oom_kills and asked):
            return ""
        limits = ((asked.limit_bytes, "of memory"), (asked.swap_limit_bytes, "of swap"))
        texts = [f"{show_bytes(size)} {what}" for size, what in limits if size is not None]
        left = self._crew.outbox.least_swap_free() if asked.swap_limit_bytes != 0 else None
        swap = "" if left is None or left >= NO_SWAP_BYTES else ", the host had no swap left"
        return f": its memory cgroup was full ({', '.join(texts) or 'no limits'}){swap}, and the kernel killed it"


def _cut(track: Sequence[Phase]) -> tuple[Sequence[Phase], Optional[Phase], Sequence[Phase]]:
    """What comes before the guest's start, the phase that starts it if there is one, and what comes behind."""
    for index, phase in enumerate(track):
        if phase.kind == "boot":
            return track[:index], phase, track[index + 1 :]
    return (), None, track
