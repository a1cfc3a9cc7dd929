"""What a workload is: a name, parameters with ranges, and a script of phases. Plain data; imports nothing of bench."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Parameters in base units (bytes, seconds, shares between 0 and 1), every one present.
Params = Mapping[str, Any]
# One step, with the keys of bench.wire.job.Phase: name, kind, iteration, op, args, warmup.
PhaseDict = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """kind: "size" (bytes), "share" (0 to 1), "seconds", "count" or "choice". low, high: inclusive, None: no limit."""

    name: str
    kind: str
    default: Any
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Around:
    """What a script is written for: the guest, and what of the arm the agent has to do.

    reporting_order: to be written by the agent, None: as the kernel chose. reporting_params: the same for other
    parameters of the module page_reporting. policy: arguments of `policy_start` (kind and parameters), None for no
    loop. host_policy: the loop is one of the host's. give: what the host does to have memory back and to give it again
    ("balloon", "virtio-mem"), "" for nothing. hinting: QEMU asks the guest for free pages while it migrates.
    """

    memory_bytes: int
    vcpus: int = 1
    reporting_order: int | None = None
    policy: Mapping[str, Any] | None = None
    reporting_params: Mapping[str, int] | None = None
    give: str = ""
    hinting: bool = False
    host_policy: bool = False


# What a guest needs for itself: kernel, initramfs and agent, and the kernel's page structures (64 bytes a 4 KiB page).
GUEST_OWN_BYTES, GUEST_OWN_SHARE = 128 << 20, 1 / 64
SETTLING = (
    Parameter("settle_min_s", "seconds", 8.0, "shortest wait after the free", 0, 3600),
    Parameter("settle_max_s", "seconds", 25.0, "longest wait for the plateau after the free", 0, 7200),
    Parameter(
        "settle_window_s", "seconds", 4.5, "flat for so long is settled; above two reporting passes of 2 s", 0.5, 600
    ),
    Parameter("settle_tolerance", "size", 2 << 20, "change of residency that still counts as flat", 0, 1 << 40),
    Parameter(
        "drain_min_s", "seconds", 5.0, "shortest wait before an iteration, for reports of the boot itself", 0, 3600
    ),
    Parameter("drain_max_s", "seconds", 30.0, "longest wait before an iteration", 0, 7200),
    Parameter("window_s", "seconds", 8.0, "fixed window of the footprint, from the free on", 0.1, 3600),
)

REPEATING = (
    Parameter("iterations", "count", 1, "counted repetitions in one boot", 1, 1000),
    Parameter("warmups", "count", 0, "repetitions before them, kept but not counted", 0, 100),
)
THP = Parameter("thp", "choice", "system", "transparent huge pages in the guest", choices=("system", "always", "never"))

# For workloads that can have a probe beside them.
PROBING = (
    Parameter(
        "probe",
        "choice",
        "none",
        "what counts its work on a CPU of its own meanwhile",
        choices=("none", "work", "bandwidth"),
    ),
    Parameter("probe_quantum_s", "seconds", 0.01, "length of the quanta in which it counts", 0.0005, 1),
    Parameter("probe_before_s", "seconds", 3.0, "time that is counted before the free", 0.1, 3600),
    Parameter(
        "probe_bytes", "size", 64 << 20, "what probe: bandwidth copies, to be larger than caches", 1 << 20, 1 << 40
    ),
)
LEAST_QUANTA = 20


def share_bytes(share: float, guest_memory_bytes: int) -> int:
    """A share of the guest's memory in whole 2 MiB blocks, at least one."""
    block = 2 << 20
    return max(block, int(share * guest_memory_bytes) // block * block)


def own_needs(guest_memory_bytes: int) -> tuple[tuple[str, int], ...]:
    """What the guest needs for itself, as a part of `memory_needed`."""
    return (("the guest itself", GUEST_OWN_BYTES + int(guest_memory_bytes * GUEST_OWN_SHARE)),)


def wrong_settling(params: Params) -> list[tuple[str, str]]:
    """Values of SETTLING that do not go together, for `check`."""
    window, shortest = params["window_s"], params["settle_min_s"]
    too_long = f"{window:g} s is longer than settle_min_s ({shortest:g} s); make it at most that"
    found = [("window_s", too_long)] if window > shortest else []
    for name, key in (("settle", "settle_min_s"), ("settle", "settle_window_s"), ("drain", "drain_min_s")):
        if params[f"{name}_max_s"] < params[key]:
            found.append((f"{name}_max_s", f"shorter than {key} ({params[key]:g} s); make it at least that"))
    return found


def no_disk(_params: Params, _guest_memory_bytes: int) -> int:
    """Of a workload that reads no disk."""
    return 0


def probe_needs(params: Params) -> tuple[tuple[str, int], ...]:
    """What a probe needs, as a part of `memory_needed`."""
    return (("the probe's buffer", params["probe_bytes"]),) if params["probe"] == "bandwidth" else ()


def wrong_probing(params: Params) -> list[tuple[str, str]]:
    """Values of PROBING that do not go together, for `check`."""
    least = LEAST_QUANTA * params["probe_quantum_s"]
    if params["probe"] == "none" or min(params["probe_before_s"], params["window_s"]) >= least:
        return []
    return [
        ("probe_quantum_s", f"{LEAST_QUANTA} quanta fit neither into probe_before_s nor into window_s; make it less")
    ]


@dataclass(frozen=True)
class Group:
    """Several guests in one memory cgroup. limit_bytes, swap_limit_bytes: of memory and of swap, None for no limit."""

    guests: int
    limit_bytes: int | None = None
    swap_limit_bytes: int | None = None


def alone(_params: Params, _guest_memory_bytes: int) -> Group | None:
    """Of a workload of one guest."""
    return None


@dataclass(frozen=True)
class Workload:
    """script(params, around): the phases of one boot, in order.

    memory_needed(params, guest_memory_bytes): what has to fit into the guest at once, as (label, bytes) parts.
    check(params): (parameter, what is wrong) for values that do not go together.
    disk(params, guest_memory_bytes): size of the scratch disk that the guest gets, in whole MiB; 0 for none.
    group(params, guest_memory_bytes): the guests of a boot, None for one that is in no group.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    script: Callable[[Params, Around], list[PhaseDict]]
    memory_needed: Callable[[Params, int], tuple[tuple[str, int], ...]]
    check: Callable[[Params], list[tuple[str, str]]]
    disk: Callable[[Params, int], int] = no_disk
    group: Callable[[Params, int], Group | None] = alone

    def defaults(self) -> dict[str, Any]:
        """Every parameter at its default."""
        return {parameter.name: parameter.default for parameter in self.parameters}
