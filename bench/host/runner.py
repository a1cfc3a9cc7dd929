"""Runs one Job: a fresh guest boot, watched until its end, whatever that is.

The guest ends when its phases are done, at the job's deadline, when QEMU dies, and when stdin closes (the controller or
the SSH session is gone). What was seen until then has been emitted; End is always the last record.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional, Union

from qemu.qmp.error import QMPError

from bench.errors import EVIDENCE_LINES, MissingError, last_lines
from bench.host import named, oom, receive
from bench.host.actions import lacking
from bench.host.boot import FLUSH_S, Boot, Outbox, SamplerError, bring_up
from bench.host.cgroup import Group, private_group
from bench.host.disk import DiskError, scratch_disk
from bench.host.guest import GuestError, GuestUnsupported
from bench.host.initrd import build_initrd
from bench.host.placement import PlacementError, Seat, impossible, seat
from bench.host.private import FALLBACK_BASE, private_folder, prune
from bench.host.process import Qemu, spawn
from bench.host.qemu import qemu_argv
from bench.host.quiet import wait_quiet
from bench.wire.job import Job
from bench.wire.record import End, LogPart, Placed, Record, Samples, Started

LOG_LIMIT_BYTES = 256 << 10
DYING_S = 1.0
LAST_WORDS_S = 0.2
GONE = "the controller went away"

Emit = Callable[[Record], None]


class CgroupError(Exception):
    """QEMU is not in the group that was made for it: what is measured there would not be its own."""


@dataclass
class _Outcome:
    """How the boot went, gathered while it goes."""

    status: str = "failed"
    reason: str = ""
    phases_done: bool = False
    boot: Optional[Boot] = None


async def run_job(job: Job, emit: Emit, cache: Path, gone: asyncio.Event) -> bool:
    """Boots, runs and ends one guest; True when every phase was run. `gone` is set when nobody listens any more."""
    for base in {Path(tempfile.gettempdir()), FALLBACK_BASE}:
        prune(base)
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
        argv = qemu_argv(job, str(folder), str(initrd), disk)
        return await _run_in(folder, job, argv, place, group, emit, gone)


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


async def _run_in(
    folder: Path,
    job: Job,
    argv: list[str],
    place: Seat,
    group: Union[Group, str],
    emit: Emit,
    gone: asyncio.Event,
) -> bool:
    outbox = Outbox()
    join = group.join if isinstance(group, Group) else None
    try:
        qemu = await spawn(argv, outbox.add, place.qemu_cpus, job.arm.host_thp == "never", join)
    except OSError as error:
        emit(End("failed", f"QEMU cannot be started: {error}"))
        return False
    emit(Started(argv, qemu.pid, dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds")))
    outcome = _Outcome()
    flusher = asyncio.ensure_future(_flush(outbox, emit))
    try:
        drive = _drive(job, qemu, outbox, folder, place.latency, group, emit, outcome)
        await _watch(job, qemu, drive, gone, outcome)
    finally:
        flusher.cancel()
        await qemu.end()
        _send_rest(qemu, outbox, folder, emit, outcome)
    return outcome.status == "ok"


async def _watch(job: Job, qemu: Qemu, boot: Coroutine[Any, Any, None], gone: asyncio.Event, outcome: _Outcome) -> None:
    """Runs the boot beside its three enemies (deadline, death of QEMU, silence above); fills in the outcome."""
    drive = asyncio.ensure_future(boot)
    death = asyncio.ensure_future(qemu.wait())
    silence = asyncio.ensure_future(gone.wait())
    tasks = {drive, death, silence}
    try:
        await asyncio.wait(tasks, timeout=job.deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if drive.done() and drive.exception() is not None:
            # A dying QEMU closes its sockets first: its exit status is the better reason, when it comes.
            await asyncio.wait({death}, timeout=DYING_S)
        elif death.done():
            # Told to quit, it is gone before its connections are closed here; else its last event may be on its way.
            await asyncio.wait({drive}, timeout=DYING_S if outcome.phases_done else LAST_WORDS_S)
        outcome.status, outcome.reason = _verdict(job, drive, death, silence, outcome)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drive(
    job: Job,
    qemu: Qemu,
    outbox: Outbox,
    folder: Path,
    latency: str,
    group: Union[Group, str],
    emit: Emit,
    outcome: _Outcome,
) -> None:
    if isinstance(group, Group) and not group.holds(qemu.pid):
        raise CgroupError(f"QEMU could not be moved into its memory cgroup {group.path}")
    async with bring_up(job, qemu, outbox, folder, latency, group) as boot:
        outcome.boot = boot
        await boot.run(emit)
        outcome.phases_done = True


def _verdict(job: Job, drive: Any, death: Any, silence: Any, outcome: _Outcome) -> tuple[str, str]:
    """(status, reason) of the boot. The causes are asked in the order in which they explain each other."""
    if silence.done():
        return "failed", GONE
    if outcome.phases_done and not (drive.done() and drive.exception()):
        return "ok", ""
    if death.done():
        return "failed", f"QEMU ended with status {death.result()}{_last_event(outcome)} {_during(outcome)}"
    if not drive.done():
        return "failed", f"not done within the job's deadline of {job.deadline_s:.0f} s"
    error = drive.exception()
    if isinstance(error, (PlacementError, CgroupError)):
        return "invalid", str(error)
    if isinstance(error, GuestUnsupported):
        return "skipped", str(error)
    if isinstance(error, (GuestError, SamplerError, TimeoutError, asyncio.TimeoutError, QMPError, OSError)):
        return "failed", str(error) or type(error).__name__
    raise error


def _last_event(outcome: _Outcome) -> str:
    events = outcome.boot.monitor.events if outcome.boot else []
    for event in reversed(events):
        if event.get("event") == "SHUTDOWN":
            return f" after a {event['data'].get('reason', 'shutdown')}"
    return ""


def _during(outcome: _Outcome) -> str:
    return "while its guest was in use" if outcome.boot else "before its sockets answered"


async def _flush(outbox: Outbox, emit: Emit) -> None:
    # Nobody may be listening any more, which is noticed elsewhere.
    with contextlib.suppress(ConnectionError):
        while True:
            await asyncio.sleep(FLUSH_S)
            rows = outbox.take()
            if rows:
                emit(Samples(rows))


def _send_rest(qemu: Qemu, outbox: Outbox, folder: Path, emit: Emit, outcome: _Outcome) -> None:
    """The last rows, the logs, and End. Nobody may be listening any more."""
    boot = outcome.boot
    console = _tail(folder / "console")
    killed = oom.report(f"{boot.dmesg if boot else ''}\n{console}") if outcome.status == "failed" else []
    outcome.reason = oom.reason(killed) or outcome.reason
    evidence = [f"qemu: {line}" for line in list(qemu.log)[-EVIDENCE_LINES:]]
    evidence += [f"kernel: {line}" for line in killed]
    evidence += [f"console: {line}" for line in last_lines(console)]
    stats = boot.sampler.stats.as_json() if boot else {}
    facts: dict[str, Any] = {**boot.facts, "events": boot.monitor.events} if boot else {}
    with contextlib.suppress(ConnectionError):
        rows = outbox.take()
        if rows:
            emit(Samples(rows))
        emit(LogPart("qemu", "\n".join(qemu.log)))
        emit(LogPart("console", console))
        failed = outcome.status != "ok"
        emit(
            End(
                outcome.status,
                outcome.reason,
                evidence if failed else [],
                stats,
                boot.clock if boot else {},
                facts,
            )
        )


def _tail(path: Path) -> str:
    """The last LOG_LIMIT_BYTES of a file, "" where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.stat(path).st_size - LOG_LIMIT_BYTES))
            return file.read().decode(errors="replace").replace("\r\n", "\n")
    except FileNotFoundError:
        return ""
