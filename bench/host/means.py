"""What guests in groups need of a host, and what it may not suffer from them: asked before the first boot of a run.

A group's memory is limited by its cgroup, so that over-commit happens to its guests and never to the host. That holds
only where such a cgroup can be made, where what the limit pushes out has a swap to go to, and where the host has the
memory up to the limit. Each is tried or counted here; nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional

from bench.host import cgroup, swapfile, swaps
from bench.host.knobs import read_text
from bench.host.readers import available_bytes, parse_colon_table
from bench.wire.job import Cgroup
from bench.wire.units import GIB, MIB, show_bytes

# What the host keeps: its kernel's own memory for the guests (page tables, in version 1 charged to nobody) and its own.
MARGIN_BYTES = GIB
# A swap file of this size is made and removed again, to see whether one can be.
TRIAL_BYTES = 64 * MIB

Problem = dict[str, str]
Trial = Callable[[Path, int], str]


def means(
    args: Mapping[str, Any], cache: Path, root: Path = Path("/"), trial: Optional[Trial] = None
) -> dict[str, Any]:
    """Why this host cannot run the plan's groups, all reasons at once: {"problems": [{about, cell, text}]}.

    args: become; memory_bytes, the most that guests may take (None: what is free); swap_file_bytes, of the plan;
    zswap_off, whether the run switches zswap off; groups, each with cell, guests_bytes (all of its guests with their
    QEMUs) and, None without a cgroup, limits ({limit_bytes, swap_limit_bytes}). about: "right", "memory" or "swap".
    trial: tries to make a swap file of a size in a folder, "" or why there can be none.
    """
    file_bytes, groups = int(args["swap_file_bytes"]), [_Need(told) for told in args["groups"]]
    refused = _refused(groups, file_bytes, cache, trial or swap_trial)
    free = swaps.active(root)
    found = [_right(groups, str(args["become"]), root)]
    file_bytes_there = 0 if refused else file_bytes
    by_memory = sorted(groups, key=lambda need: -need.memory_bytes)
    found += [_memory(need, args, file_bytes_there, free, root) for need in by_memory]
    by_swap = sorted(groups, key=lambda need: -need.swap_bytes)
    found += [_swap(need, file_bytes, refused, free) for need in by_swap]
    return {"problems": [problem for problem in _first_of_each(found) if problem]}


class _Need:
    """A group as it was asked for."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.cell = str(told["cell"])
        self.guests_bytes = int(told["guests_bytes"])
        limits = told["limits"]
        self.limits = None if limits is None else Cgroup(limits["limit_bytes"], limits["swap_limit_bytes"])

    @property
    def limit_bytes(self) -> Optional[int]:
        return self.limits.limit_bytes if self.limits else None

    @property
    def memory_bytes(self) -> int:
        """The most of the host's memory that it takes."""
        return self.guests_bytes if self.limit_bytes is None else min(self.limit_bytes, self.guests_bytes)

    @property
    def swap_bytes(self) -> int:
        """The most that its limit can push out: all that is above it, up to the allowance."""
        above = self.guests_bytes - self.memory_bytes
        allowed = self.limits.swap_limit_bytes if self.limits else None
        return above if allowed is None else min(above, allowed)

    def problem(self, about: str, text: str) -> Problem:
        return {"about": about, "cell": self.cell, "text": text}


def swap_trial(folder: Path, size_bytes: int) -> str:
    """Makes a small swap file and removes it: "", or why there can be none of this size."""
    problem = swapfile.refusal(folder, size_bytes)
    if problem:
        return problem
    try:
        return swapfile.make(folder, min(size_bytes, TRIAL_BYTES)).remove()
    except swapfile.RefusedError as refused:
        return str(refused)


def _first_of_each(found: Iterable[Optional[Problem]]) -> Iterable[Problem]:
    """One problem of a kind, the largest: the others would say nearly the same."""
    seen = set()
    for problem in found:
        if problem and problem["about"] not in seen:
            seen.add(problem["about"])
            yield problem


def _right(groups: Sequence[_Need], become: str, root: Path) -> Optional[Problem]:
    """Makes a cgroup with each of the limits, and removes it."""
    tried = []
    for need in groups:
        if need.limits is None or need.limits in tried:
            continue
        tried.append(need.limits)
        try:
            left = cgroup.make(need.limits, become, root).remove()
        except cgroup.Unavailable as lacking:
            return need.problem("right", f"guests with a limit need a memory cgroup; {lacking}")
        if left:
            return need.problem("right", left)
    return None


def _memory(
    need: _Need, args: Mapping[str, Any], file_bytes: int, free: Sequence[swaps.Swap], root: Path
) -> Optional[Problem]:
    available = available_bytes(root)
    if available is None:
        return need.problem("memory", f"{root / 'proc/meminfo'} has no MemAvailable: what guests may take is not known")
    given = args["memory_bytes"]
    room, why = available, "free (MemAvailable)"
    if given is not None and int(given) < available:
        room, why = int(given), "for guests (memory in its entry of hosts.yaml)"
    kept, in_memory = _in_memory(need.swap_bytes, file_bytes, free, zswap_off=bool(args["zswap_off"]), root=root)
    parts = [(need.memory_bytes, "for the guests" if need.limit_bytes is None else "limit of the group")]
    parts += [(kept, f"of their swap that stays in memory ({in_memory})")] if kept else []
    parts += [(MARGIN_BYTES, "that the host keeps")]
    wanted = sum(size for size, _ in parts)
    if wanted <= room:
        return None
    most = max(0, room - (wanted - need.memory_bytes)) // MIB
    advice = "fewer or smaller guests would do" if need.limit_bytes is None else f"a limit of at most {most}M would do"
    if kept:
        advice += ", or swap on a disk" + (", or tune: [zswap]" if in_memory == "zswap" else "")
    sums = " + ".join(f"{show_bytes(size)} {what}" for size, what in parts)
    return need.problem("memory", f"{sums} = {show_bytes(wanted)}, but the host has {show_bytes(room)} {why}; {advice}")


def _in_memory(
    swap_bytes: int, file_bytes: int, free: Sequence[swaps.Swap], *, zswap_off: bool, root: Path
) -> tuple[int, str]:
    """How much of so much swap may lie in the host's own memory, outside the limit, and why.

    zram is charged to nobody, and what does not compress is as large as before. zswap is charged to the group since
    Linux 5.19 only; counted everywhere.
    """
    left, in_zram = swap_bytes - min(swap_bytes, file_bytes), 0
    for swap in sorted(free, key=lambda swap: -swap.priority):
        taken = min(left, swap.size_bytes - swap.used_bytes)
        left -= taken
        in_zram += taken if swap.name.startswith("/dev/zram") else 0
    folder = root / "sys/module/zswap/parameters"
    enabled = not zswap_off and (read_text(folder / "enabled") or "") in ("Y", "1")
    percent = read_text(folder / "max_pool_percent") or ""
    in_zswap = 0
    if enabled and percent.isdigit():
        total = parse_colon_table((root / "proc/meminfo").read_text()).get("MemTotal", 0)
        in_zswap = min(swap_bytes - in_zram, total * int(percent) // 100)
    return (in_zram + in_zswap, "zswap" if in_zswap else "zram")


def _refused(groups: Sequence[_Need], file_bytes: int, cache: Path, trial: Trial) -> str:
    """Why the plan's swap file cannot be made, "" where none is wanted."""
    return trial(cache, file_bytes) if file_bytes and any(need.swap_bytes for need in groups) else ""


def _swap(need: _Need, file_bytes: int, refused: str, free: Sequence[swaps.Swap]) -> Optional[Problem]:
    """The host's own swap is as good as a file, where it is large enough."""
    own = sum(swap.size_bytes - swap.used_bytes for swap in free)
    have = own + (0 if refused else file_bytes)
    if need.swap_bytes <= have:
        return None
    wanted = f"the limit can push {show_bytes(need.swap_bytes)} of the guests out to swap"
    if refused:
        return need.problem("swap", f"{wanted}, but the host has {show_bytes(own)} of it free, and {refused}")
    size = -(-(need.swap_bytes - own) // MIB)
    text = f"{wanted}, but there is {show_bytes(have)}; write swap: {{file: {size}M}}, or raise the limit"
    return need.problem("swap", text)
