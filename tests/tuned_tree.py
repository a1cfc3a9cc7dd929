"""A host as files: every setting that can be tuned, noisy, under a folder. Python 3.9."""

from __future__ import annotations

from pathlib import Path

from bench.host.journal import Journal

CPU = "sys/devices/system/cpu/"
THP = "sys/kernel/mm/transparent_hugepage/"
BOOT_ID = "proc/sys/kernel/random/boot_id"
# file -> (text of a noisy host, value that tuning gives it)
NOISY = {
    CPU + "smt/control": ("on", "off"),
    CPU + "cpufreq/policy0/scaling_governor": ("powersave", "performance"),
    CPU + "cpufreq/policy2/scaling_governor": ("schedutil", "performance"),
    CPU + "intel_pstate/no_turbo": ("0", "1"),
    CPU + "cpu0/cpuidle/state2/disable": ("0", "1"),
    CPU + "cpu2/cpuidle/state2/disable": ("0", "1"),
    CPU + "cpu10/cpuidle/state2/disable": ("0", "1"),
    THP + "enabled": ("[always] madvise never", "madvise"),
    THP + "defrag": ("[always] defer defer+madvise madvise never", "madvise"),
    THP + "shmem_enabled": ("[always] within_size advise never deny force", "never"),
    "sys/kernel/mm/ksm/run": ("1", "0"),
    "sys/module/zswap/parameters/enabled": ("Y", "N"),
    "proc/sys/kernel/numa_balancing": ("2", "0"),
    "proc/sys/kernel/nmi_watchdog": ("1", "0"),
    "proc/sys/kernel/soft_watchdog": ("1", "0"),
    "proc/sys/vm/compaction_proactiveness": ("20", "0"),
    "proc/sys/vm/swappiness": ("60", "1"),
}
BESIDES = {
    BOOT_ID: "boot-1",
    CPU + "smt/active": "1",
    CPU + "cpu0/cpuidle/state0/disable": "0",
    CPU + "cpu0/cpuidle/state0/latency": "0",
    CPU + "cpu0/cpuidle/state1/disable": "0",
    CPU + "cpu0/cpuidle/state1/latency": "100",
    **{CPU + f"cpu{cpu}/cpuidle/state2/latency": "101" for cpu in (0, 2, 10)},
    "proc/sys/kernel/watchdog": "1",
}


def tree(root: Path) -> Path:
    """The host, with a place for its lock; `root` itself."""
    for name, text in {**BESIDES, **{name: text for name, (text, _) in NOISY.items()}}.items():
        put(root, name, text)
    for cpu, policy in ((0, 0), (1, 0), (2, 2)):
        (root / CPU / f"cpu{cpu}").mkdir(exist_ok=True)
        (root / CPU / f"cpu{cpu}/cpufreq").symlink_to(f"../cpufreq/policy{policy}")
    (root / "tmp").mkdir()
    return root


def put(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path


def values(root: Path) -> dict[str, str]:
    """Text of every file of the host that is no setting's own list of choices; a choice by its word."""
    texts = {name: (root / name).read_text().strip() for name in (*NOISY, *BESIDES) if (root / name).exists()}
    return {name: text.partition("[")[2].partition("]")[0] or text for name, text in texts.items()}


def changed(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    """What is different now."""
    return {name: now.get(name, "gone") for name in before if now.get(name) != before[name]}


def journal(root: Path) -> Journal:
    """The journal of this host, read anew."""
    return Journal(root / "state/tuned.json")
