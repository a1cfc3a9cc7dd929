"""Workload `storm`: a guest takes and frees memory as fast as it can, to hurt its host; what does a neighbour feel?

Two guests. The first one maps, touches and frees most of its memory on and on; where it reports, the host discards what
is free at each pass, and gives it back page by page. In the second one a probe counts its work on a CPU of its own,
before and during the storm. The host asks the first one's monitor a question again and again meanwhile (qmp_hz:).
"""

from __future__ import annotations

from workloads.phases import (
    boot,
    guest,
    hold,
    meet,
    policy_start,
    policy_stop,
    probe_begin,
    probe_mark,
    proof,
    settle,
    setup,
    track,
)
from workloads.shape import (
    LEAST_QUANTA,
    PROBING,
    SETTLING,
    Around,
    Group,
    Parameter,
    Params,
    PhaseDict,
    Workload,
    own_needs,
    probe_needs,
    share_bytes,
)

MIB = 1 << 20
HOSTILE, NEIGHBOUR = 0, 1

_PROBE, *_HOW = PROBING
_PARAMETERS = (
    Parameter("touch", "share", 0.5, "share of its memory that the hostile guest takes and frees", 0.01, 0.98),
    Parameter("gap_s", "seconds", 0.0, "the hostile guest waits so long after each free", 0, 60),
    Parameter("window_s", "seconds", 10.0, "length of the storm", 0.5, 3600),
    Parameter("proof", "size", 32 * MIB, "memory that each guest frees first, to see reporting work", MIB, 1 << 40),
    Parameter(_PROBE.name, "choice", "work", _PROBE.help, choices=tuple(c for c in _PROBE.choices if c != "none")),
    *_HOW,
    *(parameter for parameter in SETTLING if parameter.name.startswith("settle_")),
)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot: the hostile guest's track, and the neighbour's."""
    return [*track(HOSTILE, _hostile(params, around)), *track(NEIGHBOUR, _neighbour(params, around))]


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """What is taken, the probe's, and the guest's own needs, bytes. Both guests are of one size."""
    taken = (f"touch {params['touch']:.0%}", share_bytes(params["touch"], guest_memory_bytes))
    return (taken, *probe_needs(params), *own_needs(guest_memory_bytes))


def group(_params: Params, _guest_memory_bytes: int) -> Group:
    """The two guests. No limit: nothing else than the storm is to hurt the neighbour."""
    return Group(2)


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    wrong = [
        ("settle_max_s", f"shorter than {key} ({params[key]:g} s); make it at least that")
        for key in ("settle_min_s", "settle_window_s")
        if params["settle_max_s"] < params[key]
    ]
    if params["proof"] % 4096:
        wrong.append(("proof", "no multiple of 4K; make it one"))
    if min(params["probe_before_s"], params["window_s"]) < LEAST_QUANTA * params["probe_quantum_s"]:
        few = f"{LEAST_QUANTA} quanta fit neither into probe_before_s nor into window_s; make it less"
        wrong.append(("probe_quantum_s", few))
    return wrong


def _hostile(params: Params, around: Around) -> list[PhaseDict]:
    size = share_bytes(params["touch"], around.memory_bytes)
    return [
        *setup(around),
        *proof(params, params["proof"]),
        *policy_start(around),
        # What is before the storm is measured in the same two guests, neither of which does anything.
        meet("ready", (NEIGHBOUR, "probe-after")),
        guest("storm", "churn", bytes=size, gap_s=params["gap_s"], seconds=params["window_s"], check=False),
        *policy_stop(around),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        guest("snapshot", "snapshot"),
    ]


def _neighbour(params: Params, around: Around) -> list[PhaseDict]:
    return [
        # Side by side they would take twice as long, and end whenever.
        meet("turn", (HOSTILE, "proof-settle")),
        boot(),
        *setup(around),
        *proof(params, params["proof"]),
        *probe_begin({**params, "settle_max_s": params["window_s"]}),
        *probe_mark(params, "after"),
        hold("beside", params["window_s"]),
        guest("probe-end", "probe_stop", window_s=params["window_s"]),
        meet("over", (HOSTILE, "settle")),
    ]


STORM = Workload(
    name="storm",
    summary="a guest takes and frees memory as fast as it can, beside one that counts its work",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
    group=group,
)
