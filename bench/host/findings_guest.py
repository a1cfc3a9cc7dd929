"""What the doctor says about what guests need: Python, QEMU, a guest kernel, KVM, and a discard that arrives."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from bench.host.canary import Canary
from bench.host.kernels import Kernel, missing_modules
from bench.host.knobs import read_text
from bench.host.kvm import KvmAnswer
from bench.host.package_names import family
from bench.host.packages import admin_command
from bench.wire.finding import UNKNOWN, Finding

MIN_PYTHON = (3, 9)
MIN_QEMU = (5, 1)  # first with free-page-reporting
MIN_KERNEL = (5, 7)  # first with it in the guest


def python(version: Sequence[int] = sys.version_info[:3]) -> Finding:
    """The Python that runs the host side."""
    value = ".".join(str(number) for number in version)
    if tuple(version[:2]) < MIN_PYTHON:
        return Finding("error", "Python", value, "3.9 or later is needed: install one and name it (python:)")
    return Finding("ok", "Python", value)


def host_kernel(root: Path) -> Finding:
    """The running kernel."""
    return Finding("ok", "host kernel", read_text(root / "proc/sys/kernel/osrelease") or UNKNOWN)


def qemu(path: str, version: str) -> Finding:
    """path: "" where there is none. version: "" where it does not say."""
    if not path:
        return Finding(
            "error", "QEMU", "none found", "install it, or name one (qemu:)", admin_command(["qemu"], family())
        )
    if not version:
        return Finding(
            "error", "QEMU", f"{path} does not run, or does not say its version", "install it anew, or name one (qemu:)"
        )
    value = f"{version} ({path})"
    if _version(version) < MIN_QEMU:
        return Finding("error", "QEMU", value, "free page reporting came with QEMU 5.1: name a newer one (qemu:)")
    return Finding("ok", "QEMU", value)


def guest_kernel(kernel: Optional[Kernel]) -> Finding:
    """None: none was found."""
    if kernel is None:
        return Finding("error", "guest kernel", "none found", "fetch the distribution's", "bench prepare")
    value = f"{kernel.release or kernel.image} ({kernel.source})"
    release = _version(kernel.release)
    if release and release < MIN_KERNEL:
        return Finding("error", "guest kernel", value, "free page reporting came with Linux 5.7: name a newer one")
    lacking = missing_modules(kernel)
    if lacking is None:
        return Finding("info", "guest kernel", value, "no modules folder: virtio must be built in")
    if lacking:
        return Finding("error", "guest kernel", f"{value} lacks {', '.join(lacking)}", "name another (kernel:)")
    return Finding("ok", "guest kernel", value)


def kvm(answer: Optional[KvmAnswer]) -> Finding:
    """None: not asked."""
    if answer is None:
        return Finding("info", "KVM", "not probed")
    if answer.usable:
        return Finding("ok", "KVM", answer.reason)
    advice = "guests run under software emulation (TCG): bytes and pages are real, times are not those of hardware"
    command = 'sudo usermod -aG kvm "$USER"' if "group kvm" in answer.reason else ""
    return Finding("warn", "KVM", answer.reason, advice, command, answer.evidence)


def canary(seen: Optional[Canary]) -> Finding:
    """None: no guest was booted."""
    if seen is None:
        return Finding("info", "canary discard", "not probed")
    value = f"{seen.discarded_bytes / 2**20:.0f} MiB discarded within {seen.seconds:.1f} s of a free"
    if seen.problem or seen.discarded_bytes <= 0:
        advice = "a reported page does not come back to this host: no result of it can be valid"
        return Finding("error", "canary discard", seen.problem or value, advice, evidence=seen.evidence)
    return Finding("ok", "canary discard", value)


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()
