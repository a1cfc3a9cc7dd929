"""Workload `footprint`: how much memory for how long does a guest hold over a day's work?

A day is what a build does. Jobs, one after another, read new sources and all that was read before, use memory of their
own that is free when they end, and leave objects behind. Then the guest is idle, its objects are removed, its caches
are dropped; each time nothing happens for a while. The next iteration is the next day.
"""

from __future__ import annotations

from workloads.phases import (
    freed,
    give,
    grow,
    guest,
    hold,
    iterations,
    mapped,
    policy_start,
    policy_stop,
    settle,
    setup,
    touched,
)
from workloads.shape import (
    SETTLING,
    THP,
    Around,
    Parameter,
    Params,
    PhaseDict,
    Workload,
    own_needs,
    share_bytes,
)

JOB = "job"
MOST_JOBS = 32
BLOCK_BYTES = 4096

DAY = (
    Parameter("jobs", "count", 3, "jobs of a day, one after another", 1, MOST_JOBS),
    Parameter("job", "share", 0.12, "memory of one job, freed at its end, as a share of the guest's", 0.001, 0.9),
    Parameter("objects", "share", 0.15, "what all jobs leave until the clean, as a share of the same", 0.001, 0.9),
    Parameter("disk", "share", 0.2, "size of the sources that are read, as a share of the same", 0.01, 0.9),
    THP,
    Parameter("window_s", "seconds", 5.0, "how long nothing happens after work, clean and drop", 0.5, 7200),
    *(parameter for parameter in SETTLING if parameter.name not in ("settle_min_s", "settle_max_s", "window_s")),
)
_PARAMETERS = (
    *DAY,
    Parameter("iterations", "count", 2, "counted days in one boot", 1, 1000),
    Parameter("warmups", "count", 0, "days before them, kept but not counted", 0, 100),
)


def disk(params: Params, guest_memory_bytes: int) -> int:
    """Size of the scratch disk with the sources, bytes."""
    return share_bytes(params["disk"], guest_memory_bytes)


def object_bytes(params: Params, guest_memory_bytes: int) -> int:
    """What one job leaves behind, bytes."""
    return share_bytes(params["objects"] / params["jobs"], guest_memory_bytes)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot. Later days begin where the one before ended, as a guest's do."""
    once = [*setup(around), settle("drain", params, params["drain_min_s"], params["drain_max_s"])]
    return iterations([*once, guest("disk", "disk_open")], day(params, around), params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """One job's memory, all objects, the page cache of the sources, and the guest's own needs, bytes."""
    return (
        (f"job {params['job']:.0%}", share_bytes(params["job"], guest_memory_bytes)),
        (f"objects of {params['jobs']} jobs", params["jobs"] * object_bytes(params, guest_memory_bytes)),
        (f"disk {params['disk']:.0%}", disk(params, guest_memory_bytes)),
        *own_needs(guest_memory_bytes),
    )


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    return [
        ("drain_max_s", f"shorter than {key} ({params[key]:g} s); make it at least that")
        for key in ("drain_min_s", "settle_window_s")
        if params["drain_max_s"] < params[key]
    ]


def day(params: Params, around: Around) -> list[PhaseDict]:
    """From the first job until nothing happened for a while after the caches were dropped."""
    numbers = range(1, params["jobs"] + 1)
    all_bytes = share_bytes(params["job"], around.memory_bytes)
    all_bytes += params["jobs"] * object_bytes(params, around.memory_bytes)
    return [
        *policy_start(around),
        guest("day-begin", "snapshot"),
        *(phase for number in numbers for phase in _job(params, around, number)),
        guest("work-end", "snapshot"),
        hold("idle", params["window_s"]),
        *(guest(f"verify-{number}", "verify", region=f"objects-{number}", extent="word") for number in numbers),
        *(freed(f"clean-{number}", f"objects-{number}") for number in numbers),
        # By hand: once a day, what the jobs and the clean freed.
        *give(around, all_bytes),
        hold("cleaned", params["window_s"]),
        guest("drop", "drop_caches"),
        hold("dropped", params["window_s"]),
        guest("day-end", "snapshot"),
        *grow(around),
        *policy_stop(around),
    ]


def _job(params: Params, around: Around, number: int) -> list[PhaseDict]:
    """One job: it reads, from the disk what nobody read before, works in memory of its own, writes, and ends."""
    size, objects = disk(params, around.memory_bytes), f"objects-{number}"
    read = size if number == params["jobs"] else size * number // params["jobs"] // BLOCK_BYTES * BLOCK_BYTES
    own = share_bytes(params["job"], around.memory_bytes)
    left = object_bytes(params, around.memory_bytes)
    return [
        guest(f"read-{number}", "disk_read", piece_bytes=read, stride_bytes=read, count=1),
        mapped(f"map-{number}", JOB, own, params["thp"]),
        touched(f"work-{number}", JOB),
        mapped(f"map-objects-{number}", objects, left, params["thp"]),
        touched(f"objects-{number}", objects),
        freed(f"end-{number}", JOB),
    ]


FOOTPRINT = Workload(
    name="footprint",
    summary="days of a build: jobs, idle, objects removed, caches dropped, and what is held meanwhile",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
    disk=disk,
)
