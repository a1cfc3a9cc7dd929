"""What the host says of itself, on a synthetic tree: what is unknown stays absent."""

from __future__ import annotations

import json
from pathlib import Path

from bench.host.facts import host_facts

FILES = {
    "proc/sys/kernel/random/boot_id": "0a1b\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t\t: fpu hypervisor npt\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/mm/transparent_hugepage/defrag": "always defer [defer+madvise] madvise never\n",
    "sys/kernel/mm/transparent_hugepage/shmem_enabled": "always within_size advise [never] deny force\n",
    "sys/kernel/mm/ksm/run": "0\n",
    "proc/sys/vm/swappiness": "60\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "proc/swaps": "Filename Type Size Used Priority\n/swapfile file 1048572 0 -2\n",
    "proc/meminfo": "MemTotal: 24097184 kB\nMemAvailable: 20000000 kB\nSwapTotal: 0 kB\n",
}


def tree(root: Path, without: str = "") -> Path:
    for name, text in FILES.items():
        if name != without:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


def test_the_facts_of_a_whole_host(tmp_path: Path) -> None:
    facts = host_facts(tree(tmp_path))
    expected = {
        "boot_id": "0a1b",
        "cpu_model": "AMD EPYC 9R14",
        "virtualised": True,
        "thp_enabled": "madvise",
        "thp_defrag": "defer+madvise",
        "thp_shmem_enabled": "never",
        "ksm_run": "0",
        "swappiness": "60",
        "governor": "performance",
        "swaps": [{"name": "/swapfile", "kind": "file", "bytes": 1048572 * 1024, "priority": -2}],
        "MemTotal_bytes": 24097184 * 1024,
        "MemAvailable_bytes": 20000000 * 1024,
        "SwapTotal_bytes": 0,
    }
    assert {name: facts[name] for name in expected} == expected


def test_a_host_with_nothing_to_read_has_only_what_python_knows(tmp_path: Path) -> None:
    facts = host_facts(tmp_path)
    assert set(facts) == {"kernel", "kernel_version", "machine", "python", "cpus", "virtualised", "swaps"}
    assert facts["virtualised"] is False
    assert facts["swaps"] == []


def test_a_machine_without_cpufreq_has_no_governor(tmp_path: Path) -> None:
    facts = host_facts(tree(tmp_path, without="sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    assert "governor" not in facts


def test_an_arm_core_is_known_by_its_part_number(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n")
    assert host_facts(tmp_path)["cpu_model"] == "0xd0c"


def test_the_facts_of_this_machine_are_plain_json() -> None:
    facts = host_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["MemTotal_bytes"] > 0
