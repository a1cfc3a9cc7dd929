"""Workload `cache`: what becomes of the page cache of a guest that read much once and uses a little of it?

A scratch disk is read from end to end: its page cache now fills a share of the guest. A part of it is the hot set, in
pieces spread over the disk; a reader goes on reading it, each block once in `round_s`, while the arm's own loop presses
on the guest's memory for a fixed time. Then hot set and disk are read again, timed: what was thrown away comes from
the disk. Nothing here is freed by the workload itself, so that reporting is seen working on memory freed before.
"""

from __future__ import annotations

from workloads.phases import give, grow, guest, hold, iterations, policy_start, policy_stop, proof, settle, setup
from workloads.shape import (
    REPEATING,
    SETTLING,
    Around,
    Parameter,
    Params,
    PhaseDict,
    Workload,
    own_needs,
    share_bytes,
)

MIB = 1 << 20
BLOCK_BYTES = 4096

_PARAMETERS = (
    Parameter("disk", "share", 0.45, "size of the disk that is read, as a share of the guest's memory", 0.01, 0.9),
    Parameter("hot", "share", 0.1, "share of the disk that stays in use", 0.001, 1.0),
    Parameter("hot_piece", "size", 4 * MIB, "size of the pieces of the hot set, spread over the disk", 4096, 1 << 40),
    Parameter("access", "choice", "read", "how the hot set is read", choices=("read", "mmap")),
    Parameter("round_s", "seconds", 2.0, "each block of the hot set is read once in so long a time", 0.01, 3600),
    Parameter("window_s", "seconds", 14.0, "how long the arm's loop may press while the hot set is read", 0.1, 3600),
    Parameter("proof", "size", 32 * MIB, "memory touched and freed first, to see reporting work", MIB, 1 << 40),
    *REPEATING,
    *(parameter for parameter in SETTLING if parameter.name not in ("settle_min_s", "settle_max_s", "window_s")),
)


def disk(params: Params, guest_memory_bytes: int) -> int:
    """Size of the scratch disk, bytes."""
    return share_bytes(params["disk"], guest_memory_bytes)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot."""
    again = [guest("forget", "disk_forget"), settle("drain", params, params["drain_min_s"], params["drain_max_s"])]
    phases = iterations(_once(params, around), [*again, *_iteration(params, around)], params)
    # The first iteration has nothing to forget, and the proof has settled just before.
    return [phase for phase in phases if phase["iteration"] or phase["name"] not in ("forget", "drain")]


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """The page cache of the disk and the guest's own needs, bytes."""
    return ((f"disk {params['disk']:.0%}", disk(params, guest_memory_bytes)), *own_needs(guest_memory_bytes))


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    pairs = []
    if params["hot_piece"] % BLOCK_BYTES:
        pairs.append(("hot_piece", "no multiple of 4K; make it one"))
    if params["proof"] % BLOCK_BYTES:
        pairs.append(("proof", "no multiple of 4K; make it one"))
    return pairs + [
        ("drain_max_s", f"shorter than {key} ({params[key]:g} s); make it at least that")
        for key in ("drain_min_s", "settle_window_s")
        if params["drain_max_s"] < params[key]
    ]


def hot_pieces(params: Params, disk_bytes: int) -> dict[str, int]:
    """The hot set as arguments of disk_read and reader_start: pieces at equal distances, the first at 0."""
    wanted = max(BLOCK_BYTES, int(params["hot"] * disk_bytes) // BLOCK_BYTES * BLOCK_BYTES)
    piece = min(params["hot_piece"], wanted)
    count = max(1, wanted // piece)
    return {"piece_bytes": piece, "stride_bytes": disk_bytes // count // BLOCK_BYTES * BLOCK_BYTES, "count": count}


def _once(params: Params, around: Around) -> list[PhaseDict]:
    settling = {"settle_min_s": params["drain_min_s"], "settle_max_s": params["drain_max_s"]}
    return [
        *setup(around),
        *proof({**params, **settling}, params["proof"]),
        guest("disk", "disk_open"),
    ]


def _iteration(params: Params, around: Around) -> list[PhaseDict]:
    size = disk(params, around.memory_bytes)
    whole = {"piece_bytes": size, "stride_bytes": size, "count": 1}
    hot_set = hot_pieces(params, size)
    hot = {**hot_set, "access": params["access"]}
    return [
        guest("read", "disk_read", **whole),
        # Twice: with the read before, that makes the pages hot ones for every kind of LRU.
        guest("warm", "disk_read", **hot, times=2),
        guest("snapshot-read", "snapshot"),
        guest("reader", "reader_start", **hot, round_s=params["round_s"]),
        *policy_start(around),
        # A host that asks for memory asks for what nobody uses.
        *give(around, size - hot_set["piece_bytes"] * hot_set["count"]),
        hold("window", params["window_s"]),
        *grow(around),
        *policy_stop(around),
        guest("reader-end", "reader_stop"),
        guest("snapshot", "snapshot"),
        guest("reread-hot", "disk_read", **hot),
        guest("reread", "disk_read", **whole),
    ]


CACHE = Workload(
    name="cache",
    summary="read a disk through the page cache and use a part of it, while the guest is pressed for memory",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
    disk=disk,
)
