"""Settings of a host that move results: where each is, which values are quiet, and why the others are not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


def read_text(path: Path) -> str | None:
    """Stripped text of a small file; None when it is absent or not readable."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def choice(path: Path) -> str:
    """The bracketed word of a file that shows a choice ("always [madvise] never"), else its text; "" if absent."""
    text = read_text(path) or ""
    found = re.search(r"\[([^\]]+)\]", text)
    return found.group(1) if found else text


@dataclass(frozen=True)
class Setting:
    """A file (a glob under the root) with a quiet value: what is `quiet` is ok, anything else gets `advice`.

    The value is the bracketed word where the file shows a choice. set_to: what to write; "" where nothing should be.
    """

    files: str
    quiet: tuple[str, ...]
    set_to: str


@dataclass(frozen=True)
class Knob:
    """A setting of the host that moves results; the first of `settings` whose file exists is the one that counts."""

    what: str
    settings: tuple[Setting, ...]
    advice: str
    severity: str = "warn"

    def look(self, root: Path) -> tuple[Setting | None, list[str]]:
        """The setting that counts here and its distinct values (one a CPU, say); (None, []) when none is readable."""
        for setting in self.settings:
            values = sorted({text for path in root.glob(setting.files) if (text := choice(path))})
            if values:
                return setting, values
        return None, []


_THP = "sys/kernel/mm/transparent_hugepage/"
KNOBS = (
    Knob(
        "cpufreq governor",
        (Setting("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor", ("performance",), "performance"),),
        "the clock follows the load, so times depend on what ran before",
    ),
    Knob(
        "CPU boost",
        (
            Setting("sys/devices/system/cpu/intel_pstate/no_turbo", ("1",), "1"),  # 1 means no boost
            Setting("sys/devices/system/cpu/cpufreq/boost", ("0",), "0"),
        ),
        "boost depends on temperature and on the other cores",
    ),
    Knob(
        "SMT active",
        (Setting("sys/devices/system/cpu/smt/active", ("0",), ""),),
        "two vCPUs on one core disturb each other: pin guests to whole cores, or switch it off",
        severity="info",
    ),
    Knob(
        "THP enabled",
        (Setting(_THP + "enabled", ("madvise", "never"), "madvise"),),
        "khugepaged may collapse pages, and so change residency, in the middle of a run",
    ),
    Knob(
        "THP defrag",
        (Setting(_THP + "defrag", ("madvise", "never", "defer+madvise", "defer"), "madvise"),),
        "page faults may stall for compaction",
    ),
    Knob(
        "THP shmem_enabled",
        (Setting(_THP + "shmem_enabled", ("never", "advise", "deny"), "never"),),
        "a guest's memfd gets huge pages, so residency grows in 2 MiB steps",
    ),
    Knob("KSM run", (Setting("sys/kernel/mm/ksm/run", ("0", "2"), "0"),), "ksmd merges pages and takes CPU time"),
    Knob(
        "zswap",
        (Setting("sys/module/zswap/parameters/enabled", ("N",), "N"),),
        "swapped pages stay in memory, compressed: swap figures are not those of a device",
    ),
    Knob(
        "NUMA balancing",
        (Setting("proc/sys/kernel/numa_balancing", ("0",), "0"),),
        "its hinting faults unmap guest memory during a run",
    ),
)
