"""Workload `resize`: how fast is a guest made smaller, and how fast has it its memory again?

The four figures of the HyperAlloc paper (EuroSys 2025): to shrink a guest that never touched the memory, to shrink one
that touched it and needs it no more, to let it grow, and to let it grow and touch all of it. The host asks where the
arm says how (`give:`); a guest that reports is asked nothing, and its free is what begins the shrinking. With `load:
cache` the memory is not free but holds the page cache of a scratch disk that was read.
"""

from __future__ import annotations

from workloads.phases import (
    freed,
    give,
    give_untouched,
    guest,
    iterations,
    mapped,
    policy_start,
    policy_stop,
    probe_begin,
    probe_mark,
    proof,
    settle,
    setup,
    touched,
    wanted_again,
)
from workloads.shape import (
    PROBING,
    REPEATING,
    SETTLING,
    THP,
    Around,
    Parameter,
    Params,
    PhaseDict,
    Workload,
    own_needs,
    probe_needs,
    share_bytes,
    wrong_probing,
    wrong_settling,
)

MIB = 1 << 20
REGION = "work"

_PARAMETERS = (
    Parameter("load", "choice", "memory", "what holds the memory that is asked for", choices=("memory", "cache")),
    Parameter("touch", "share", 0.7, "share of the guest's memory that is touched or read, and asked for", 0.01, 0.98),
    THP,
    Parameter("proof", "size", 32 * MIB, "with load: cache, memory freed first, to see reporting work", MIB, 1 << 40),
    *REPEATING,
    *SETTLING,
    *PROBING,
)


def disk(params: Params, guest_memory_bytes: int) -> int:
    """Size of the scratch disk, bytes; 0 where the page cache is not what is asked for."""
    return share_bytes(params["touch"], guest_memory_bytes) if params["load"] == "cache" else 0


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot. Memory that nobody touched comes once, before anything else."""
    drain = settle("drain", params, params["drain_min_s"], params["drain_max_s"])
    if params["load"] == "memory":
        return iterations(_once(params, around), [drain, *_iteration(params, around)], params)
    again = [guest("forget", "disk_forget"), drain]
    phases = iterations(_once_cached(params, around), [*again, *_iteration(params, around)], params)
    # The first iteration has nothing to forget, and the proof has settled just before.
    return [phase for phase in phases if phase["iteration"] or phase["name"] not in ("forget", "drain")]


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """What is touched or read, the probe's, and the guest's own needs, bytes. Page cache makes room for the touch."""
    what = "disk" if params["load"] == "cache" else "touch"
    size = (f"{what} {params['touch']:.0%}", share_bytes(params["touch"], guest_memory_bytes))
    return (size, *probe_needs(params), *own_needs(guest_memory_bytes))


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    wrong = [("proof", "no multiple of 4K; make it one")] if params["proof"] % 4096 else []
    return [*wrong_settling(params), *wrong_probing(params), *wrong]


def _once(params: Params, around: Around) -> list[PhaseDict]:
    return [*setup(around), *give_untouched(around, share_bytes(params["touch"], around.memory_bytes))]


def _once_cached(params: Params, around: Around) -> list[PhaseDict]:
    settling = {"settle_min_s": params["drain_min_s"], "settle_max_s": params["drain_max_s"]}
    return [*setup(around), *proof({**params, **settling}, params["proof"]), guest("disk", "disk_open")]


def _iteration(params: Params, around: Around) -> list[PhaseDict]:
    size = share_bytes(params["touch"], around.memory_bytes)
    cached = params["load"] == "cache"
    filled = (
        [guest("read", "disk_read", piece_bytes=size, stride_bytes=size, count=1)]
        if cached
        else [mapped("map", REGION, size, params["thp"]), touched("touch", REGION)]
    )
    return [
        *filled,
        *probe_begin(params),
        *policy_start(around),
        *probe_mark(params, "after"),
        *([] if cached else [freed("free", REGION)]),
        # From here on the host wants the memory, in every arm: what is free is written down beside.
        guest("ask", "snapshot"),
        *give(around, size),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        *policy_stop(around),
        *wanted_again(params, around, REGION, size),
    ]


RESIZE = Workload(
    name="resize",
    summary="make a guest smaller, touched and untouched, let it grow, and let it touch its memory again",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
    disk=disk,
)
