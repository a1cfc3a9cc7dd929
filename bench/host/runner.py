"""Runs one Job: a fresh boot of its guests, watched until its end, whatever that is.

The guests end when their phases are done, at the job's deadline, when a QEMU dies, and when stdin closes (the
controller or the SSH session is gone). What was seen until then has been emitted; End is always the last record.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from qemu.qmp.error import QMPError

from bench.errors import EVIDENCE_LINES, MissingError, last_lines
from bench.host import named, oom, receive
from bench.host.actions import lacking
from bench.host.boot import Boot, SamplerError
from bench.host.cgroup import private_group
from bench.host.crew import CgroupError, Crew, Member, QemuError
from bench.host.disk import DiskError, scratch_disk
from bench.host.guest import GuestError, GuestUnsupported
from bench.host.initrd import build_initrd
from bench.host.placement import PlacementError, impossible, seat
from bench.host.policy.loop import PolicyError
from bench.host.private import private_folder
from bench.host.quiet import wait_quiet
from bench.wire.job import Job
from bench.wire.record import End, LogPart, Placed, Record, Samples, of_guest

LOG_LIMIT_BYTES = 256 << 10
FLUSH_S = 0.5
GONE = "the controller went away"

Emit = Callable[[Record], None]


# What may end a boot, and what that says of it.
_STATUS_OF: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((PlacementError, CgroupError, PolicyError), "invalid"),
    ((GuestUnsupported,), "skipped"),
    ((GuestError, SamplerError, QemuError, TimeoutError, asyncio.TimeoutError, QMPError, OSError), "failed"),
)


async def run_job(job: Job, emit: Emit, cache: Path, gone: asyncio.Event) -> bool:
    """Boots, runs and ends the guests of a job; True when every phase was run. gone: nobody listens any more."""
    _note_use(job, cache)
    try:
        job = replace(job, paths=named.resolved_paths(job.paths, cache, job.host))
    except MissingError as error:
        emit(End("skipped", f"{error.message}; run: {error.command}" if error.command else error.message))
        return False
    try:
        initrd = build_initrd(Path(job.paths.image), job.paths.modules, cache)
    except (OSError, ValueError) as error:
        emit(End("failed", f"the guest image cannot be built: {error}"))
        return False
    try:
        # In a thread: it may take a minute, in which the controller may go away.
        disk = await asyncio.to_thread(scratch_disk, cache, job.disk_bytes, gone.is_set) if job.disk_bytes else None
    except (OSError, DiskError) as error:
        emit(End("failed", str(error)))
        return False
    if not await _may_start(job, emit, gone):
        return False
    with private_folder() as folder, seat(job.placement) as place, private_group(job.cgroup, job.become) as group:
        if job.cgroup and job.cgroup.limited and isinstance(group, str):
            # Without its limits the guests would take the host's memory.
            emit(End("skipped", f"the guests of this boot need a memory cgroup with limits: {group}"))
            return False
        return await _run_in(Crew(job, folder, str(initrd), disk, place, group, emit), gone)


def _note_use(job: Job, cache: Path) -> None:
    """Whoever pushes files removes those that nobody used for a day, and a run may last longer than that."""
    for name in (job.paths.image, job.paths.kernel, job.paths.modules, sys.argv[0]):
        path = Path(name)
        if path.parent == cache and path.is_file():
            with contextlib.suppress(OSError):
                receive.touch(path)


async def _may_start(job: Job, emit: Emit, gone: asyncio.Event) -> bool:
    """Whether this host can do what is asked, and is quiet; otherwise the boot has ended, without a guest."""
    problem = impossible(job.placement, job.guest.vcpus)
    if problem:
        emit(Placed({}, problem))
        emit(End("invalid", problem))
        return False
    lacks = lacking(job)
    if lacks:
        emit(End("skipped", lacks))
        return False
    quieted = await wait_quiet(job.quiet, gone)
    emit(quieted)
    if gone.is_set():
        emit(End("failed", GONE))
    elif quieted.over:
        reason = f"the host did not get quiet within {job.quiet.deadline_s:g} s: {', '.join(quieted.over)}"
        emit(End("invalid", reason, [f"{name}: {value:g}" for name, value in quieted.readings.items()]))
    return not (gone.is_set() or quieted.over)


async def _run_in(crew: Crew, gone: asyncio.Event) -> bool:
    """Runs the crew beside its enemies: the deadline, and silence above."""
    flusher = asyncio.ensure_future(_flush(crew))
    work = asyncio.ensure_future(crew.run())
    silence = asyncio.ensure_future(gone.wait())
    tasks: set[asyncio.Future[Any]] = {work, silence}
    status, reason = "failed", ""
    try:
        await asyncio.wait(tasks, timeout=crew.job.deadline_s, return_when=asyncio.FIRST_COMPLETED)
        status, reason = _verdict(crew, work, silence)
    finally:
        for task in (*tasks, flusher):
            task.cancel()
        await asyncio.gather(*tasks, flusher, return_exceptions=True)
        await crew.end()
        _send_rest(crew, status, reason)
    return status == "ok"


def _verdict(crew: Crew, work: asyncio.Future[Any], silence: asyncio.Future[Any]) -> tuple[str, str]:
    """(status, reason) of the boot. The causes are asked in the order in which they explain each other."""
    if silence.done():
        return "failed", GONE
    if not work.done():
        return "failed", f"not done within the job's deadline of {crew.job.deadline_s:.0f} s"
    error = work.exception()
    if error is None:
        return "ok", ""
    status = next((status for kinds, status in _STATUS_OF if isinstance(error, kinds)), None)
    if status is None:
        raise error
    return status, f"{crew.culprit}{error or type(error).__name__}"


async def _flush(crew: Crew) -> None:
    # Nobody may be listening any more, which is noticed elsewhere.
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(FLUSH_S)
            rows = crew.outbox.take()
            if rows:
                crew.emit(Samples(rows))


def _send_rest(crew: Crew, status: str, reason: str) -> None:
    """The last rows, the logs, and End. Nobody may be listening any more."""
    consoles = {member.number: _tail(member.folder / "console") for member in crew.members if member.qemu}
    evidence: list[str] = []
    for member in crew.members:
        said = member.boot.dmesg if member.boot else ""
        killed = oom.report(f"{said}\n{consoles.get(member.number, '')}") if status == "failed" else []
        reason = oom.reason(killed) or reason
        evidence += _evidence(member, killed, consoles.get(member.number, ""))
    with contextlib.suppress(ConnectionError):
        rows = crew.outbox.take()
        if rows:
            crew.emit(Samples(rows))
        for member in crew.members:
            if member.qemu:
                crew.emit(LogPart(of_guest("qemu", member.number), "\n".join(member.qemu.log)))
                crew.emit(LogPart(of_guest("console", member.number), consoles[member.number]))
            if member.boot and member.boot.decisions:
                crew.emit(LogPart(of_guest("policy", member.number), member.boot.decisions))
        boots = [member.boot for member in crew.members]
        stats = crew.stage.sampler.stats.as_json() if any(boots) else {}
        first, *others = [_facts(boot) for boot in boots]
        crew.emit(End(status, reason, evidence if status != "ok" else [], stats, **first, others=others))


def _facts(boot: Optional[Boot]) -> dict[str, dict[str, Any]]:
    return {
        "clock": boot.clock if boot else {},
        "qmp": {**boot.facts, "events": boot.monitor.events} if boot else {},
    }


def _evidence(member: Member, killed: list[str], console: str) -> list[str]:
    lines = [f"qemu: {line}" for line in list(member.qemu.log)[-EVIDENCE_LINES:]] if member.qemu else []
    lines += [f"kernel: {line}" for line in killed]
    lines += [f"console: {line}" for line in last_lines(console)]
    return [f"guest {member.number}: {line}" for line in lines] if member.several else lines


def _tail(path: Path) -> str:
    """The last LOG_LIMIT_BYTES of a file, "" where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.stat(path).st_size - LOG_LIMIT_BYTES))
            return file.read().decode(errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""
