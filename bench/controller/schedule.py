"""From a plan to jobs: one boot of every arm in each block, in random order, with deadlines and estimates. Pure.

The order depends on seed, host, cell and block alone, so leaving out a cell or adding a block changes no other order.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.controller.cells import Cell
from bench.controller.inventory import Host
from bench.controller.planfile import Plan
from bench.wire.job import Arm, Cgroup, Guest, Job, Paths, Phase, Placement
from bench.wire.units import GIB, MIB
from workloads.catalog import WORKLOADS
from workloads.shape import Around, Group

# One reporting pass every 2 s; 256 MiB a pass in small guests (64 blocks of 4 MiB were counted, Linux 6.1), in large
# ones a sixteenth of each free list: Linux mm/page_reporting.c, page_reporting_cycle(), `budget`.
PASS_S, PASS_BYTES, MOST_PASSES = 2.0, 256 * MIB, 17
SHUTDOWN_S = 1.0
# What the host does to a guest by its memory cgroup.
NEED_A_CGROUP = ("pageout",)


@dataclass(frozen=True)
class _Speed:
    """Usual costs under an accelerator. A deadline allows `slack` times as much: it is for hangs, not for slowness."""

    ready_s: float
    memory_s_per_gib: float
    op_s: float
    slack: float


_SPEED = {"kvm": _Speed(2.0, 0.6, 0.05, 20.0), "tcg": _Speed(4.5, 9.0, 0.1, 12.0)}
# What an op costs against a touch of the same memory: the others find the pages mapped.
_MEMORY_OPS = {"touch": 1.0, "renew": 1.1, "verify": 0.1, "release": 0.1, "disk_read": 0.4}


def arm_paths(arm: Arm, paths: Paths) -> Paths:
    """The host's files, with those that the arm names in their place. An arm's kernel never gets the host's modules."""
    return Paths(
        qemu=arm.qemu or paths.qemu,
        kernel=arm.kernel or paths.kernel,
        modules=arm.modules if arm.kernel or arm.modules else paths.modules,
        image=paths.image,
    )


def schedule(
    plan: Plan, host: Host, paths: Paths, accel: str, seed: int, own: Mapping[str, Paths] | None = None
) -> tuple[Job, ...]:
    """The jobs of a host in the order to run: block by block, in each block cell by cell.

    paths: the host's own files, resolved. own: by the arm's name, those of arms that name other ones, as far as the
    host could resolve them. accel: "kvm" or "tcg", as probed; never "auto".
    """
    jobs: list[Job] = []
    orders = {cell.name: _orders(plan, host, cell, seed) for cell in plan.cells}
    for block in range(plan.blocks):
        for cell in plan.cells:
            for order, arm in enumerate(orders[cell.name][block]):
                files = (own or {}).get(arm.name) or arm_paths(arm, paths)
                jobs.append(_job(plan, host, files, accel, cell, arm, block + 1, order))
    return tuple(jobs)


def second_try(job: Job) -> Job:
    """The same boot once more, as another attempt."""
    return dataclasses.replace(job, attempt=job.attempt + 1)


def estimate_s(job: Job) -> float:
    """Usual seconds of this boot, READY and shutdown included. A settle phase takes longer for an arm that reports."""
    ends: dict[tuple[int, str], float] = {}
    clock = dict.fromkeys(range(job.guests), 0.0)
    booted = {phase.guest for phase in job.phases if phase.kind == "boot"}
    sizes = {id(phase): size for guest in clock for phase, size in _sized(job.track(guest))}
    ready_s = _SPEED[job.guest.accel].ready_s
    for guest in clock.keys() - booted:
        clock[guest] = ready_s
    # In the order of the phases, which scripts write so that nobody waits for what comes later.
    for phase in job.phases:
        if phase.kind == "meet":
            waits = [ends.get((guest, name), 0.0) for guest, name in phase.args["phases"]]
            clock[phase.guest] = max(clock[phase.guest], *waits, 0.0)
        else:
            clock[phase.guest] += ready_s if phase.kind == "boot" else _usual_s(phase, sizes[id(phase)], job)
        ends[phase.guest, phase.name] = clock[phase.guest]
    return SHUTDOWN_S + max(clock.values())


def _orders(plan: Plan, host: Host, cell: Cell, seed: int) -> list[list[Arm]]:
    generator = random.Random(f"{seed}/{host.name}/{cell.name}")  # noqa: S311 - an order, not a secret
    # Sorted first: the order in which a plan lists its arms must not matter.
    arms = sorted(plan.arms_of(cell), key=lambda arm: arm.name)
    return [generator.sample(arms, len(arms)) for _ in range(plan.blocks)]


def _job(plan: Plan, host: Host, paths: Paths, accel: str, cell: Cell, arm: Arm, block: int, order: int) -> Job:
    shape = plan.guest_of(cell)
    guest = Guest(shape.memory_bytes, shape.vcpus, accel, shape.machine)
    workload = WORKLOADS[cell.workload]
    phases = tuple(Phase(**step) for step in workload.script(cell.params, around(guest, arm)))
    group = workload.group(cell.params, guest.memory_bytes)
    ready_s = _ready_deadline_s(guest)
    # As if one guest ran after the other: that is the longest that any start pattern can take.
    longest = sum(_longest_s(phase, size, accel) for phase, size in _sized(phases))
    return Job(
        host=host.name,
        cell=cell.name,
        arm=arm,
        block=block,
        order=order,
        guest=guest,
        paths=paths,
        phases=phases,
        sample_hz=plan.sample_hz,
        ready_deadline_s=ready_s,
        # The guest's: waiting for a quiet host has a deadline of its own.
        deadline_s=math.ceil(ready_s * (group.guests if group else 1) + longest + 60),
        placement=_placement(plan, host),
        quiet=plan.quiet,
        workload=cell.workload,
        qmp_hz=plan.qmp_hz,
        cgroup=_cgroup(group, phases),
        guests=group.guests if group else 1,
        become=host.become,
        disk_bytes=workload.disk(cell.params, guest.memory_bytes),
    )


def _cgroup(group: Group | None, phases: Sequence[Phase]) -> Cgroup | None:
    if group:
        return Cgroup(group.limit_bytes, group.swap_limit_bytes)
    return Cgroup() if any(phase.op in NEED_A_CGROUP for phase in phases) else None


def around(guest: Guest, arm: Arm) -> Around:
    """What a script is told of guest and arm."""
    policy = {"kind": arm.policy.kind, **arm.policy.params} if arm.policy else None
    params = dict(arm.reporting_params)
    return Around(
        memory_bytes=guest.memory_bytes,
        vcpus=guest.vcpus,
        reporting_order=arm.reporting_order,
        policy=policy,
        reporting_params=params,
        give=arm.give,
        hinting=arm.hinting,
        host_policy=arm.host_policy is not None,
    )


def _placement(plan: Plan, host: Host) -> Placement:
    return Placement(host.guest_cpus, host.sampler_cpus, host.numa_node, "cpu_latency" in plan.tune)


def _ready_deadline_s(guest: Guest) -> float:
    # Locked or huge guest memory is cleared before the kernel starts: one second a GiB is slow for any host.
    return math.ceil((120 if guest.accel == "tcg" else 60) + guest.memory_bytes / GIB)


def _sized(phases: Sequence[Phase]) -> list[tuple[Phase, int]]:
    """Each phase with the bytes that it handles: of its region, or read of the disk; 0 for what handles no memory."""
    sizes: dict[str, int] = {}
    found = []
    for phase in phases:
        region = phase.args.get("region", "")
        if phase.op == "map":
            sizes[region] = phase.args["bytes"]
        args = phase.args
        size = args["piece_bytes"] * args["count"] * args.get("times", 1) if phase.op == "disk_read" else 0
        found.append((phase, size or (sizes.get(region, 0) if phase.op in _MEMORY_OPS else 0)))
    return found


def _usual_s(phase: Phase, size: int, job: Job) -> float:
    speed, args = _SPEED[job.guest.accel], phase.args
    if phase.kind == "hold":
        return float(args["s"])
    if phase.kind == "settle":
        passes = min(MOST_PASSES, 1 + math.ceil(job.guest.memory_bytes / 2 / PASS_BYTES)) if job.arm.reporting else 0
        return float(min(args["max_s"], max(args["min_s"], PASS_S * passes + args["window_s"])))
    return _op_s(phase) + speed.op_s + speed.memory_s_per_gib * _MEMORY_OPS.get(phase.op, 0) * size / GIB


def _longest_s(phase: Phase, size: int, accel: str) -> float:
    speed = _SPEED[accel]
    if phase.kind in ("hold", "settle"):
        return float(phase.args["s"] if phase.kind == "hold" else phase.args["max_s"]) + 1
    return (
        float(phase.args.get("deadline_s", 0)) + _op_s(phase) + 10 + speed.slack * speed.memory_s_per_gib * size / GIB
    )


def _op_s(phase: Phase) -> float:
    """Seconds that an op was told to take."""
    return float(phase.args.get("seconds", 0)) + float(phase.args.get("warmup_s", 0))
