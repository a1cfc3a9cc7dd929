"""Workload `jitter`: memory is freed and wanted again on one CPU, while a probe counts its work on another.

Does giving memory back disturb who has nothing to do with it? The probe counts before the free, after it (the host
asks, or the guest reports, meanwhile), and while the memory is wanted again.
"""

from __future__ import annotations

from workloads.phases import (
    freed,
    give,
    iterations,
    mapped,
    policy_start,
    policy_stop,
    probe_begin,
    probe_mark,
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

REGION = "work"

_PROBE, *_HOW = PROBING
_PARAMETERS = (
    Parameter(_PROBE.name, "choice", "work", _PROBE.help, choices=tuple(c for c in _PROBE.choices if c != "none")),
    *_HOW,
    Parameter("touch", "share", 0.3, "share of the guest's memory that is touched and freed", 0.01, 0.98),
    THP,
    *REPEATING,
    *SETTLING,
)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot."""
    return iterations(setup(around), _iteration(params, around), params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """Touched memory, the probe's, and the guest's own needs, bytes."""
    touched = (f"touch {params['touch']:.0%}", share_bytes(params["touch"], guest_memory_bytes))
    return (touched, *probe_needs(params), *own_needs(guest_memory_bytes))


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    return [*wrong_settling(params), *wrong_probing(params)]


def _iteration(params: Params, around: Around) -> list[PhaseDict]:
    size = share_bytes(params["touch"], around.memory_bytes)
    return [
        settle("drain", params, params["drain_min_s"], params["drain_max_s"]),
        mapped("map", REGION, size, params["thp"]),
        touched("touch", REGION),
        *probe_begin(params),
        *policy_start(around),
        *probe_mark(params, "after"),
        freed("free", REGION),
        *give(around),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        *policy_stop(around),
        *wanted_again(params, around, REGION, size),
    ]


JITTER = Workload(
    name="jitter",
    summary="free memory and want it again, while a probe counts its work on another CPU",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
)
