"""Whether this machine has what the suite needs: found out by running or finding it, never by asking for packages."""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Not on the PATH of an ordinary user on Debian.
ADMIN_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def find_qemu(named: str = "", machine: str = "") -> str:
    """Path of the QEMU for guests of this machine's kind, or of `named`; "" when there is none."""
    if named:
        return shutil.which(named) or ""
    found = shutil.which("qemu-system-" + (machine or platform.machine()))
    return found or shutil.which("/usr/libexec/qemu-kvm") or ""


def find_program(name: str, folders: Sequence[str] = ADMIN_FOLDERS) -> str:
    """Path of a program on PATH, or in `folders`, where those for an administrator lie; "" when there is none."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders)) or ""


def has_venv() -> bool:
    """Whether this Python makes virtual environments with pip in them (Debian packs ensurepip apart)."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        return False
    try:
        import ensurepip

        return bool(ensurepip.version())
    except (ImportError, OSError, RuntimeError):
        return False


def has_compiler() -> bool:
    """Whether the compiler that extensions will be built with runs and finds the C library's headers."""
    words = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if not words or shutil.which(words[0]) is None:
        return False
    argv = [words[0], "-E", "-x", "c", "-"]
    return subprocess.run(argv, input=b"#include <stdio.h>\n", capture_output=True, check=False).returncode == 0


def has_headers() -> bool:
    """Whether Python.h of this very interpreter is there."""
    return os.access(Path(sysconfig.get_paths()["include"], "Python.h"), os.R_OK)


def can_download() -> bool:
    """Whether a kernel package can be downloaded without being installed."""
    if shutil.which("apt-get"):
        return True
    argv = ["dnf", "download", "--help"]
    return shutil.which("dnf") is not None and subprocess.run(argv, capture_output=True, check=False).returncode == 0


def can_unpack() -> bool:
    """Whether a package file can be unpacked into a folder."""
    return shutil.which("dpkg-deb") is not None or all(shutil.which(name) for name in ("rpm2cpio", "cpio"))


def has_programs(*programs: str) -> Callable[[], bool]:
    """A probe: whether all these programs are found."""
    return lambda: all(find_program(name) for name in programs)


PROBES: Mapping[str, Callable[[], bool]] = {
    "venv": has_venv,
    "cc": has_compiler,
    "headers": has_headers,
    "qemu": lambda: find_qemu() != "",
    "kernel-download": can_download,
    "kernel-unpack": can_unpack,
    "sshd": has_programs("sshd"),
    "ssh-client": has_programs("ssh-keygen", "ssh-keyscan"),
    "ip": has_programs("ip"),
    "unshare": has_programs("unshare", "nsenter"),
    "redis-tools": has_programs("redis-check-rdb", "redis-benchmark"),
    "xz": has_programs("xz"),
    "browser": has_programs("chromedriver"),
}


def missing(needs: Sequence[str], probes: Mapping[str, Callable[[], bool]] = PROBES) -> list[str]:
    """What of `needs` is not on this machine, by probing, in the order asked."""
    return [need for need in needs if not probes[need]()]
