"""Workload `cycle`: settle, touch a share of the memory, free it, wait until it came back, touch it again.

A sentinel region is filled once and verified in every iteration: a page in use must never be lost to reporting.
"""

from __future__ import annotations

from workloads.phases import (
    give,
    grow,
    guest,
    hold,
    iterations,
    mapped,
    policy_start,
    policy_stop,
    probe_begin,
    probe_end,
    probe_mark,
    proof,
    settle,
    setup,
    touched,
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
REGION, SENTINEL, HELD = "work", "sentinel", "held"

_PARAMETERS = (
    Parameter("touch", "share", 0.5, "share of the guest's memory that is touched and freed", 0.01, 0.98),
    *REPEATING,
    Parameter("hold_s", "seconds", 1.0, "time between touch and free", 0, 3600),
    *SETTLING,
    *PROBING,
    Parameter(
        "proof",
        "size",
        0,
        "memory touched and freed first, to see reporting work where the free itself can report nothing",
        0,
        1 << 40,
    ),
    Parameter("held", "share", 0.0, "share of the guest's memory that stays in use through the boot", 0.0, 0.95),
    Parameter("sentinel", "size", 32 * MIB, "memory that stays in use and is verified", 1 << 16, 1 << 40),
    Parameter(
        "mapping",
        "choice",
        "anonymous",
        "what the touched memory is",
        choices=("anonymous", "shared-anonymous", "memfd", "private-file", "shared-file", "hugetlb"),
    ),
    THP,
    Parameter(
        "release", "choice", "munmap", "how it is freed", choices=("munmap", "dontneed", "free", "holes", "mixed")
    ),
    Parameter("hole_every", "count", 2, "release: holes frees every so manieth block", 1, 1 << 20),
    Parameter("hole_block", "size", 2 * MIB, "size of these blocks", 4096, 1 << 30),
)


def touched_bytes(params: Params, guest_memory_bytes: int) -> int:
    """The touched share in bytes, whole 2 MiB blocks, at least one."""
    return share_bytes(params["touch"], guest_memory_bytes)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot. Iteration 0 also sets the guest up; warm-ups come first."""
    size = touched_bytes(params, around.memory_bytes)
    return iterations(_once(params, around), _iteration(params, around, size), params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """Touched memory, sentinel and the guest's own needs, bytes."""
    return (
        (f"touch {params['touch']:.0%}", touched_bytes(params, guest_memory_bytes)),
        *([(f"held {params['held']:.0%}", _held_bytes(params, guest_memory_bytes))] if params["held"] else []),
        ("sentinel", params["sentinel"]),
        *probe_needs(params),
        *own_needs(guest_memory_bytes),
    )


def _held_bytes(params: Params, guest_memory_bytes: int) -> int:
    return share_bytes(params["held"], guest_memory_bytes)


def _held(params: Params, around: Around) -> list[PhaseDict]:
    """Memory in use all the time: with a large share the guest is nearly full."""
    if not params["held"]:
        return []
    size = _held_bytes(params, around.memory_bytes)
    return [
        mapped("held", HELD, size),
        touched("held-touch", HELD),
    ]


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    pairs = [*wrong_settling(params), *wrong_probing(params)]
    for name, page in (("sentinel", 1 << 16), ("hole_block", 4096)):
        if params[name] % page:
            pairs.append((name, f"no multiple of {page // 1024}K; make it one"))
    return pairs


def _once(params: Params, around: Around) -> list[PhaseDict]:
    return [
        *setup(around),
        *(proof(params, params["proof"]) if params["proof"] else []),
        mapped("sentinel", SENTINEL, params["sentinel"]),
        touched("sentinel-fill", SENTINEL, mode="fill"),
        *_held(params, around),
    ]


def _iteration(params: Params, around: Around, size: int) -> list[PhaseDict]:
    mapping = {"region": REGION, "bytes": size, "mapping": params["mapping"], "thp": params["thp"]}
    blocks = {"every": params["hole_every"], "block_bytes": params["hole_block"]}
    # After dontneed, free or holes the region is still mapped: it is touched again as it is.
    remap = [guest("remap", "map", **mapping)] if params["release"] == "munmap" else []
    return [
        settle("drain", params, params["drain_min_s"], params["drain_max_s"]),
        guest("map", "map", **mapping),
        touched("touch", REGION, histogram=True),
        hold("hold", params["hold_s"]),
        guest("verify", "verify", region=REGION, extent="word"),
        guest("snapshot-before", "snapshot"),
        *probe_begin(params),
        *policy_start(around),
        *probe_mark(params, "after"),
        guest("free", "release", region=REGION, how=params["release"], **blocks),
        *give(around),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        *probe_end(params),
        guest("snapshot", "snapshot"),
        *policy_stop(around),
        guest("sentinel-verify", "verify", region=SENTINEL, extent="full"),
        *([guest("held-verify", "verify", region=HELD, extent="word")] if params["held"] else []),
        *grow(around),
        *remap,
        touched("retouch", REGION, histogram=True),
        guest("reverify", "verify", region=REGION, extent="word"),
        guest("refree", "release", region=REGION, how="munmap", **blocks),
    ]


CYCLE = Workload(
    name="cycle",
    summary="touch a share of the memory, free it, wait until it came back, touch it again",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
)
