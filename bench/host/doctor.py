"""What this host is, what is missing, and what would make its numbers noisy, each with the command that mends it.

Every reader takes a root. What cannot be read is "not readable here": unknown stays unknown, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from bench.host import findings_cpus, findings_guest, findings_noise, findings_room
from bench.host.canary import Canary
from bench.host.kernels import Kernel
from bench.host.kvm import KvmAnswer
from bench.wire.finding import ORDER, Finding


@dataclass(frozen=True)
class Probes:
    """What had to be found out by running something. None: not asked. need_bytes: host memory that a run needs.

    placement: guest_cpus, sampler_cpus and numa_node of the host's entry. state: findings about this machine's state
    (rights, scratch folder, who has it), which are read through no root.
    """

    qemu: str = ""
    qemu_version: str = ""
    kernel: Optional[Kernel] = None
    kvm: Optional[KvmAnswer] = None
    canary: Optional[Canary] = None
    need_bytes: int = 0
    placement: Mapping[str, Any] = field(default_factory=dict)
    state: tuple[Finding, ...] = ()


def examine(probes: Probes, root: Path = Path("/")) -> list[Finding]:
    """All findings about this machine, worst first; those of one severity in the order of the checks."""
    found = [
        findings_guest.python(),
        findings_guest.host_kernel(root),
        findings_guest.qemu(probes.qemu, probes.qemu_version),
        findings_guest.guest_kernel(probes.kernel),
        findings_guest.kvm(probes.kvm),
        findings_guest.canary(probes.canary),
        *probes.state,
        findings_room.memory(root, probes.need_bytes),
        *findings_cpus.placement(probes.placement, root),
        *findings_noise.noise(root),
    ]
    return sorted(found, key=lambda finding: ORDER.index(finding.severity))
