"""Workload `faults`: fill the guest and free it, then count page faults a second, as the patch series' own table does.

The fill shows on the host what reporting gives back before and while the tasks run. The tasks are memtouch's
page_fault1 to 3 (workloads/memtouch/throughput.py), with the semantics of will-it-scale.
"""

from __future__ import annotations

from typing import Any

from workloads.phases import (
    freed,
    give,
    grow,
    guest,
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
    wrong_settling,
)

FILL = "fill"

_PARAMETERS = (
    Parameter("test", "choice", "page_fault1", "what faults", choices=("page_fault1", "page_fault2", "page_fault3")),
    Parameter("tasks", "count", 1, "tasks at once; 0 is one on each CPU of the guest", 0, 1024),
    Parameter("kind", "choice", "process", "what a task is", choices=("process", "thread")),
    THP,
    Parameter("bytes", "size", 64 << 20, "memory that each task maps, touches and unmaps", 1 << 16, 1 << 40),
    Parameter("seconds", "seconds", 5.0, "measured time of one iteration", 0.1, 3600),
    Parameter("warmup_s", "seconds", 1.0, "time before it that is not counted", 0, 3600),
    Parameter("fill", "share", 0.4, "share of the guest's memory that is filled and freed first", 0.01, 0.98),
    Parameter("iterations", "count", 3, "counted repetitions in one boot", 1, 1000),
    Parameter("warmups", "count", 0, "repetitions before them, kept but not counted", 0, 100),
    *SETTLING,
)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot; the fill comes once, before the first iteration."""
    return iterations(_once(params, around), _iteration(params, around), params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """The fill, and after it what the tasks map: the larger of the two, and the guest's own needs, bytes."""
    tasks = max(1, params["tasks"]) * params["bytes"]
    filled = share_bytes(params["fill"], guest_memory_bytes)
    larger = (f"fill {params['fill']:.0%}", filled) if filled > tasks else (f"{max(1, params['tasks'])} tasks", tasks)
    return (larger, *own_needs(guest_memory_bytes))


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    return wrong_settling(params)


def _once(params: Params, around: Around) -> list[PhaseDict]:
    size = share_bytes(params["fill"], around.memory_bytes)
    return [
        *setup(around),
        settle("drain", params, params["drain_min_s"], params["drain_max_s"]),
        mapped("fill-map", FILL, size),
        touched("fill", FILL),
        freed("fill-free", FILL),
        *give(around, {"from": ["fill-free", "bytes"]}),
        settle("fill-settle", params, params["settle_min_s"], params["settle_max_s"]),
        *grow(around),
    ]


def _iteration(params: Params, around: Around) -> list[PhaseDict]:
    args: dict[str, Any] = {name: params[name] for name in ("test", "kind", "seconds", "warmup_s", "bytes", "thp")}
    return [
        *policy_start(around),
        guest("faults", "throughput", tasks=params["tasks"] or around.vcpus, **args),
        guest("snapshot", "snapshot"),
        *policy_stop(around),
    ]


FAULTS = Workload(
    name="faults",
    summary="fill the guest and free it, then count page faults a second",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
)
