"""Workload `migration`: what does moving a guest to another QEMU take, and is it the same guest over there?

Memory is touched and freed, and the guest is migrated to a second QEMU on the same host: idle, while a writer goes over
known pages, or with a page cache that fills it; after its free memory came back to the host, or at once. Then both
sides are looked at: the pattern in memory that was in use, the writer's pages, the page cache, and memory that is
allocated anew are verified where the guest went, and once more where it came from.
"""

from __future__ import annotations

from typing import Any

from workloads.phases import (
    freed,
    give,
    grow,
    guest,
    hold,
    host,
    iterations,
    mapped,
    policy_start,
    policy_stop,
    proof,
    settle,
    setup,
    touched,
)
from workloads.shape import (
    SETTLING,
    Around,
    Parameter,
    Params,
    PhaseDict,
    Workload,
    own_needs,
    share_bytes,
    wrong_settling,
)

MIB = 1 << 20
HELD, FREED = "held", "freed"
# How long the guest may take for all questions of the inspection. Half a second was seen under emulation (640 MiB).
_ANSWER_S, _ANSWER_S_PER_GIB = 8.0, 16.0
# A pass of the reporting worker comes 2 s after a free, if none runs (Linux mm/page_reporting.c).
_PASS_S = 2.5

_PARAMETERS = (
    Parameter("held", "share", 0.1, "share of the guest's memory that is in use, with a known pattern", 0.01, 0.9),
    Parameter("freed", "share", 0.5, "share that is touched and freed before the migration", 0.01, 0.9),
    Parameter(
        "load",
        "choice",
        "idle",
        "what the guest does while it is migrated: nothing, write memory, or keep a full page cache",
        choices=("idle", "writer", "cache"),
    ),
    Parameter("settle", "choice", "wait", "whether what was freed may come back before", choices=("wait", "skip")),
    Parameter("writer", "share", 0.05, "share that the writer writes over and over", 0.001, 0.9),
    Parameter("writer_period_s", "seconds", 0.1, "pause between two passes of the writer", 0, 3600),
    Parameter("disk", "share", 0.3, "size of the disk whose page cache fills the guest (load: cache)", 0.01, 0.9),
    Parameter("bandwidth", "size", 0, "bytes a second that the migration may send at most; 0 for no limit", 0, 1 << 50),
    Parameter("deadline_s", "seconds", 60.0, "after so long a migration that does not end is cancelled", 1, 86400),
    Parameter("look_s", "seconds", 4.0, "how long the guest runs over there before it is looked at", 0, 3600),
    Parameter("proof", "size", 32 * MIB, "memory freed first where settle: skip, to see reporting work", MIB, 1 << 40),
    Parameter(
        "iterations", "count", 1, "moves in one boot; the first one has left its traces in the later ones", 1, 1000
    ),
    Parameter("warmups", "count", 0, "moves before them, kept but not counted", 0, 100),
    *SETTLING,
)


def disk(params: Params, guest_memory_bytes: int) -> int:
    """Size of the scratch disk, bytes."""
    return share_bytes(params["disk"], guest_memory_bytes) if params["load"] == "cache" else 0


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot."""
    each = [*_freed(params, around), *_migration(params, around), *_after(params, around)]
    return iterations(_once(params, around), each, params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """What is in use, what is freed, what the load takes, and the guest's own needs, bytes."""
    loads = {"writer": share_bytes(params["writer"], guest_memory_bytes), "cache": disk(params, guest_memory_bytes)}
    load = params["load"]
    return (
        (f"held {params['held']:.0%}", share_bytes(params["held"], guest_memory_bytes)),
        (f"freed {params['freed']:.0%}", share_bytes(params["freed"], guest_memory_bytes)),
        *(((f"{load} {params['disk' if load == 'cache' else load]:.0%}", loads[load]),) if load in loads else ()),
        *own_needs(guest_memory_bytes),
    )


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    return wrong_settling(params)


def _once(params: Params, around: Around) -> list[PhaseDict]:
    """A guest with memory in use."""
    return [
        *setup(around),
        *([guest("hinting", "hinting")] if around.hinting else []),
        mapped("map", HELD, share_bytes(params["held"], around.memory_bytes)),
        touched("fill", HELD, mode="fill"),
        *_cache(params, around),
        *(_proved(params) if params["settle"] == "skip" else []),
    ]


def _freed(params: Params, around: Around) -> list[PhaseDict]:
    """Memory that the guest has freed, and a load."""
    size = share_bytes(params["freed"], around.memory_bytes)
    return [
        mapped("map-freed", FREED, size),
        touched("touch", FREED),
        *_writer(params, around),
        *policy_start(around),
        freed("free", FREED),
        *give(around),
        *(_settled(params) if params["settle"] == "wait" else []),
        *policy_stop(around),
    ]


def _settled(params: Params) -> list[PhaseDict]:
    return [settle("settle", params, params["settle_min_s"], params["settle_max_s"])]


def _proved(params: Params) -> list[PhaseDict]:
    """What is freed last has no time to come back: other memory, freed before it, proves the mechanism."""
    settling = {
        "settle_min_s": max(_PASS_S, params["drain_min_s"]),
        "settle_max_s": max(2 * _PASS_S, params["drain_max_s"]),
    }
    return proof({**params, **settling}, params["proof"])


def _cache(params: Params, around: Around) -> list[PhaseDict]:
    if params["load"] != "cache":
        return []
    return [guest("disk", "disk_open"), guest("read", "disk_read", **_whole(params, around))]


def _whole(params: Params, around: Around) -> dict[str, int]:
    size = disk(params, around.memory_bytes)
    return {"piece_bytes": size, "stride_bytes": size, "count": 1}


def _writer(params: Params, around: Around) -> list[PhaseDict]:
    if params["load"] != "writer":
        return []
    size = share_bytes(params["writer"], around.memory_bytes)
    return [guest("writer", "writer_start", bytes=size, period_s=params["writer_period_s"])]


def _migration(params: Params, around: Around) -> list[PhaseDict]:
    return [
        guest("health", "health"),
        host("migrate", "migrate", bytes_per_s=params["bandwidth"], deadline_s=params["deadline_s"]),
        hold("look", params["look_s"]),
        host(
            "inspect",
            "inspect",
            checks=_checks(params, around),
            deadline_s=_ANSWER_S + _ANSWER_S_PER_GIB * around.memory_bytes / (1 << 30),
        ),
        host("back", "back"),
    ]


def _checks(params: Params, around: Around) -> list[list[Any]]:
    """What is asked where the guest went: [name, op, args] each."""
    # From the free lists, which the migration may have damaged: what is freed memory's worth is whether it can be used.
    anew = share_bytes(params["freed"] / 2, around.memory_bytes)
    return [
        ["verify", "verify", {"region": HELD, "extent": "full"}],
        *([["writer", "writer_stop", {}]] if params["load"] == "writer" else []),
        *([["reread", "disk_read", _whole(params, around)]] if params["load"] == "cache" else []),
        ["anew", "churn", {"bytes": anew, "gap_s": 0, "seconds": 0}],
        ["health", "health", {}],
    ]


def _after(params: Params, around: Around) -> list[PhaseDict]:
    """The guest runs on where it came from: is it what it was there?"""
    return [
        guest("verify", "verify", region=HELD, extent="full"),
        *([guest("writer-end", "writer_stop")] if params["load"] == "writer" else []),
        *grow(around),
        guest("health-after", "health"),
    ]


MIGRATION = Workload(
    name="migration",
    summary="free memory, migrate the guest to a second QEMU, and verify it there page by page",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
    disk=disk,
)
