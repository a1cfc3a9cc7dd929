"""Workload `jitter`: memory is freed and wanted again on one CPU, while a probe counts its work on another.

Does giving memory back disturb who has nothing to do with it? The probe counts before the free, after it (the host
asks, or the guest reports, meanwhile), and while the memory is wanted again.
"""

from __future__ import annotations

from workloads.phases import (
    give,
    grow,
    guest,
    iterations,
    policy_start,
    policy_stop,
    probe_begin,
    probe_end,
    probe_mark,
    settle,
    setup,
)
from workloads.shape import (
    PROBING,
    SETTLING,
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
    Parameter("thp", "choice", "system", "transparent huge pages in the guest", choices=("system", "always", "never")),
    Parameter("iterations", "count", 1, "counted repetitions in one boot", 1, 1000),
    Parameter("warmups", "count", 0, "repetitions before them, kept but not counted", 0, 100),
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
    mapping = {"region": REGION, "bytes": size, "mapping": "anonymous", "thp": params["thp"]}
    touch = {"region": REGION, "mode": "write", "histogram": False}
    release = {"region": REGION, "how": "munmap", "every": 1, "block_bytes": 0}
    return [
        settle("drain", params, params["drain_min_s"], params["drain_max_s"]),
        guest("map", "map", **mapping),
        guest("touch", "touch", **touch),
        *probe_begin(params),
        *policy_start(around),
        *probe_mark(params, "after"),
        guest("free", "release", **release),
        *give(around),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        *policy_stop(around),
        *probe_mark(params, "again"),
        *grow(around),
        guest("map-again", "map", **mapping),
        guest("again", "touch", **touch),
        *probe_end(params),
        guest("verify", "verify", region=REGION, extent="word"),
        guest("free-again", "release", **release),
    ]


JITTER = Workload(
    name="jitter",
    summary="free memory and want it again, while a probe counts its work on another CPU",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
)
