"""Workloads `crowd` and `density`: several guests in one memory cgroup that is too small for all that they ever used.

Each guest touches memory, frees it, and lives on. `crowd` has a fixed number of them, which start one after another,
staggered, or all at once. `density` starts one after another until something was swapped out: how many fit?
"""

from __future__ import annotations

from workloads.phases import (
    boot,
    freed,
    give,
    guest,
    hold,
    host,
    mapped,
    meet,
    policy_start,
    policy_stop,
    settle,
    setup,
    touched,
    track,
)
from workloads.shape import (
    SETTLING,
    Around,
    Group,
    Parameter,
    Params,
    PhaseDict,
    Workload,
    own_needs,
    share_bytes,
    wrong_settling,
)

MIB = 1 << 20
REGION, SENTINEL = "work", "sentinel"
SENTINEL_BYTES = 8 * MIB
# What the host's counters were before a guest did its part.
_BEGIN = {"from": ["begin", "counters"]}

_GUESTS = Parameter("guests", "count", 3, "guests in the group", 1, 64)
_LIMIT = Parameter("limit", "size", 1200 * MIB, "memory that the group may have", 64 * MIB, 1 << 44)
_SWAP = Parameter("swap_limit", "size", 2 << 30, "swap that the group may have", 0, 1 << 44)
_TOUCH = Parameter("touch", "share", 0.5, "share of its memory that a guest touches and frees", 0.01, 0.98)
_HOLD = Parameter("hold_s", "seconds", 1.0, "time between touch and free", 0, 3600)
_CROWD = (
    _GUESTS,
    Parameter(
        "start",
        "choice",
        "sequence",
        "when each guest begins to touch: once the one before has settled, a fixed time after it began, or all at once",
        choices=("sequence", "staggered", "together"),
    ),
    Parameter("stagger_s", "seconds", 5.0, "start: staggered begins so long after the guest before", 0, 3600),
    _LIMIT,
    _SWAP,
    _TOUCH,
    _HOLD,
    *SETTLING,
)
_DENSITY = (
    Parameter("guests", "count", 6, "guests that are tried at most", 1, 256),
    Parameter("swapped", "size", 4 * MIB, "so much swapped out, and the host is full", 0, 1 << 40),
    Parameter("pressure", "share", 0.1, "so much of the time with somebody stalled on memory, and it is full", 0, 1),
    _LIMIT,
    _SWAP,
    _TOUCH,
    _HOLD,
    *SETTLING,
)


def crowd_script(params: Params, around: Around) -> list[PhaseDict]:
    """All guests are booted first, one after another; then each touches and frees as `start` says."""
    phases: list[PhaseDict] = []
    last = params["guests"] - 1
    for number in range(params["guests"]):
        # Booting all at once would need so much more memory and CPU that it hides what is measured.
        before = [meet("turn", (number - 1, "up"))] if number else []
        begin = [*before, boot(), *setup(around), *_sentinel(), hold("up", 0)]
        work = [*_start(params, number), *_work(params, around), *_end(params, around, "settle")]
        phases += track(number, [*begin, meet("all-up", (last, "up")), *work])
    return in_order(phases, "up", "settle")


def density_script(params: Params, around: Around) -> list[PhaseDict]:
    """A guest is booted when the one before has settled, unless memory was swapped out until then."""
    phases: list[PhaseDict] = []
    for number in range(params["guests"]):
        before = [meet("turn", (number - 1, "full"))] if number else []
        start = boot((number - 1, "full", "full") if number else None)
        limits = {"swapped_bytes": params["swapped"], "pressure_share": params["pressure"]}
        work = [host("begin", "strain"), *_work(params, around), host("full", "strain", before=_BEGIN, **limits)]
        first = [*before, start, *setup(around), *_sentinel()]
        phases += track(number, [*first, *work, *_end(params, around, "full")])
    return in_order(phases, "full")


def in_order(phases: list[PhaseDict], *marks: str) -> list[PhaseDict]:
    """All guests up to the first mark, then all up to the next …: nobody waits for a phase that is written behind."""
    passed: dict[int, int] = {}
    parts: list[list[PhaseDict]] = [[] for _ in (*marks, "")]
    for phase in phases:
        part = passed.setdefault(phase["guest"], 0)
        parts[part].append(phase)
        if part < len(marks) and phase["name"] == marks[part]:
            passed[phase["guest"]] += 1
    return [phase for part in parts for phase in part]


def _end(params: Params, around: Around, last: str) -> list[PhaseDict]:
    """A guest lives on, and its loop with it, until all others have done their part too."""
    return [
        meet("over", *((number, last) for number in range(params["guests"]))),
        *policy_stop(around),
        guest("sentinel-verify", "verify", region=SENTINEL, extent="full"),
    ]


def _sentinel() -> list[PhaseDict]:
    """A little memory that stays in use and is verified at the end: no guest may lose a page."""
    return [
        mapped("sentinel", SENTINEL, SENTINEL_BYTES),
        touched("sentinel-fill", SENTINEL, mode="fill"),
    ]


def _start(params: Params, number: int) -> list[PhaseDict]:
    if params["start"] == "sequence":
        return [meet("start", (number - 1, "settle"))] if number else []
    return [hold("start", number * params["stagger_s"])] if params["start"] == "staggered" and number else []


def _work(params: Params, around: Around) -> list[PhaseDict]:
    size = share_bytes(params["touch"], around.memory_bytes)
    return [
        *policy_start(around),
        mapped("map", REGION, size),
        touched("touch", REGION),
        hold("hold", params["hold_s"]),
        guest("verify", "verify", region=REGION, extent="word"),
        freed("free", REGION),
        *give(around),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
    ]


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """Of each guest: touched memory, sentinel and its own needs, bytes."""
    touched = (f"touch {params['touch']:.0%}", share_bytes(params["touch"], guest_memory_bytes))
    return (touched, ("sentinel", SENTINEL_BYTES), *own_needs(guest_memory_bytes))


def group(params: Params, _guest_memory_bytes: int) -> Group:
    """The guests and their limits."""
    return Group(params["guests"], params["limit"], params["swap_limit"])


CROWD = Workload(
    name="crowd",
    summary="several guests touch and free memory in one group, one after another, staggered or all at once",
    parameters=_CROWD,
    script=crowd_script,
    memory_needed=memory_needed,
    check=wrong_settling,
    group=group,
)
DENSITY = Workload(
    name="density",
    summary="guests are started one after another in one group until memory is swapped out",
    parameters=_DENSITY,
    script=density_script,
    memory_needed=memory_needed,
    check=wrong_settling,
    group=group,
)
