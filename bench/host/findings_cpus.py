"""What the doctor says about the CPUs and the memory node that a host's entry gives to its guests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.host.cpulist import show_cpus
from bench.host.cpus import ONLINE, isolated_cpus, node_cpus, read_cpus, sharing_core
from bench.wire.finding import UNKNOWN, Finding


def placement(args: Mapping[str, Any], root: Path = Path("/")) -> list[Finding]:
    """args: guest_cpus, sampler_cpus (lists), numa_node (None or a number); as bench.wire.job.Placement has them."""
    guest = set(args.get("guest_cpus") or ())
    return [
        _isolated(guest, root),
        *_cores(guest, set(args.get("sampler_cpus") or ()), root),
        _nodes(guest, args, root),
    ]


def _isolated(guest: set[int], root: Path) -> Finding:
    what, isolated = "isolated CPUs", isolated_cpus(root)
    if isolated is None:
        return Finding("info", what, UNKNOWN)
    value = show_cpus(isolated) or "none"
    open_to_all = guest - set(isolated)
    if guest and open_to_all:
        advice = f"other tasks may run on the guest's CPU {show_cpus(open_to_all)}: isolcpus= keeps them away"
        return Finding("info", what, value, advice)
    if isolated and not guest:
        return Finding("info", what, value, f"no guest runs there unless guest_cpus: [{', '.join(map(str, isolated))}]")
    return Finding("ok", what, value)


def _cores(guest: set[int], sampler: set[int], root: Path) -> list[Finding]:
    """Guests and the sampler on hardware threads of one core; nothing to say where no guest is placed."""
    if not guest:
        return []
    what = "cores of the guest"
    online = read_cpus(root / ONLINE)
    others = sampler or set(online or ()) - guest
    threads = {cpu: sharing_core(cpu, root) for cpu in sorted(guest)}
    if not others or None in threads.values():
        return [Finding("info", what, UNKNOWN)]
    shared = {cpu: others & set(row or ()) for cpu, row in threads.items()}
    pairs = [f"{cpu} and {show_cpus(cpus)}" for cpu, cpus in shared.items() if cpus]
    if not pairs:
        return [Finding("ok", what, f"{show_cpus(guest)}, shared with nobody")]
    advice = "the sampler takes time from the vCPU on the same core: give the guest whole cores, or name sampler_cpus"
    return [Finding("warn", what, f"one core has CPU {', '.join(pairs)}", advice)]


def _nodes(guest: set[int], args: Mapping[str, Any], root: Path) -> Finding:
    what, nodes, wanted = "memory nodes", node_cpus(root), args.get("numa_node")
    if not nodes:
        return Finding("info", what, UNKNOWN)
    value = f"{len(nodes)}" + (f", guests on {wanted}" if wanted is not None else "")
    used = {node for node, cpus in nodes.items() if guest & set(cpus)}
    if wanted is not None and used - {wanted}:
        advice = f"guest_cpus are on node {show_cpus(used)}: every access from there crosses over"
        return Finding("warn", what, value, advice)
    if len(used) > 1:
        return Finding("warn", what, value, f"guest_cpus are on nodes {show_cpus(used)}: name CPUs of one")
    if len(nodes) > 1 and wanted is None:
        return Finding("info", what, value, "a guest's memory comes from any of them: name one (numa_node:)")
    return Finding("ok", what, value)
