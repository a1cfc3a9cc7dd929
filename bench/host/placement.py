"""Where a boot's threads and memory go on the host: set, then read back, because asking is not having.

A cpuset may narrow an affinity without a word, and a QEMU that runs all vCPUs in one thread cannot pin each. Lists are
read from Cpus_allowed_list of /proc/PID/task/TID/status, the memory's policy from /proc/PID/numa_maps.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from bench.host.cpulist import online_cpus, parse_cpus, show_cpus
from bench.wire.job import Job, Placement
from bench.wire.record import Placed

LATENCY_DEVICE = Path("/dev/cpu_dma_latency")


class PlacementError(Exception):
    """Something is not where the job says: what would be measured is not what was asked for."""


@dataclass(frozen=True)
class Seat:
    """What was arranged before QEMU starts. qemu_cpus: what it starts on, () to inherit. latency: as in Placed.seen."""

    qemu_cpus: tuple[int, ...] = ()
    latency: str = ""


def impossible(placement: Placement, vcpus: int, root: Path = Path("/")) -> str:
    """Why this host cannot do it, as far as can be told before QEMU starts; "" otherwise."""
    problems = []
    asked = {*placement.guest_cpus, *placement.sampler_cpus}
    # The vCPUs get the first ones, in order (`place`).
    different = set(placement.guest_cpus[:vcpus])
    if different and len(different) < vcpus:
        problems.append(f"{vcpus} vCPUs need as many guest CPUs, and there is only {show_cpus(different)}")
    online = _online(root) if asked else ()
    missing = asked - set(online) if online else ()
    if missing:
        problems.append(f"CPU {show_cpus(missing)} is not online (online: {show_cpus(online)})")
    node = placement.numa_node
    if node is not None and not (root / f"sys/devices/system/node/node{node}").is_dir():
        there = (root / "sys/devices/system/node").glob("node[0-9]*")
        known = show_cpus(int(path.name[len("node") :]) for path in there) or "none"
        problems.append(f"NUMA node {node} is not there (there: {known})")
    return "; ".join(problems)


@contextlib.contextmanager
def seat(placement: Placement, root: Path = Path("/"), device: Path = LATENCY_DEVICE) -> Iterator[Seat]:
    """Moves this process to its CPUs and holds the latency while the block lasts; both are given back.

    What does not work raises nothing: it is seen when it is read back. Threads inherit the CPUs of who starts them, so
    the sampler is where this process is.
    """
    before, own = os.sched_getaffinity(0), _own_cpus(placement, root)
    with contextlib.ExitStack() as stack:
        latency = stack.enter_context(_held_latency(device)) if placement.hold_latency else ""
        if own:
            stack.callback(_pin_all, before)
            _pin_all(own)
        # QEMU must not inherit the sampler's.
        yield Seat(placement.guest_cpus or (tuple(sorted(before)) if own else ()), latency)


def place(job: Job, pid: int, vcpus: Sequence[int], latency: str = "", root: Path = Path("/")) -> Placed:
    """Pins the vCPUs (thread ids, in order) of a running QEMU and reads back where everything is. Raises nothing."""
    for tid, cpu in zip(vcpus, job.placement.guest_cpus):
        _pin(tid, [cpu])
    seen = see(job, pid, vcpus, root)
    problem = _difference(_asked(job, root), seen)
    return Placed({**seen, "cpu_dma_latency": latency} if latency else seen, problem)


def moved(job: Job, pid: int, vcpus: Sequence[int], root: Path = Path("/")) -> str:
    """What of the threads is no longer where `place` put it; "" while all is. Raises nothing.

    A CPU that goes offline and a cpuset that changes move threads without a word. The memory is not looked at again:
    nobody else can unbind it, and by now it would be slow.
    """
    asked = {name: want for name, want in _asked(job, root).items() if name != "memory"}
    problem = _difference(asked, _threads(pid, vcpus, root)) if asked else ""
    return f"moved while the guest ran: {problem}" if problem else ""


def see(job: Job, pid: int, vcpus: Sequence[int], root: Path = Path("/")) -> dict[str, str]:
    """Where the threads may run and what binds the guest's RAM; what cannot be read is absent."""
    memory = _policy(root / f"proc/{pid}", job.arm.backing, job.ram_parts[0])
    return {**_threads(pid, vcpus, root), **({"memory": memory} if memory else {})}


def _threads(pid: int, vcpus: Sequence[int], root: Path) -> dict[str, str]:
    tasks = root / f"proc/{pid}/task"
    found = {f"vcpu{index}": _allowed([tasks / str(tid)]) for index, tid in enumerate(vcpus)}
    found["qemu"] = _allowed(path for path in _folders(tasks) if int(path.name) not in vcpus)
    found["sampler"] = _allowed(_folders(root / f"proc/{os.getpid()}/task"))
    return {name: value for name, value in found.items() if value}


def _own_cpus(placement: Placement, root: Path) -> tuple[int, ...]:
    """The host side's own CPUs; () where it stays as it is."""
    if placement.sampler_cpus or not placement.guest_cpus:
        return placement.sampler_cpus
    return tuple(cpu for cpu in _online(root) if cpu not in placement.guest_cpus)


def _asked(job: Job, root: Path) -> dict[str, str]:
    """What `see` has to find; nothing is asked of what is not named here."""
    placement = job.placement
    asked = {}
    if placement.guest_cpus:
        asked = {f"vcpu{index}": str(cpu) for index, cpu in enumerate(placement.guest_cpus[: job.guest.vcpus])}
        asked["qemu"] = show_cpus(placement.guest_cpus)
    own = _own_cpus(placement, root)
    if own:
        asked["sampler"] = show_cpus(own)
    if placement.numa_node is not None:
        asked["memory"] = f"bind:{placement.numa_node}"
    return asked


def _difference(asked: dict[str, str], seen: dict[str, str]) -> str:
    problems = []
    for name, want in asked.items():
        if name not in seen:
            problems.append(f"where {name} is cannot be read, and it should be {want}")
        elif name == "memory" and seen[name] != want:
            problems.append(f"memory policy is {seen[name]} instead of {want}")
        # A thread of QEMU that a pinned vCPU started has fewer CPUs than asked for, and is where it should be.
        elif name != "memory" and not set(parse_cpus(seen[name])) <= set(parse_cpus(want)):
            problems.append(f"{name} may run on {seen[name]} instead of {want}")
    return "; ".join(problems)


@contextlib.contextmanager
def _held_latency(device: Path) -> Iterator[str]:
    """Linux Documentation/power/pm_qos_interface.rst: the wish, an int32 of µs, holds as long as the file is open."""
    try:
        fd = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        yield f"not held: {error.strerror}"
        return
    try:
        os.write(fd, struct.pack("=i", 0))
        said = "0 us, held"
    except OSError as error:
        said = f"not held: {error.strerror}"
    try:
        yield said
    finally:
        os.close(fd)


def _pin_all(cpus: Iterable[int]) -> None:
    """Every thread of this process."""
    for path in _folders(Path(f"/proc/{os.getpid()}/task")):
        _pin(int(path.name), cpus)


def _pin(tid: int, cpus: Iterable[int]) -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(tid, cpus)


def _online(root: Path) -> tuple[int, ...]:
    """() where /sys does not say."""
    with contextlib.suppress(OSError, ValueError):
        return online_cpus(root)
    return ()


def _folders(tasks: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in tasks.iterdir() if path.name.isdigit()]
    return []


def _allowed(threads: Iterable[Path]) -> str:
    """The CPUs that any of the threads may run on; "" when none can be read."""
    cpus: set[int] = set()
    for thread in threads:
        with contextlib.suppress(OSError, ValueError):  # a thread may end meanwhile
            _, found, rest = (thread / "status").read_text().partition("\nCpus_allowed_list:")
            cpus.update(parse_cpus(rest.partition("\n")[0]) if found else ())
    return show_cpus(cpus)


def _policy(process: Path, backing: str, memory_bytes: int) -> str:
    """The memory policy of the guest's RAM ("default", "bind:0"); "" where it cannot be read (a kernel without NUMA).

    Counts the pages that every mapping holds, so it is cheap only while the guest has touched little.
    """
    with contextlib.suppress(OSError, ValueError):
        start = _ram_start((process / "maps").read_text(), backing, memory_bytes)
        for line in (process / "numa_maps").read_text().splitlines():
            words = line.split()
            if start is not None and int(words[0], 16) == start:
                return words[1]
    return ""


def _ram_start(maps: str, backing: str, memory_bytes: int) -> Optional[int]:
    """Address of the smallest mapping that can hold the RAM: a memfd's, or memory without a file."""
    found = []
    for line in maps.splitlines():
        words = line.split(maxsplit=5)
        first, _, last = words[0].partition("-")
        size, name = int(last, 16) - int(first, 16), words[5] if len(words) > 5 else ""
        fits = name == "" if backing == "anonymous" else name.startswith("/memfd:")
        if fits and words[1][:3] == "rw-" and size >= memory_bytes:
            found.append((size, int(first, 16)))
    return min(found)[1] if found else None
