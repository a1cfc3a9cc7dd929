"""What the host itself does to a guest's memory in a phase of kind "host".

balloon, virtio-mem: the guest is asked for memory, or gets it again (bench.host.giving). pageout: the guest's RAM goes
to swap now (bench.host.pageout). discard: a page of the guest's RAM is thrown away although it is in use, by a hole in
the file behind it; what a guest would see if reporting ever lost a page. strain: looks how short of memory the host is.
arrive, leave: a process takes memory in the guests' group, and goes (bench.host.arrive).
policy_start, policy_stop: a loop beside the guest begins and ends (bench.host.policy).
migrate, inspect, back: the guest is moved to a second QEMU, looked at there, and taken back (bench.host.migrate).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import subprocess
import tempfile
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Callable, Optional

from bench.host import giving
from bench.host.arrive import Newcomer
from bench.host.cgroup import Group
from bench.host.migrate import without_room
from bench.host.pageout import pageout
from bench.host.policy import kinds
from bench.host.policy.loop import PolicyError
from bench.host.readers import find_memfds, parse_colon_table
from bench.host.scene import Scene
from bench.host.strain import counters, strain
from bench.wire.job import Job

_LIBC = ctypes.CDLL(None, use_errno=True)
_PUNCH_HOLE_KEEP_SIZE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h
# q35 puts RAM above so much behind the hole of the PCI devices (QEMU hw/i386/pc_q35.c); below it, guest-physical
# address and offset in the RAM are the same.
_LOW_RAM_BYTES = 2 << 30


Action = Callable[[Scene, Mapping[str, Any]], Awaitable[dict[str, Any]]]


async def act(op: str, scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
    """Does `op`; its answer, or {"skipped": reason}. Raises ValueError, OSError, qemu.qmp.QMPError."""
    if op not in _ACTIONS:
        raise ValueError(f"unknown host action {op!r}; known: {', '.join(_ACTIONS)}")
    return await _ACTIONS[op](scene, args)


def _in_thread(blocking: Callable[[Scene, Mapping[str, Any]], dict[str, Any]]) -> Action:
    """The monitor and the sampler's rows go on meanwhile."""

    async def action(scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(blocking, scene, args)

    return action


def _by(way: Callable[[Job, giving.Monitor, int, float], Awaitable[dict[str, Any]]]) -> Action:
    """args: bytes that the guest is to do without, deadline_s."""

    async def action(scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
        return await way(scene.job, scene.monitor, int(args["bytes"]), float(args["deadline_s"]))

    return action


def _second(op: str) -> Action:
    """What bench.host.migrate.Second does."""

    async def action(scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
        if scene.second is None:
            raise ValueError(f"{op}: this guest has no second QEMU to go to")
        found: dict[str, Any] = await getattr(scene.second, op)(args)
        return found

    return action


def _discard(scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
    """args: guest_physical, bytes. Throws these bytes of the guest's RAM away: bytes."""
    offset, size, (ram_bytes, *plugged) = int(args["guest_physical"]), int(args["bytes"]), scene.job.ram_parts
    known = scene.job.arm.backing == "memfd" and not plugged and platform.machine() == "x86_64"
    if not known or offset + size > min(_LOW_RAM_BYTES, ram_bytes):
        return {"skipped": "only a page of memfd RAM below 2 GiB of an x86 guest can be discarded by hand"}
    (file,) = find_memfds(scene.root / f"proc/{scene.pid}/fd", [ram_bytes])
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        problem = _punch(descriptor, offset, size)
    finally:
        os.close(descriptor)
    if problem:
        raise OSError(problem, f"fallocate: {os.strerror(problem)}")
    return {"bytes": size}


def _punch(descriptor: int, offset: int, size: int) -> int:
    fallocate = _LIBC.fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return ctypes.get_errno() if fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, offset, size) else 0


def filled_in(args: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """args, with {"from": [phase, key]} replaced by what that phase answered. Raises ValueError where it did not."""
    found: dict[str, Any] = {}
    for name, value in args.items():
        if isinstance(value, dict) and set(value) == {"from"}:
            phase, key = value["from"]
            if key not in results.get(phase, {}):
                raise ValueError(f"phase {phase} answered no {key}")
            found[name] = results[phase][key]
        else:
            found[name] = value
    return found


def lacking(job: Job, root: Path = Path("/")) -> Optional[str]:
    """Why this host cannot run the arm as it is meant, None where it can: to be asked before QEMU starts."""
    if job.arm.backing == "hugetlb":
        table = parse_colon_table((root / "proc/meminfo").read_text())
        free, needed = table.get("HugePages_Free", 0), job.guest.memory_bytes >> 21
        if free < needed:
            pages = f"{needed} huge pages of 2 MiB are needed, {free} are free"
            return f"{pages}; run: sudo sysctl vm.nr_hugepages={table.get('HugePages_Total', 0) + needed - free}"
    if job.arm.backing == "file":
        room = os.statvfs(tempfile.gettempdir())
        free = room.f_bavail * room.f_frsize
        if free < job.guest.memory_bytes:
            return (
                f"the file behind the guest's RAM may grow to {job.guest.memory_bytes >> 20} MiB, and "
                f"{tempfile.gettempdir()} has {free >> 20} MiB free; set TMPDIR to a folder with more room"
            )
    if job.arm.host_thp in ("always", "madvise"):
        folder = root / "sys/kernel/mm/transparent_hugepage"
        file = folder / ("enabled" if job.arm.backing == "anonymous" else "shmem_enabled")
        wanted = {"always": ("always",), "madvise": ("madvise", "advise")}[job.arm.host_thp]
        now = file.read_text().partition("[")[2].partition("]")[0] if file.exists() else "nothing"
        if now not in wanted:
            return f"{file} is {now}, not {wanted[-1]}; run: echo {wanted[-1]} | sudo tee {file}"
    if job.arm.pluggable:
        return _without_device(job.paths.qemu, "virtio-mem-pci")
    return (_without_hinting(job.paths.qemu) if job.arm.hinting else None) or without_room(job, root)


def _without_device(qemu: str, device: str) -> Optional[str]:
    """Why this QEMU has no such device, by asking it; None where it has. One that cannot be started says so later."""
    asked = _asked(qemu, device)
    if asked is None:
        return None
    said = (asked.stderr.strip().splitlines() or ["it did not say why"])[-1]
    return None if asked.returncode == 0 else f"{qemu} has no device {device}: {said}"


def _strain(scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
    """args: before (counters of an earlier phase, absent for the first), swapped_bytes, pressure_share."""
    limits = (float(args.get("swapped_bytes", 0)), float(args.get("pressure_share", 1)))
    return strain(counters(scene.now(), scene.group, scene.root), args.get("before"), *limits)


async def _arrive(scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
    """args: bytes, deadline_s. Somebody takes so much memory beside the guests, and keeps it until `leave`."""
    if not isinstance(scene.group, Group):
        return {"skipped": f"nobody may take memory without a limit: {scene.group}"}
    cpus = scene.job.placement.guest_cpus
    newcomer = await Newcomer.begin(int(args["bytes"]), scene.group, scene.now, cpus)
    scene.newcomers.append(newcomer)
    return await newcomer.take(float(args["deadline_s"]))


async def _leave(scene: Scene, _args: Mapping[str, Any]) -> dict[str, Any]:
    """Who arrived is gone, and what they had; bytes and swapped_bytes: what that was at the end."""
    had = [newcomer.memory() for newcomer in scene.newcomers]
    while scene.newcomers:
        await scene.newcomers.pop().end()
    return {key: sum(one[key] or 0 for one in had) for key in ("bytes", "swapped_bytes")}


async def _policy_start(scene: Scene, args: Mapping[str, Any]) -> dict[str, Any]:
    """args: kind, and the parameters of the loop."""
    if scene.loops:
        raise ValueError("a policy runs already: stop it first")
    given = dict(args)
    loop = kinds.start(scene, str(given.pop("kind")), given)
    scene.loops.append(loop)
    return {"kind": loop.kind}


async def _policy_stop(scene: Scene, _args: Mapping[str, Any]) -> dict[str, Any]:
    """What bench.host.policy.loop.Loop.stop answers."""
    if not scene.loops:
        raise PolicyError("no loop runs beside this guest")
    # It stays there until it ended well: what a loop decided before it failed is asked for later.
    told = await scene.loops[-1].stop()
    scene.loops.pop()
    return told


def _asked(qemu: str, device: str) -> Optional[subprocess.CompletedProcess[str]]:
    try:
        argv = [qemu, "-device", f"{device},help"]
        return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _without_hinting(qemu: str) -> Optional[str]:
    asked = _asked(qemu, "virtio-balloon-pci")
    if asked is None or "free-page-hint" in asked.stdout:
        return None
    return f"the balloon device of {qemu} has no free-page-hint"


_ACTIONS: dict[str, Action] = {
    "pageout": _in_thread(lambda scene, _args: pageout(scene.job, scene.pid, scene.root, scene.group)),
    "discard": _in_thread(_discard),
    "balloon": _by(giving.balloon),
    "virtio-mem": _by(giving.virtio_mem),
    "strain": _in_thread(_strain),
    "arrive": _arrive,
    "leave": _leave,
    "policy_start": _policy_start,
    "policy_stop": _policy_stop,
    **{op: _second(op) for op in ("migrate", "inspect", "back")},
}
