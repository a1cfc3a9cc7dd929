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

    reporting_order: to be written by the agent, None: as the kernel chose. policy: arguments of `policy_start` (kind
    and parameters), None for no loop in the guest.
    """

    memory_bytes: int
    vcpus: int = 1
    reporting_order: int | None = None
    policy: Mapping[str, Any] | None = None


def _none(_params: Params, _guest_memory_bytes: int) -> int:
    return 0


@dataclass(frozen=True)
class Workload:
    """script(params, around): the phases of one boot, in order.

    memory_needed(params, guest_memory_bytes): what has to fit into the guest at once, as (label, bytes) parts.
    check(params): (parameter, what is wrong) for values that do not go together. disk_bytes(params,
    guest_memory_bytes): size of the scratch disk, 0 for none. min_vcpus: fewer cannot run it. programs: what the image
    must carry. swap_bytes(params, guest_memory_bytes): swap that the host must have, 0 for none.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    script: Callable[[Params, Around], list[PhaseDict]]
    memory_needed: Callable[[Params, int], tuple[tuple[str, int], ...]]
    check: Callable[[Params], list[tuple[str, str]]]
    disk_bytes: Callable[[Params, int], int] = _none
    swap_bytes: Callable[[Params, int], int] = _none
    min_vcpus: int = 1
    programs: tuple[str, ...] = ()

    def defaults(self) -> dict[str, Any]:
        """Every parameter at its default."""
        return {parameter.name: parameter.default for parameter in self.parameters}
