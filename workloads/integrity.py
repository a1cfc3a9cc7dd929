"""Workload `integrity`: is a page in use ever lost while others come and go under the reporting worker?

A region holds a pattern in every byte. Beside it memory is filled, verified and freed over and over, with gaps just
under and just over the reporting delay of 2 s (Linux mm/page_reporting.c, PAGE_REPORTING_DELAY), memory is compacted,
and the pattern is verified in full after each step. `fault` damages the region on purpose: the verifier must see it.
"""

from __future__ import annotations

from workloads.phases import give, grow, guest, iterations, mapped, policy_start, policy_stop, settle, setup, touched
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
HELD = "held"

_PARAMETERS = (
    Parameter("held", "share", 0.35, "share of the guest's memory that is in use all the time", 0.01, 0.9),
    Parameter("churn", "share", 0.25, "share that is filled, verified and freed over and over", 0.01, 0.9),
    Parameter("churn_s", "seconds", 8.0, "time of each churn", 0.1, 86400),
    Parameter("under_s", "seconds", 1.8, "gap of the first churn, under the reporting delay of 2 s", 0, 3600),
    Parameter("over_s", "seconds", 2.3, "gap of the second churn, over it", 0, 3600),
    Parameter(
        "fault", "choice", "none", "damage on purpose, to test the verifier", choices=("none", "corrupt", "discard")
    ),
    Parameter("iterations", "count", 1, "rounds in one boot", 1, 100000),
    Parameter("warmups", "count", 0, "rounds before them, kept but not counted", 0, 100),
    *SETTLING,
)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot."""
    return iterations(_once(params, around), _round(params, around), params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """What is held, what comes and goes, and the guest's own needs, bytes."""
    return (
        (f"held {params['held']:.0%}", share_bytes(params["held"], guest_memory_bytes)),
        (f"churn {params['churn']:.0%}", share_bytes(params["churn"], guest_memory_bytes)),
        *own_needs(guest_memory_bytes),
    )


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    return wrong_settling(params)


def _once(params: Params, around: Around) -> list[PhaseDict]:
    size = share_bytes(params["held"], around.memory_bytes)
    return [
        *setup(around),
        mapped("map", HELD, size),
        touched("fill", HELD, mode="fill"),
    ]


def _round(params: Params, around: Around) -> list[PhaseDict]:
    size = share_bytes(params["churn"], around.memory_bytes)
    churn = {"bytes": size, "seconds": params["churn_s"]}
    return [
        settle("drain", params, params["drain_min_s"], params["drain_max_s"]),
        *policy_start(around),
        guest("churn-under", "churn", gap_s=params["under_s"], **churn),
        guest("verify-under", "verify", region=HELD, extent="full"),
        guest("churn-over", "churn", gap_s=params["over_s"], **churn),
        *give(around, size),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        *policy_stop(around),
        *grow(around),
        guest("compact", "compact"),
        *_fault(params["fault"]),
        guest("verify", "verify", region=HELD, extent="full"),
    ]


def _fault(kind: str) -> list[PhaseDict]:
    if kind == "corrupt":
        return [guest("corrupt", "corrupt", region=HELD, offset=MIB)]
    if kind == "discard":
        where = {"from": ["locate", "guest_physical"]}
        located = guest("locate", "locate", region=HELD, offset=MIB)
        lost = {"name": "discard", "kind": "host", "op": "discard", "args": {"guest_physical": where, "bytes": 4096}}
        return [located, lost]
    return []


INTEGRITY = Workload(
    name="integrity",
    summary="verify memory in use, byte for byte, while other memory comes and goes",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
)
