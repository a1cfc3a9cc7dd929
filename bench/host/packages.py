"""What the suite needs from the distribution, how it is found missing, and how it is installed.

Runs on a plain system Python (3.9 or later) before any virtual environment exists:
`python3 -m bench.host.packages bootstrap` for what building needs, `... host` for what a host of guests needs.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError, LabError, MissingError

CONTROLLER = ("venv", "cc", "headers")
HOST = ("qemu", "kernel-download", "kernel-unpack")
LISTS_OLD_S = 24 * 3600.0
SHOWN_LINES = 15

Say = Callable[[str], None]

_DEBIAN: Mapping[str, tuple[str, ...]] = {
    "venv": ("python{python}-venv",),
    "cc": ("gcc", "libc6-dev"),  # gcc only recommends libc6-dev
    "headers": ("python{python}-dev",),
    "qemu": ("qemu-system-{qemu}",),
    "kernel-download": (),  # apt-get and dpkg-deb are always there
    "kernel-unpack": (),
    "kernel": ("linux-image-cloud-{arch}",),
}
_FEDORA: Mapping[str, tuple[str, ...]] = {
    "venv": ("python{python}",),  # its standard library is whole
    "cc": ("gcc", "glibc-devel"),
    "headers": ("python{python}-devel",),
    "qemu": ("qemu-system-{qemu}-core",),
    "kernel-download": ("dnf-command(download)",),  # dnf 5 has it built in
    "kernel-unpack": ("cpio",),
    "kernel": ("kernel-core", "kernel-modules-core"),
}
# Family of distributions -> need -> package names. "kernel" is downloaded and unpacked, never installed.
NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "debian": _DEBIAN,
    "ubuntu": {**_DEBIAN, "kernel": ("linux-image-virtual",)},
    "fedora": _FEDORA,
    "rhel": {**_FEDORA, "qemu": ("qemu-kvm-core",)},
}
_MANAGERS = {"debian": "apt-get", "ubuntu": "apt-get", "fedora": "dnf", "rhel": "dnf"}
_FAMILIES = {"debian": "debian", "ubuntu": "ubuntu", "fedora": "fedora", "rhel": "rhel", "centos": "rhel"}
_DEBIAN_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


def to_stderr(text: str) -> None:
    """One line for the user; stdout is kept for data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


# -- what is here --------------------------------------------------------------------------------------------------


def family(root: Path = Path("/")) -> str:
    """ "debian", "ubuntu", "fedora" or "rhel" by /etc/os-release under `root`; "" for any other."""
    try:
        text = (root / "etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    names = [word for key in ("ID", "ID_LIKE") for part in shlex.split(values.get(key, "")) for word in part.split()]
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), "")


def find_qemu(named: str = "", machine: str = "") -> str:
    """Path of the QEMU for guests of this machine's kind, or of `named`; "" when there is none."""
    if named:
        return shutil.which(named) or ""
    found = shutil.which("qemu-system-" + (machine or platform.machine()))
    return found or shutil.which("/usr/libexec/qemu-kvm") or ""


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


PROBES: Mapping[str, Callable[[], bool]] = {
    "venv": has_venv,
    "cc": has_compiler,
    "headers": has_headers,
    "qemu": lambda: find_qemu() != "",
    "kernel-download": can_download,
    "kernel-unpack": can_unpack,
}


def missing(needs: Sequence[str], probes: Mapping[str, Callable[[], bool]] = PROBES) -> list[str]:
    """What of `needs` is not on this machine, by probing, in the order asked."""
    return [need for need in needs if not probes[need]()]


def lists_are_old(root: Path = Path("/"), now: float = 0.0) -> bool:
    """Whether apt's package lists are missing or older than a day (by the folder: files carry the server's dates)."""
    lists = root / "var/lib/apt/lists"
    if not any(lists.glob("*_Packages*")):
        return True
    folders = [path for path in (lists, lists / "partial") if path.is_dir()]
    return (now or time.time()) - max(path.stat().st_mtime for path in folders) > LISTS_OLD_S


# -- command lines -------------------------------------------------------------------------------------------------


def names(needs: Sequence[str], kind: str, python: str = "", machine: str = "") -> list[str]:
    """Package names of `needs` for family `kind`; python as "3.11", machine as uname says (default: those here)."""
    machine = machine or platform.machine()
    short = {"x86_64": "x86", "aarch64": "arm"}.get(machine, machine)
    words = {
        "python": python or "{}.{}".format(*sys.version_info[:2]),
        "arch": _DEBIAN_ARCH.get(machine, machine),
        "qemu": "aarch64" if machine == "aarch64" and _MANAGERS[kind] == "dnf" else short,
    }
    return [name.format(**words) for need in needs for name in NAMES[kind][need]]


def update_argv(prefix: Sequence[str] = ()) -> list[str]:
    """Renews apt's package lists."""
    return [*prefix, "apt-get", "update", "-qq"]


def install_argv(packages: Sequence[str], kind: str, prefix: Sequence[str] = ()) -> list[str]:
    """Installs `packages` without questions; `prefix` is how to become root (("sudo", "-n"), or nothing)."""
    if _MANAGERS[kind] == "dnf":
        return [*prefix, "dnf", "install", "-y", "-q", "--setopt=install_weak_deps=False", *packages]
    quiet = ["-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]
    return [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", *quiet, *packages]


def commands(needs: Sequence[str], kind: str, *, prefix: Sequence[str] = (), update: bool = False) -> list[list[str]]:
    """All command lines that install `needs` here, in order; none when no package is needed."""
    packages = names(needs, kind)
    if not packages:
        return []
    first = [update_argv(prefix)] if update and _MANAGERS[kind] == "apt-get" else []
    return [*first, install_argv(packages, kind, prefix)]


def admin_command(needs: Sequence[str], kind: str) -> str:
    """One line for an administrator's shell that installs `needs`."""
    packages = [shlex.quote(name) for name in names(needs, kind)]
    if _MANAGERS[kind] == "dnf":
        return " ".join(["sudo dnf install -y", *packages])
    return " ".join(["sudo apt-get update && sudo apt-get install -y --no-install-recommends", *packages])


def root_prefix() -> tuple[str, ...] | None:
    """How to run something as root: () as root, ("sudo", "-n") where that needs no password, else None."""
    if os.geteuid() == 0:
        return ()
    sudo = ("sudo", "-n")
    if shutil.which("sudo") and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0:
        return sudo
    return None


# -- doing it ------------------------------------------------------------------------------------------------------


def run(argv: Sequence[str], cwd: Path | None = None) -> tuple[int, list[str]]:
    """Exit status and last lines of stdout and stderr together; stdin is empty, so nothing can ask a question."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, check=False
    )
    return done.returncode, done.stdout.decode(errors="replace").splitlines()[-SHOWN_LINES:]


def renew_lists(say: Say = to_stderr) -> None:
    """Renews apt's lists when they are missing or old and it may; a repository that fails is only said."""
    prefix = root_prefix()
    if shutil.which("apt-get") is None or prefix is None or not lists_are_old():
        return
    argv = update_argv(prefix)
    say("running: " + shlex.join(argv))
    status, lines = run(argv)
    if status != 0:
        say("\n".join(["apt-get update did not succeed for every source:", *lines]))


def check_possible(lacking: Sequence[str], kind: str, prefix: tuple[str, ...] | None, python_base: str) -> None:
    """Raises MissingError, with what to do instead, where `lacking` cannot be installed by this user with packages.

    kind: as `family` says. prefix: as `root_prefix` says. python_base: sys.base_prefix of the Python in use.
    """
    own = [need for need in lacking if need in ("venv", "headers")]
    if own and python_base not in ("/usr", "/"):
        raise MissingError(
            f"the Python in {python_base} is not the distribution's and lacks: {', '.join(own)}",
            "make PYTHON=/usr/bin/python3 … (or build this Python with ensurepip and its headers)",
        )
    if not kind:
        raise MissingError(f"missing: {', '.join(lacking)}; neither Debian's nor Fedora's family: install them by hand")
    if prefix is None:
        raise MissingError(f"missing on this machine: {', '.join(lacking)}", admin_command(lacking, kind))


def install(needs: Sequence[str], *, dry_run: bool = False, say: Say = to_stderr) -> list[str]:
    """Installs what of `needs` is missing and says each command before it runs; returns the needs that were missing.

    Raises MissingError with an administrator's command where this user may not install, LabError where it fails.
    """
    lacking = missing(needs)
    if not lacking:
        return []
    kind, prefix = family(), root_prefix()
    if dry_run and prefix is None:
        prefix = ("sudo",)
    check_possible(lacking, kind, prefix, sys.base_prefix)
    say(f"missing on this machine: {', '.join(lacking)}")
    for argv in commands(lacking, kind, prefix=prefix or (), update=lists_are_old()):
        say(("would run: " if dry_run else "running: ") + shlex.join(argv))
        if not dry_run:
            _install_step(argv, say)
    still = [] if dry_run else missing(lacking)
    if still:
        raise LabError("local", f"still missing after the installation: {', '.join(still)}")
    return lacking


def _install_step(argv: Sequence[str], say: Say) -> None:
    status, lines = run(argv)
    if status == 0:
        return
    if "update" in argv:
        # One broken third-party source makes apt-get fail although all others were read.
        say("\n".join(["apt-get update did not succeed for every source:", *lines]))
        return
    raise LabError("local", f"the package manager failed with status {status}", argv, lines)


def main(arguments: Sequence[str]) -> int:
    """`bootstrap` or `host`, with `--dry-run`: installs what is missing for it; the exit code is the error's."""
    words = [word for word in arguments if word != "--dry-run"]
    wanted = {"bootstrap": CONTROLLER, "host": HOST}
    if len(words) != 1 or words[0] not in wanted:
        to_stderr("usage: python3 -m bench.host.packages bootstrap|host [--dry-run]")
        return 2
    try:
        install(wanted[words[0]], dry_run="--dry-run" in arguments)
    except BenchError as error:
        to_stderr(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
