"""Which CPUs and memory nodes this host has, and whether a placement that names some can be had here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from bench.errors import InputError
from bench.host.cpulist import parse_cpus, show_cpus
from bench.host.knobs import read_text

CPU = "sys/devices/system/cpu"
ONLINE = CPU + "/online"
NODE = "sys/devices/system/node"


def read_cpus(path: Path) -> Optional[tuple[int, ...]]:
    """The list in a file; None when it is not readable or no list."""
    text = read_text(path)
    try:
        return None if text is None else parse_cpus(text)
    except ValueError:
        return None


def isolated_cpus(root: Path = Path("/")) -> Optional[tuple[int, ...]]:
    """CPUs that the scheduler leaves alone (isolcpus= on the kernel's command line, or an isolated cpuset)."""
    return read_cpus(root / CPU / "isolated")


def sharing_core(cpu: int, root: Path = Path("/")) -> Optional[tuple[int, ...]]:
    """The hardware threads of the core that has `cpu`, itself included."""
    return read_cpus(root / CPU / f"cpu{cpu}/topology/thread_siblings_list")


def node_cpus(root: Path = Path("/")) -> dict[int, tuple[int, ...]]:
    """Memory node -> its CPUs; {} where the kernel shows no nodes."""
    found = {}
    for folder in sorted((root / NODE).glob("node[0-9]*")):
        cpus = read_cpus(folder / "cpulist")
        if cpus is not None and folder.name[4:].isdigit():
            found[int(folder.name[4:])] = cpus
    return dict(sorted(found.items()))


def unpinnable(cpus: Sequence[int]) -> list[int]:
    """Which of `cpus` this process may not run on (a cpuset forbids them): tried, because no file tells.

    Its affinity is as before afterwards.
    """
    before = os.sched_getaffinity(0)
    refused = []
    try:
        for cpu in cpus:
            try:
                os.sched_setaffinity(0, {cpu})
            except OSError:
                refused.append(cpu)
    finally:
        os.sched_setaffinity(0, before)
    return refused


def check_placement(args: Mapping[str, Any], root: Path = Path("/")) -> None:
    """Checks guest_cpus and sampler_cpus (lists of numbers) and numa_node (None or a number) of a host's entry.

    Raises InputError with the key. What this host does not show is not checked.
    """
    online = read_cpus(root / ONLINE)
    for key in ("guest_cpus", "sampler_cpus"):
        wanted = args.get(key) or []
        absent = [cpu for cpu in wanted if online is not None and cpu not in online]
        if absent:
            raise InputError(f"{_cpus(absent)} not online here; online: {show_cpus(online or ())}", key)
        refused = unpinnable(wanted)
        if refused:
            raise InputError(f"{_cpus(refused)} forbidden to this user's processes here (by a cpuset)", key)
    node, nodes = args.get("numa_node"), node_cpus(root)
    if node is not None and node not in nodes:
        here = f"here: {show_cpus(nodes)}" if nodes else "this host shows no nodes: leave it out"
        raise InputError(f"memory node {node} is not here; {here}", "numa_node")


def _cpus(cpus: Sequence[int]) -> str:
    return f"CPU {cpus[0]} is" if len(cpus) == 1 else f"CPUs {show_cpus(cpus)} are"
