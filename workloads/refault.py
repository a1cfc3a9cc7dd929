"""Workload `refault`: what does touching a page cost, by the state it is in?

The same memory is touched when it was never touched before, right after it was freed (not reported yet), after it was
freed, reported and discarded, and, where the host can swap, right after it was freed while the host had it in swap:
what happens to free memory of a guest that reports nothing, once its host runs short. In each state the guest faults
and clears every page anew, so what it does itself costs the same.
"""

from __future__ import annotations

from workloads.phases import (
    freed,
    give,
    grow,
    guest,
    host,
    iterations,
    mapped,
    policy_start,
    policy_stop,
    settle,
    setup,
    touched,
)
from workloads.shape import (
    REPEATING,
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

REGION, WARM, REST = "work", "warm", "rest"
# What the guest has free beside what was swapped out, at least, and as a share of it: half of this is the kernel's own
# reserve. It takes from the rest too, and that was in no swap.
KEEP_BYTES, KEEP_SHARE = 48 << 20, 1 / 32
# Two huge pages. Read from swap at 10 MB/s it takes a fifth of the time after which a report comes.
BLOCK_BYTES = 4 << 20

_PARAMETERS = (
    Parameter("touch", "share", 0.4, "share of the guest's memory that is touched", 0.01, 0.98),
    THP,
    Parameter("swap", "choice", "off", "also touch what was freed while in the host's swap", choices=("on", "off")),
    *REPEATING,
    *SETTLING,
)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot. Only the first iteration's `fresh` is of memory that nobody touched before."""
    size = share_bytes(params["touch"], around.memory_bytes)
    return iterations(setup(around), _iteration(params, around, size), params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """Touched memory and the guest's own needs, bytes."""
    touched = (f"touch {params['touch']:.0%}", share_bytes(params["touch"], guest_memory_bytes))
    return (touched, *own_needs(guest_memory_bytes))


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    return wrong_settling(params)


def _iteration(params: Params, around: Around, size: int) -> list[PhaseDict]:
    thp = params["thp"]
    keep = max(KEEP_BYTES, int(around.memory_bytes * KEEP_SHARE))
    # All of the guest goes to swap, its kernel and agent included: a small touch brings those back before the measured.
    # What is free for two seconds is reported, and was in no swap then: so a block is freed and touched at a time.
    swapped = [
        # Or the guest's kernel would choose other free memory for the touch: 25 to 60 % of it, with Linux 6.1.
        guest("take-rest", "take_free", region=REST, keep_bytes=keep),
        host("pageout", "pageout"),
        mapped("warm-map", WARM, 2 << 20, thp),
        touched("warm-touch", WARM, histogram=True),
        freed("warm-free", WARM),
        guest("swapped", "renew", region=REGION, block_bytes=BLOCK_BYTES, histogram=True),
        guest("verify-swapped", "verify", region=REGION, extent="word"),
        freed("free-rest", REST),
    ]
    return [
        settle("drain", params, params["drain_min_s"], params["drain_max_s"]),
        mapped("map", REGION, size, thp),
        touched("fresh", REGION, histogram=True),
        freed("free-kept", REGION),
        mapped("map-kept", REGION, size, thp),
        touched("kept", REGION, histogram=True),
        *policy_start(around),
        freed("free", REGION),
        *give(around),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        *policy_stop(around),
        *grow(around),
        mapped("map-reported", REGION, size, thp),
        touched("reported", REGION, histogram=True),
        guest("verify", "verify", region=REGION, extent="word"),
        *(swapped if params["swap"] == "on" else []),
        freed("free-end", REGION),
    ]


REFAULT = Workload(
    name="refault",
    summary="touch the same memory when it is new, just freed, reported, and freed while in the host's swap",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
)
