"""What the suite needs from a distribution, and what the packages are called there."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CONTROLLER = ("venv", "cc", "headers")
HOST = ("qemu", "kernel-download", "kernel-unpack")
# Beyond those, for this project's own tests: an SSH server to talk to, hosts that are network namespaces, a browser.
TESTS = ("sshd", "ssh-client", "ip", "unshare", "redis-tools", "xz", "browser")
# Programs that shipped plans carry into guests -> the need that brings them.
PROGRAMS = {"redis-check-rdb": "redis-tools", "redis-benchmark": "redis-tools", "xz": "xz"}

_DEBIAN: Mapping[str, tuple[str, ...]] = {
    "venv": ("python{python}-venv",),
    "cc": ("gcc", "libc6-dev"),  # gcc only recommends libc6-dev
    "headers": ("python{python}-dev",),
    "qemu": ("qemu-system-{qemu}",),
    "kernel-download": (),  # apt-get and dpkg-deb are always there
    "kernel-unpack": (),
    "kernel": ("linux-image-cloud-{arch}",),
    "kernel-standard": ("linux-image-{arch}",),
    "sshd": ("openssh-server",),
    "ssh-client": ("openssh-client",),
    "ip": ("iproute2",),
    "unshare": ("util-linux",),
    # The server's own binary is among them, under another of its names: no daemon is installed.
    "redis-tools": ("redis-tools",),
    "xz": ("xz-utils",),
    "browser": ("chromium", "chromium-driver", "fonts-dejavu-core"),
}
_FEDORA: Mapping[str, tuple[str, ...]] = {
    "venv": ("python{python}",),  # its standard library is whole
    "cc": ("gcc", "glibc-devel"),
    "headers": ("python{python}-devel",),
    "qemu": ("qemu-system-{qemu}-core",),
    "kernel-download": ("dnf-command(download)",),  # dnf 5 has it built in
    "kernel-unpack": ("cpio",),
    "kernel": ("kernel-core", "kernel-modules-core"),
    "kernel-standard": ("kernel-core", "kernel-modules-core"),  # one kernel for guests and machines
    "sshd": ("openssh-server",),
    "ssh-client": ("openssh-clients",),
    "ip": ("iproute",),
    "unshare": ("util-linux",),
    "redis-tools": ("redis",),
    "xz": ("xz",),
    "browser": ("chromium", "chromedriver", "dejavu-sans-fonts"),
}
# Family of distributions -> need -> package names. Kernels are downloaded and unpacked, never installed.
NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "debian": _DEBIAN,
    "ubuntu": {
        **_DEBIAN,
        "kernel": ("linux-image-virtual",),
        "kernel-standard": ("linux-image-generic",),
        "browser": ("chromium-browser", "chromium-chromedriver", "fonts-dejavu-core"),
    },
    "fedora": _FEDORA,
    "rhel": {**_FEDORA, "qemu": ("qemu-kvm-core",)},
}
MANAGERS = {"debian": "apt-get", "ubuntu": "apt-get", "fedora": "dnf", "rhel": "dnf"}
# Package manager -> need -> the units that its package enables, and Debian's starts at once.
DAEMONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "apt-get": {"sshd": ("ssh.service", "ssh.socket")},
    "dnf": {"sshd": ("sshd.service", "sshd.socket")},
}
_FAMILIES = {"debian": "debian", "ubuntu": "ubuntu", "fedora": "fedora", "rhel": "rhel", "centos": "rhel"}
_DEBIAN_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """The variables of /etc/os-release under `root`; none where there is no such file."""
    try:
        text = (root / "etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return {}
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key: _unquoted(value) for key, value in values.items()}


def _unquoted(value: str) -> str:
    try:
        return " ".join(shlex.split(value))
    except ValueError:  # a quote that is never closed
        return value


def family(root: Path = Path("/")) -> str:
    """ "debian", "ubuntu", "fedora" or "rhel" by /etc/os-release under `root`; "" for any other."""
    values = os_release(root)
    words = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".split()
    return next((_FAMILIES[word] for word in words if word in _FAMILIES), "")


def architecture(machine: str = "") -> str:
    """What Debian calls this kind of machine."""
    machine = machine or platform.machine()
    return _DEBIAN_ARCH.get(machine, machine)


def names(needs: Sequence[str], kind: str, python: str = "", machine: str = "") -> list[str]:
    """Package names of `needs` for family `kind`; python as "3.11", machine as uname says (default: those here)."""
    machine = machine or platform.machine()
    short = {"x86_64": "x86", "aarch64": "arm"}.get(machine, machine)
    words = {
        "python": python or "{}.{}".format(*sys.version_info[:2]),
        "arch": architecture(machine),
        "qemu": "aarch64" if machine == "aarch64" and MANAGERS[kind] == "dnf" else short,
    }
    return [name.format(**words) for need in needs for name in NAMES[kind][need]]


def daemons(needs: Sequence[str], kind: str) -> list[str]:
    """Units of systemd that installing `needs` would enable."""
    return [unit for need in needs for unit in DAEMONS[MANAGERS[kind]].get(need, ())]
