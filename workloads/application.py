"""Workload `application`: what does a real program see, busy, idle, and busy again?

`kv`: a key-value server (Redis) is filled and loaded by its own benchmark client, emptied, left idle and loaded again.
`archive`: a file is compressed (xz) on tmpfs, both files are removed, and it is done again. The programs are carried
into the guest from the controller (`programs:` in the plan).
"""

from __future__ import annotations

from typing import Any

from workloads.phases import give, grow, guest, iterations, policy_start, policy_stop, proof, settle, setup
from workloads.shape import (
    REPEATING,
    SETTLING,
    Around,
    Parameter,
    Params,
    PhaseDict,
    Workload,
    own_needs,
    wrong_settling,
)

MIB = 1 << 20
SERVER, CLIENT, PACKER = "redis-server", "redis-benchmark", "xz"
SOCKET = "/tmp/kv.sock"  # noqa: S108 - in a guest of our own
INPUT = "/tmp/archive/data"  # noqa: S108
PACKED = f"{INPUT}.xz"
# What Redis keeps of a value beside its bytes: key, object, table entry, and the allocator's rounding.
_PER_VALUE_BYTES = 256
# A pass of the reporting worker comes 2 s after a free, if none runs (Linux mm/page_reporting.c).
_PASS_S = 2.5
_PARAMETERS = (
    Parameter("job", "choice", "kv", "which program works", choices=("kv", "archive")),
    Parameter("values", "count", 40000, "kv: keys that the server is filled with", 1, 10**9),
    Parameter("value_bytes", "size", 4096, "kv: size of each value", 1, 1 << 29),
    Parameter("requests", "count", 20000, "kv: requests of each kind (GET, SET) under load", 1, 10**9),
    Parameter("clients", "count", 8, "kv: connections at once", 1, 10000),
    Parameter("data", "size", 48 * MIB, "archive: size of the file", 4096, 1 << 40),
    Parameter("level", "count", 0, "archive: preset of the compressor", 0, 9),
    Parameter("proof", "size", 32 * MIB, "memory touched and freed first, to see reporting work", 1 << 22, 1 << 40),
    Parameter("deadline_s", "seconds", 120.0, "longest time of one program", 1, 86400),
    *REPEATING,
    *SETTLING,
)


def script(params: Params, around: Around) -> list[PhaseDict]:
    """The phases of one boot. Every iteration begins with an empty server, or without files."""
    return iterations([*setup(around), *_proved(params)], _iteration(params, around), params)


def memory_needed(params: Params, guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """What the program holds at its largest, and the guest's own needs, bytes."""
    if params["job"] == "kv":
        size = params["values"] * (params["value_bytes"] + _PER_VALUE_BYTES)
        return ((f"{params['values']} values", size), *own_needs(guest_memory_bytes))
    return (("data and archive", 2 * params["data"]), *own_needs(guest_memory_bytes))


def check(params: Params) -> list[tuple[str, str]]:
    """Values that do not go together."""
    return wrong_settling(params)


def _proved(params: Params) -> list[PhaseDict]:
    """What a server lets go may lie in blocks that are too small to be reported: other memory proves the mechanism."""
    settling = {
        "settle_min_s": max(_PASS_S, params["drain_min_s"]),
        "settle_max_s": max(2 * _PASS_S, params["drain_max_s"]),
    }
    return proof({**params, **settling}, params["proof"])


def _iteration(params: Params, around: Around) -> list[PhaseDict]:
    begin, busy, free, again, end = (_kv if params["job"] == "kv" else _archive)(params)
    return [
        settle("drain", params, params["drain_min_s"], params["drain_max_s"]),
        *policy_start(around),
        *begin,
        busy("busy"),
        guest("snapshot-before", "snapshot"),
        free,
        # The server does not say what it let go: what its values took.
        *give(around, params["values"] * params["value_bytes"] * 6 // 10 if params["job"] == "kv" else None),
        settle("settle", params, params["settle_min_s"], params["settle_max_s"]),
        guest("snapshot", "snapshot"),
        *grow(around),
        *again,
        busy("again"),
        *end,
        settle("after", params, params["settle_min_s"], params["settle_max_s"]),
        *policy_stop(around),
    ]


def _kv(params: Params) -> tuple[Any, ...]:
    server = [SERVER, "--port", "0", "--unixsocket", SOCKET, "--save", "", "--appendonly", "no", "--daemonize", "no"]
    client = [CLIENT, "-s", SOCKET, "--csv", "-r", str(params["values"]), "-d", str(params["value_bytes"])]
    deadline = {"deadline_s": params["deadline_s"]}
    # The client draws its keys at random: of so many requests as there are keys, about 63 % are different.
    # Pipelined, for filling is not what is measured.
    filling = [*client, "-t", "set", "-n", str(params["values"]), "-c", "1", "-P", "32"]
    loading = [*client, "-t", "get,set", "-n", str(params["requests"]), "-c", str(params["clients"])]

    def fill(name: str) -> PhaseDict:
        return guest(name, "program_run", program="fill", argv=filling, **deadline)

    def busy(name: str) -> PhaseDict:
        return guest(name, "program_run", program="load", argv=loading, **deadline)

    begin = [guest("server", "program_start", program="server", argv=server, ready=SOCKET, **deadline), fill("fill")]
    # What an allocator keeps for later is no free memory of the guest: it is asked to let go.
    asked = ["FLUSHALL SYNC", "MEMORY PURGE"]
    free = guest("free", "program_ask", path=SOCKET, requests=asked, **deadline)
    return begin, busy, free, [fill("fill-again")], [guest("server-end", "program_stop", program="server")]


def _archive(params: Params) -> tuple[Any, ...]:
    argv = [PACKER, "--keep", "--force", f"-{params['level']}", "--threads=1", INPUT]

    def data(name: str) -> PhaseDict:
        return guest(name, "program_data", path=INPUT, bytes=params["data"])

    def busy(name: str) -> PhaseDict:
        return guest(name, "program_run", program="pack", argv=argv, deadline_s=params["deadline_s"])

    def remove(name: str) -> PhaseDict:
        return guest(name, "program_remove", paths=[INPUT, PACKED])

    return [data("data")], busy, remove("free"), [data("data-again")], [remove("remove")]


APPLICATION = Workload(
    name="application",
    summary="run real programs: busy, freed and idle, busy again",
    parameters=_PARAMETERS,
    script=script,
    memory_needed=memory_needed,
    check=check,
)
