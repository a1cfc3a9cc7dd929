"""What this host is, for the provenance of every boot. Unknown stays absent."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from bench.host import swaps
from bench.host.knobs import choice, read_text
from bench.host.readers import parse_colon_table


def host_facts(root: Path = Path("/")) -> dict[str, Any]:
    """Kernel, CPU, memory, boot id and the settings that move memory figures, as text and numbers."""
    facts: dict[str, Any] = {
        "kernel": platform.release(),
        "kernel_version": platform.version(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "boot_id": _text(root / "proc/sys/kernel/random/boot_id"),
        "cpu_model": _cpu_model(root),
        "virtualised": "hypervisor" in _text(root / "proc/cpuinfo").split(),
        "thp_enabled": choice(root / "sys/kernel/mm/transparent_hugepage/enabled"),
        "thp_defrag": choice(root / "sys/kernel/mm/transparent_hugepage/defrag"),
        "thp_shmem_enabled": choice(root / "sys/kernel/mm/transparent_hugepage/shmem_enabled"),
        "ksm_run": _text(root / "sys/kernel/mm/ksm/run"),
        "swappiness": _text(root / "proc/sys/vm/swappiness"),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "swaps": swaps.facts(root),
        "zswap": swaps.zswap(root),
    }
    memory = parse_colon_table(_text(root / "proc/meminfo"))
    facts.update(
        {f"{name}_bytes": memory[name] for name in ("MemTotal", "MemAvailable", "SwapTotal") if name in memory}
    )
    return {name: value for name, value in facts.items() if value not in ("", None)}


def _text(path: Path) -> str:
    return read_text(path) or ""


def _cpu_model(root: Path) -> str:
    for line in _text(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "CPU part"):
            return value.strip()
    return ""
