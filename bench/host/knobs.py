"""Settings of a host that move results: where each is, which values are quiet, and why the others are not.

The kernel's documentation of each file: admin-guide/pm/cpufreq, admin-guide/pm/cpuidle, admin-guide/mm/transhuge,
admin-guide/mm/ksm, admin-guide/mm/zswap, admin-guide/sysctl/vm and /kernel, ABI/testing/sysfs-devices-system-cpu.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.host.cpulist import parse_cpus, show_cpus

# A CPU that needs longer than this to wake up delays what waits for it by more than a page fault takes.
IDLE_LATENCY_US = 100


def read_text(path: Path) -> str | None:
    """Stripped text of a small file; None when it is absent or not readable."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def chosen(text: str) -> str:
    """The bracketed word of a text that shows a choice ("always [madvise] never"), else the text."""
    found = re.search(r"\[([^\]]+)\]", text)
    return found.group(1) if found else text


def choice(path: Path) -> str:
    """The bracketed word of a file that shows a choice, else its text; "" if absent."""
    return chosen(read_text(path) or "")


@dataclass(frozen=True)
class KnobFile:
    """A file (a glob under the root) with a quiet value: what is `quiet` is ok, anything else gets `advice`.

    The value is the bracketed word where the file shows a choice. set_to: what to write; "" where nothing should be.
    above_us: of the files of idle states, only those of a state that takes longer to wake from.
    """

    files: str
    quiet: tuple[str, ...]
    set_to: str
    above_us: int | None = None

    def paths(self, root: Path) -> list[Path]:
        """The files that are here, each once (CPUs that share a cpufreq policy share its file), CPU 2 before 10."""
        found = {path.resolve() for path in root.glob(self.files) if self._counts(path)}
        return sorted(found, key=lambda path: [(int(part or -1), rest) for part, rest in _PARTS.findall(str(path))])

    def _counts(self, path: Path) -> bool:
        if self.above_us is None:
            return True
        latency = read_text(path.parent / "latency")
        return latency is not None and latency.isdigit() and int(latency) > self.above_us


_PARTS = re.compile(r"(\d*)(\D*)")


@dataclass(frozen=True)
class Knob:
    """A setting of the host that moves results; the first of `settings` whose file exists is the one that counts.

    name: what it is called where it is tuned, one of bench.wire.setting.NAMES. shown: the doctor has a finding of it.
    besides: files (globs) that the kernel may change, or make anew with its own values, when this one is written.
    """

    name: str
    what: str
    settings: tuple[KnobFile, ...]
    advice: str
    severity: str = "warn"
    shown: bool = True
    besides: tuple[str, ...] = ()

    def look(self, root: Path) -> tuple[KnobFile | None, list[str]]:
        """The file that counts here and its distinct values (one a CPU, say); (None, []) when none is readable."""
        for setting in self.settings:
            values = sorted({text for path in setting.paths(root) if (text := choice(path))})
            if values:
                return setting, values
        return None, []

    def target(self, root: Path) -> tuple[KnobFile, list[Path]] | None:
        """What tuning writes here: the first that may be written and exists. None when this host has none."""
        for setting in self.settings:
            if setting.set_to and (paths := setting.paths(root)):
                return setting, paths
        return None

    def beside(self, root: Path) -> list[Path]:
        """The files of `besides` that are here and may be written."""
        found = {path.resolve() for glob in self.besides for path in root.glob(glob)}
        return sorted(path for path in found if path.is_file() and path.stat().st_mode & 0o222)


def smt_problem(root: Path) -> tuple[bool, str]:
    """Whether SMT is as good as off though `control` says "on", and why it must not be switched off and on again.

    `on` starts every CPU that is present, also those that somebody took offline (kernel/cpu.c, cpuhp_smt_enable()).
    """
    if read_text(root / _CPU / "smt/active") == "0":
        return True, "every sibling is offline already"
    present, online = (read_text(root / _CPU / name) for name in ("present", "online"))
    if present is None or online is None:
        return False, ""
    offline = set(parse_cpus(present)) - set(parse_cpus(online))
    return False, f"CPUs {show_cpus(offline)} are offline, and restoring would start them" if offline else ""


_CPU = "sys/devices/system/cpu/"
_POLICY = _CPU + "cpufreq/policy[0-9]*/"
_GOVERNORS = ("ondemand", "conservative", "schedutil")  # those with values of their own
_THP = "sys/kernel/mm/transparent_hugepage/"
KNOBS = (
    Knob(
        "governor",
        "cpufreq governor",
        (KnobFile(_CPU + "cpu[0-9]*/cpufreq/scaling_governor", ("performance",), "performance"),),
        "the clock follows the load, so times depend on what ran before",
        # amd-pstate leaves the preference of `performance` behind; a governor's own files go and come back with it.
        besides=(
            _POLICY + "energy_performance_preference",
            _POLICY + "scaling_setspeed",
            *(f"{folder}{name}/*" for folder in (_CPU + "cpufreq/", _POLICY) for name in _GOVERNORS),
        ),
    ),
    Knob(
        "boost",
        "CPU boost",
        (
            KnobFile(_CPU + "intel_pstate/no_turbo", ("1",), "1"),  # 1 means no boost
            # Before the file of all: writing that changes every policy, and would not restore one that differed.
            KnobFile(_CPU + "cpufreq/policy[0-9]*/boost", ("0",), "0"),
            KnobFile(_CPU + "cpufreq/boost", ("0",), "0"),
        ),
        "boost depends on temperature and on the other cores",
        # no_turbo squeezes the first (intel_pstate.c, store_no_turbo()); cppc_cpufreq and others reset the second.
        besides=(_CPU + "intel_pstate/min_perf_pct", _POLICY + "scaling_max_freq"),
    ),
    Knob(
        "idle",
        "C-states",
        (KnobFile(_CPU + "cpu[0-9]*/cpuidle/state[0-9]*/disable", ("1",), "1", above_us=IDLE_LATENCY_US),),
        "wake-ups add to short waits",
        shown=False,  # the doctor says which state it is, and how long it takes
    ),
    Knob(
        "smt",
        "SMT active",
        (
            # Read only. `control` says "on" also where every sibling is offline already.
            KnobFile(_CPU + "smt/active", ("0",), ""),
            KnobFile(_CPU + "smt/control", ("off", "forceoff", "notsupported", "notimplemented"), "off"),
        ),
        "two vCPUs on one core disturb each other: pin guests to whole cores, or switch it off",
        severity="info",
    ),
    Knob(
        "thp",
        "THP enabled",
        (KnobFile(_THP + "enabled", ("madvise", "never"), "madvise"),),
        "khugepaged may collapse pages, and so change residency, in the middle of a run",
    ),
    Knob(
        "thp_defrag",
        "THP defrag",
        (KnobFile(_THP + "defrag", ("madvise", "never", "defer+madvise", "defer"), "madvise"),),
        "page faults may stall for compaction",
    ),
    Knob(
        "thp_shmem",
        "THP shmem_enabled",
        (KnobFile(_THP + "shmem_enabled", ("never", "advise", "deny"), "never"),),
        "a guest's memfd gets huge pages, so residency grows in 2 MiB steps",
    ),
    Knob(
        "ksm",
        "KSM run",
        # 2 would unmerge everything at once, which takes time and memory, and cannot be undone.
        (KnobFile("sys/kernel/mm/ksm/run", ("0", "2"), "0"),),
        "ksmd merges pages and takes CPU time",
    ),
    Knob(
        "zswap",
        "zswap",
        (KnobFile("sys/module/zswap/parameters/enabled", ("N",), "N"),),
        "swapped pages stay in memory, compressed: swap figures are not those of a device",
    ),
    Knob(
        "numa_balancing",
        "NUMA balancing",
        (KnobFile("proc/sys/kernel/numa_balancing", ("0",), "0"),),
        "its hinting faults unmap guest memory during a run",
    ),
    Knob(
        "compaction",
        "proactive compaction",
        (KnobFile("proc/sys/vm/compaction_proactiveness", ("0",), "0"),),
        "kcompactd moves pages, the guest's too, in the background whenever memory is fragmented",
        severity="info",
    ),
    Knob(
        "swappiness",
        "swappiness",
        # A page of the guest that is swapped while page cache could be dropped looks like one that was given back.
        # Not 0: with that, memory must be short twice over before anything is swapped, and a plan that over-commits
        # would meet the OOM killer. 1 still swaps when memory is really short.
        (KnobFile("proc/sys/vm/swappiness", ("0", "1"), "1"),),
        "guest memory may be swapped without need, and its residency then falls without a discard",
        shown=False,  # the doctor says whether something is in swap
    ),
    Knob(
        "watchdog",
        "lockup watchdogs",
        # nmi_watchdog and soft_watchdog. Not kernel/watchdog, which is both: 1 there would start both when restored.
        (KnobFile("proc/sys/kernel/*_watchdog", ("0",), "0"),),
        "every CPU is interrupted by a timer of its own, and a counter of the PMU is taken",
        severity="info",
    ),
)
