"""Workload `arrival`: the host needs memory now; who gives it, how soon, and what does that cost the givers?

Some guests share a memory cgroup with a limit. Each has read a disk through its page cache and goes on using a hot part
of it, and has touched and freed memory besides. Then a process on the host takes memory in that cgroup, as fast as it
gets it, and more than is left. It has to come from the guests: from what they freed, as far as that has come back; from
what a loop beside them asks for; or from the host's swap. Some time later the newcomer leaves.
"""

from __future__ import annotations

from workloads.cache import hot_pieces
from workloads.phases import (
    freed,
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
)

MIB = 1 << 20
BLOCK_BYTES = 4096
REGION = "work"

_PARAMETERS = (
    Parameter("guests", "count", 2, "how many guests give", 1, 256),
    Parameter("disk", "share", 0.3, "size of the disk that each reads, as a share of its memory", 0.01, 0.9),
    Parameter("hot", "share", 0.1, "share of the disk that stays in use", 0.001, 1.0),
    Parameter("hot_piece", "size", 4 * MIB, "size of the pieces of the hot set, spread over the disk", 4096, 1 << 40),
    Parameter("round_s", "seconds", 4.0, "each block of the hot set is read once in so long a time", 0.01, 3600),
    Parameter("free", "share", 0.3, "memory that each touches and frees, as a share of its memory", 0.01, 0.9),
    Parameter("limit", "share", 0.95, "limit of the group, as a share of the memory of all its guests", 0.05, 1.0),
    Parameter("headroom", "size", 128 * MIB, "what the limit has beyond that for each guest's QEMU", 0, 1 << 40),
    Parameter("arrive", "share", 1.0, "memory that arrives, as a share of one guest's", 0.01, 1.0),
    Parameter("arrive_deadline_s", "seconds", 30.0, "the newcomer stops taking memory after so long", 0.1, 3600),
    Parameter("calm_s", "seconds", 2.0, "time before the arrival in which readers and loops already run", 0.1, 3600),
    Parameter("window_s", "seconds", 60.0, "time after the arrival until the newcomer leaves", 0.1, 3600),
    *(parameter for parameter in SETTLING if parameter.name.startswith("settle_")),
)


def disk(params: Params, guest_memory_bytes: int) -> int:
    """Size of each guest's scratch disk, bytes."""
    return share_bytes(params["disk"], guest_memory_bytes)


def group(params: Params, guest_memory_bytes: int) -> Group:
    """The guests, and the limit that they share with who arrives. Swap is not limited: it is what arm `none` has."""
    guests = params["guests"]
    limit_bytes = share_bytes(params["limit"], guests * guest_memory_bytes) + guests * params["headroom"]
    return Group(guests, limit_bytes)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot: a track for each guest; the first one's has what happens on the host too."""
    others = range(1, params["guests"])
    phases = track(0, [*_prepared(params, around), *_event(params, around, others)])
    for other in others:
        phases += track(other, [*_prepared(params, around), meet("arrived", (0, "leave")), *_end(params, around)])
    return phases


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """The page cache of the disk, what is touched beside it, and the guest's own needs, bytes."""
    return (
        (f"disk {params['disk']:.0%}", disk(params, guest_memory_bytes)),
        (f"free {params['free']:.0%}", share_bytes(params["free"], guest_memory_bytes)),
        *own_needs(guest_memory_bytes),
    )


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    wrong = []
    if params["hot_piece"] % BLOCK_BYTES:
        wrong.append(("hot_piece", "no multiple of 4K; make it one"))
    wrong += [
        ("settle_max_s", f"shorter than {key} ({params[key]:g} s); make it at least that")
        for key in ("settle_min_s", "settle_window_s")
        if params["settle_max_s"] < params[key]
    ]
    return wrong


def _prepared(params: Params, around: Around) -> list[PhaseDict]:
    """A guest until the moment before the arrival. The disk comes first, or what is freed would become its cache."""
    size = disk(params, around.memory_bytes)
    hot = _hot(params, size)
    freed_bytes = share_bytes(params["free"], around.memory_bytes)
    return [
        *setup(around),
        guest("disk", "disk_open"),
        guest("read", "disk_read", piece_bytes=size, stride_bytes=size, count=1),
        # Twice: with the read before, that makes the pages hot ones for every kind of LRU.
        guest("warm", "disk_read", **hot, times=2),
        mapped("map", REGION, freed_bytes),
        touched("touch", REGION),
        freed("free", REGION),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        guest("snapshot-before", "snapshot"),
        guest("reader", "reader_start", **hot, round_s=params["round_s"]),
        *policy_start(around),
        hold("calm", params["calm_s"]),
    ]


def _event(params: Params, around: Around, others: range) -> list[PhaseDict]:
    """What happens to all of them, and the first guest's own end."""
    size = share_bytes(params["arrive"], around.memory_bytes)
    return [
        *([meet("ready", *((other, "calm") for other in others))] if others else []),
        host("arrive", "arrive", bytes=size, deadline_s=params["arrive_deadline_s"]),
        hold("window", params["window_s"]),
        host("leave", "leave"),
        *_end(params, around),
    ]


def _end(params: Params, around: Around) -> list[PhaseDict]:
    return [
        *policy_stop(around),
        guest("reader-end", "reader_stop"),
        guest("snapshot", "snapshot"),
        guest("reread-hot", "disk_read", **_hot(params, disk(params, around.memory_bytes))),
    ]


def _hot(params: Params, disk_bytes: int) -> dict[str, object]:
    return {**hot_pieces(params, disk_bytes), "access": "read"}


ARRIVAL = Workload(
    name="arrival",
    summary="guests with page cache and freed memory, and a process on the host that needs memory now",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
    disk=disk,
    group=group,
)
