"""O(1) readers of the host's counters for the sampler. Each takes a root, so that a synthetic tree can stand in.

A reader gives (source, name, value) triples; a counter that this host does not have is absent, never 0.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional, Protocol

from bench.host.procfile import ProcFile
from bench.wire.record import of_guest

Triple = tuple[str, str, float]


class Reader(Protocol):
    """Something that gives (source, name, value) triples quickly."""

    def read(self) -> Iterator[Triple]: ...


VMSTAT_NAMES = frozenset(
    [
        "pswpin",
        "pswpout",
        "pgmajfault",
        "thp_fault_alloc",
        "thp_fault_fallback",
        "thp_collapse_alloc",
        "thp_split_page",
        "thp_split_pmd",
        "thp_file_alloc",
        "compact_stall",
        "compact_success",
        "compact_fail",
        "zswpin",
        "zswpout",
        "oom_kill",
    ]
)
MEMINFO_NAMES = frozenset(
    [
        "MemFree",
        "MemAvailable",
        "Cached",
        "AnonPages",
        "Shmem",
        "SwapCached",
        "SwapFree",
        "AnonHugePages",
        "ShmemHugePages",
        "HugePages_Free",
    ]
)
STATUS_NAMES = {
    "VmRSS": "rss_bytes",
    "RssAnon": "rss_anon_bytes",
    "RssFile": "rss_file_bytes",
    "RssShmem": "rss_shmem_bytes",
    "VmSwap": "swap_bytes",
    "HugetlbPages": "hugetlb_bytes",
}
_SWAP_NAMES = frozenset(["SwapTotal", "SwapFree"])


def parse_colon_table(text: str, names: Optional[Container[str]] = None) -> dict[str, int]:
    """`Name:   123 kB` lines (meminfo, status, smaps_rollup) as bytes, or plain numbers where there is no kB.

    names: only these are looked at, None for all.
    """
    table = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if names is not None and name not in names:
            continue
        words = rest.split()
        if words and words[0].isdigit():
            table[name.strip()] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return table


def parse_words(text: str) -> dict[str, int]:
    """`name 123` lines (vmstat)."""
    words = text.split()
    return {name: int(value) for name, value in zip(words[::2], words[1::2])}


def read_smaps_rollup(pid: int, root: Path = Path("/")) -> dict[str, int]:
    """smaps_rollup of a process in bytes. Walks page tables under the mmap lock: for phase edges only."""
    # The first line is the address range, not a counter.
    return parse_colon_table((root / f"proc/{pid}/smaps_rollup").read_text().partition("\n")[2])


class VmstatReader:
    """Host-wide swap, THP and compaction counters."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._file = ProcFile(root / "proc/vmstat")

    def read(self) -> Iterator[Triple]:
        for name, value in parse_words(self._file.text()).items():
            if name in VMSTAT_NAMES:
                yield ("vmstat", name, float(value))


class MeminfoReader:
    """Host-wide memory, in bytes."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._file = ProcFile(root / "proc/meminfo")

    def read(self) -> Iterator[Triple]:
        for name, value in parse_colon_table(self._file.text(), MEMINFO_NAMES).items():
            yield ("meminfo", name if name.startswith("HugePages") else f"{name}_bytes", float(value))


class Labelled:
    """A reader of one guest of several: its sources are "ram.2" and the like."""

    def __init__(self, reader: Reader, guest: int) -> None:
        self._reader, self._guest = reader, guest

    def read(self) -> Iterator[Triple]:
        for source, name, value in self._reader.read():
            yield (of_guest(source, self._guest), name, value)


class ProcessReader:
    """Resident set, swap and major faults of QEMU, and its CPU seconds by kind of thread: main, vCPU, other.

    CPU time is the first field of schedstat (nanoseconds run); the time of threads that ended stays counted. A kernel
    without schedstat gives no CPU seconds.
    """

    def __init__(self, pid: int, vcpu_tids: Iterable[int], root: Path = Path("/")) -> None:
        self._status = ProcFile(root / f"proc/{pid}/status")
        self._stat = ProcFile(root / f"proc/{pid}/stat")
        self._tasks = root / f"proc/{pid}/task"
        self._schedstats: dict[int, ProcFile] = {}
        self._kinds = {pid: "main", **dict.fromkeys(vcpu_tids, "vcpu")}
        self._cpu_ns: dict[int, int] = {}

    def read(self) -> Iterator[Triple]:
        status = parse_colon_table(self._status.text(), STATUS_NAMES)
        for name, label in STATUS_NAMES.items():
            if name in status:
                yield ("qemu", label, float(status[name]))
        # Behind the name, which may hold anything: the 10th field is majflt (proc(5)).
        yield ("qemu", "major_faults", float(self._stat.text().rpartition(")")[2].split()[9]))
        yield from self._cpu()

    def _cpu(self) -> Iterator[Triple]:
        for name in os.listdir(self._tasks):  # noqa: PTH208 - no objects twenty times a second
            number = int(name)
            # A thread may end between the two calls; what it used is kept from the tick before.
            with suppress(FileNotFoundError, ProcessLookupError):
                if number not in self._schedstats:
                    self._schedstats[number] = ProcFile(self._tasks / name / "schedstat")
                self._cpu_ns[number] = int(self._schedstats[number].text().split()[0])
        if not self._cpu_ns:
            return
        totals = {"main": 0, "vcpu": 0, "other": 0}
        for number, ns in self._cpu_ns.items():
            totals[self._kinds.get(number, "other")] += ns
        for kind, ns in totals.items():
            yield ("qemu", f"cpu_{kind}_s", ns / 1e9)


class RamReader:
    """How much of the guest's RAM the host holds, by what backs it.

    sizes: bytes of each piece of it.

    memfd and hugetlb: the blocks of the files, exact and O(1) (fstat); shmem counts swapped pages as blocks too, so
    what is not mapped (RssShmem) is swapped, as far as the host has swap in use: other pages may be unmapped too. file:
    its blocks too, bounded by RssFile: what the host wrote to the disk and dropped from its page cache is mapped no
    more, and counts as swapped. anonymous: RssAnon and VmSwap of the process, which hold QEMU's own memory as well.

    Swapped pages may still be in memory, in the swap cache: the host counts those (SwapCached of meminfo), and a memory
    cgroup its own (`bench.host.cgroup`).
    """

    def __init__(self, pid: int, backing: str, sizes: Sequence[int], root: Path = Path("/")) -> None:
        self._status = ProcFile(root / f"proc/{pid}/status")
        self._meminfo = ProcFile(root / "proc/meminfo")
        self._backing = backing
        self._files = [] if backing == "anonymous" else find_memfds(root / f"proc/{pid}/fd", sizes)

    def read(self) -> Iterator[Triple]:
        resident, swapped = self.now()
        yield ("ram", "resident_bytes", float(resident))
        yield ("ram", "swapped_bytes", float(swapped))

    def now(self) -> tuple[int, int]:
        """(resident, swapped) in bytes."""
        if not self._files:
            status = parse_colon_table(self._status.text(), STATUS_NAMES)
            return status["RssAnon"], status["VmSwap"]
        allocated = sum(os.stat(file).st_blocks for file in self._files) * 512
        swapped = 0 if self._backing == "hugetlb" else self._swapped(allocated)
        return allocated - swapped, swapped

    def _swapped(self, allocated: int) -> int:
        if self._backing == "file":
            return max(0, allocated - parse_colon_table(self._status.text(), STATUS_NAMES)["RssFile"])
        host = parse_colon_table(self._meminfo.text(), _SWAP_NAMES)
        used = host.get("SwapTotal", 0) - host.get("SwapFree", 0)
        if used <= 0:
            return 0
        unmapped = allocated - parse_colon_table(self._status.text(), STATUS_NAMES)["RssShmem"]
        return min(max(0, unmapped), used)


def find_memfds(folder: Path, sizes: Sequence[int]) -> list[Path]:
    """A descriptor of each file behind the RAM: memfds, or files without a name (QEMU 7.2 util/mmap-alloc.c and
    system/physmem.c, file_ram_open()), of exactly these sizes, each file once. Raises FileNotFoundError.
    """
    files: dict[int, tuple[Path, int]] = {}
    for entry in sorted(folder.iterdir()):
        target = _target(entry)
        if target.startswith("/memfd:") or "/qemu_back_mem." in target:
            seen = os.stat(entry)
            files.setdefault(seen.st_ino, (entry, seen.st_size))
    found = []
    for wanted in sizes:
        inode = next((number for number, (_, size) in files.items() if size == wanted), None)
        if inode is None:
            raise FileNotFoundError(f"{folder}: no memfd or file of {wanted} bytes among QEMU's descriptors")
        found.append(files.pop(inode)[0])
    return found


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def available_bytes(root: Path = Path("/")) -> Optional[int]:
    """MemAvailable of the host."""
    return parse_colon_table((root / "proc/meminfo").read_text()).get("MemAvailable")
