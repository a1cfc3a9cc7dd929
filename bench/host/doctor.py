"""What this host is, what is missing, and what would make its numbers noisy, each with the command that mends it.

Every reader takes a root. What cannot be read is "not readable here": unknown stays unknown, never guessed.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from bench.host import packages
from bench.host.kernels import Kernel, missing_modules
from bench.host.knobs import KNOBS, Knob, read_text
from bench.host.kvm import KvmAnswer
from bench.wire.finding import ORDER, Finding

UNKNOWN = "not readable here"
MIN_QEMU = (5, 1)  # first with free-page-reporting
MIN_KERNEL = (5, 7)  # first with it in the guest
LOW_MEMORY_BYTES = 2**30
LOAD_PER_CPU = 0.25
PRESSURE_PERCENT = 1.0
IDLE_LATENCY_US = 100


@dataclass(frozen=True)
class Canary:
    """What a canary guest with reporting showed: bytes that QEMU discarded after a free; problem: why it failed."""

    discarded_bytes: int
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Probes:
    """What had to be found out by running something. None: not asked. need_bytes: host memory that a run needs."""

    qemu: str = ""
    qemu_version: str = ""
    kernel: Optional[Kernel] = None
    kvm: Optional[KvmAnswer] = None
    canary: Optional[Canary] = None
    need_bytes: int = 0


def qemu_version(qemu: str) -> str:
    """Version of a QEMU binary, as "7.2.22"; "" when it does not run or does not say."""
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout)
    return found.group(1) if found else ""


def examine(probes: Probes, root: Path = Path("/")) -> list[Finding]:
    """All findings about this machine, worst first; those of one severity in the order of the checks."""
    found = [_python(), _host_kernel(root), _qemu(probes), *_guest_kernel(probes), _kvm(probes), _canary(probes)]
    found += [
        _memory(root, probes.need_bytes),
        *(_knob(knob, root) for knob in KNOBS),
        *(check(root) for check in NOISE),
    ]
    found += [_pressure(root, resource) for resource in ("cpu", "memory", "io")]
    return sorted(found, key=lambda finding: ORDER.index(finding.severity))


# -- what it is, and what is missing -------------------------------------------------------------------------------


def _python() -> Finding:
    return Finding("ok", "Python", platform.python_version())


def _host_kernel(root: Path) -> Finding:
    return Finding("ok", "host kernel", read_text(root / "proc/sys/kernel/osrelease") or UNKNOWN)


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _qemu(probes: Probes) -> Finding:
    if not probes.qemu:
        kind = packages.family()
        command = packages.admin_command(["qemu"], kind) if kind else ""
        return Finding("error", "QEMU", "none found", "install it, or name one (qemu:)", command)
    if not probes.qemu_version:
        return Finding("warn", "QEMU", f"{probes.qemu}: does not say its version", "does it run at all?")
    value = f"{probes.qemu_version} ({probes.qemu})"
    if _version(probes.qemu_version) < MIN_QEMU:
        return Finding("error", "QEMU", value, "free page reporting came with QEMU 5.1: name a newer one (qemu:)")
    return Finding("ok", "QEMU", value)


def _guest_kernel(probes: Probes) -> list[Finding]:
    kernel = probes.kernel
    if kernel is None:
        return [Finding("error", "guest kernel", "none found", "fetch the distribution's", "bench prepare local")]
    value = f"{kernel.release or kernel.image} ({kernel.source})"
    release = _version(kernel.release)
    if release and release < MIN_KERNEL:
        return [Finding("error", "guest kernel", value, "free page reporting came with Linux 5.7: name a newer one")]
    lacking = missing_modules(kernel)
    if lacking is None:
        return [Finding("info", "guest kernel", value, "no modules folder: virtio must be built in")]
    if lacking:
        return [Finding("error", "guest kernel", f"{value} lacks {', '.join(lacking)}", "name another (kernel:)")]
    return [Finding("ok", "guest kernel", value)]


def _kvm(probes: Probes) -> Finding:
    if probes.kvm is None:
        return Finding("info", "KVM", "not probed")
    if probes.kvm.usable:
        return Finding("ok", "KVM", probes.kvm.reason)
    advice = "guests run under software emulation (TCG): bytes and pages are real, times are not those of hardware"
    command = 'sudo usermod -aG kvm "$USER"' if "group kvm" in probes.kvm.reason else ""
    return Finding("warn", "KVM", probes.kvm.reason, advice, command)


def _canary(probes: Probes) -> Finding:
    canary = probes.canary
    if canary is None:
        return Finding("info", "canary discard", "not probed")
    value = f"{canary.discarded_bytes / 2**20:.0f} MiB discarded within {canary.seconds:.1f} s of a free"
    if canary.problem or canary.discarded_bytes <= 0:
        advice = "a reported page does not come back to this host: no result of it can be valid"
        return Finding("error", "canary discard", canary.problem or value, advice)
    return Finding("ok", "canary discard", value)


def _memory(root: Path, need_bytes: int) -> Finding:
    available = _meminfo(root).get("MemAvailable")
    if available is None:
        return Finding("info", "free memory", UNKNOWN)
    value = f"{available / 2**20:.0f} MiB available"
    if need_bytes and available < need_bytes:
        return Finding(
            "error", "free memory", value, f"the plan needs {need_bytes / 2**20:.0f} MiB: make its guests smaller"
        )
    if available < LOW_MEMORY_BYTES:
        return Finding("warn", "free memory", value, "little room for guests; the host may swap or reclaim")
    return Finding("ok", "free memory", value)


# -- noise ---------------------------------------------------------------------------------------------------------


def _knob(knob: Knob, root: Path) -> Finding:
    setting, values = knob.look(root)
    if setting is None:
        return Finding("info", knob.what, UNKNOWN)
    if set(values) <= set(setting.quiet):
        return Finding("ok", knob.what, ", ".join(values))
    command = _write_command(setting.set_to, setting.files)
    return Finding(knob.severity, knob.what, ", ".join(values), knob.advice, command)


def _load(root: Path) -> Finding:
    text = read_text(root / "proc/loadavg")
    cpus = len(list(root.glob("sys/devices/system/cpu/cpu[0-9]*")))
    if text is None or not cpus:
        return Finding("info", "load", UNKNOWN)
    load = float(text.split()[0])
    value = f"{load:.2f} on {cpus} CPUs"
    if load > LOAD_PER_CPU * cpus:
        return Finding("warn", "load", value, "something else is running", "ps -eo pcpu,pid,args --sort=-pcpu | head")
    return Finding("ok", "load", value)


def _swap(root: Path) -> Finding:
    info = _meminfo(root)
    if "SwapTotal" not in info or "SwapFree" not in info:
        return Finding("info", "swap", UNKNOWN)
    total, used = info["SwapTotal"], info["SwapTotal"] - info["SwapFree"]
    if not total:
        return Finding("ok", "swap", "none (a plan that over-commits needs some)")
    value = f"{used / 2**20:.0f} of {total / 2**20:.0f} MiB in use"
    if used:
        command = f"{_sudo()}swapoff -a && {_sudo()}swapon -a"
        return Finding("warn", "swap", value, "pages swapped before the run come back during it", command)
    return Finding("ok", "swap", value)


def _idle(root: Path) -> Finding:
    states = []
    for folder in root.glob("sys/devices/system/cpu/cpu0/cpuidle/state[0-9]*"):
        latency, disabled = read_text(folder / "latency"), read_text(folder / "disable")
        if latency is not None and latency.isdigit() and disabled != "1":
            states.append((int(latency), folder.name))
    if not states:
        return Finding("info", "C-states", UNKNOWN)
    latency_us, name = max(states)
    value = f"deepest enabled: {name}, {latency_us} µs to wake"
    if latency_us > IDLE_LATENCY_US:
        files = f"sys/devices/system/cpu/cpu[0-9]*/cpuidle/{name}/disable"
        return Finding("warn", "C-states", value, "wake-ups add to short waits", _write_command("1", files))
    return Finding("ok", "C-states", value)


def _pressure(root: Path, resource: str) -> Finding:
    what = f"pressure ({resource}, 10 s)"
    text = read_text(root / "proc/pressure" / resource)
    found = re.search(r"^some avg10=([\d.]+)", text or "", re.MULTILINE)
    if not found:
        return Finding("info", what, UNKNOWN, "a kernel with PSI switched off: psi=1 on its command line")
    share = float(found.group(1))
    if share > PRESSURE_PERCENT:
        return Finding("warn", what, f"{share:.1f} %", f"tasks are waiting for {resource}: let the host get quiet")
    return Finding("ok", what, f"{share:.1f} %")


NOISE: tuple[Callable[[Path], Finding], ...] = (_load, _swap, _idle)


# -- reading -------------------------------------------------------------------------------------------------------


def _meminfo(root: Path) -> dict[str, int]:
    """Bytes by name, of the lines of /proc/meminfo that are in kB."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in lines}


def _sudo() -> str:
    return "" if os.geteuid() == 0 else "sudo "


def _write_command(value: str, files: str) -> str:
    return f"echo {value} | {_sudo()}tee /{files}" if value else ""
