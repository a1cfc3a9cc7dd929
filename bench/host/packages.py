"""Installs what the suite needs from the distribution, and says before what it would do.

Runs on a plain system Python (3.9 or later) before any virtual environment exists:
`python3 -m bench.host.packages bootstrap` for what building needs, `... host` for what a host of guests needs,
`... tests` for what the tests of this project need beyond.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError, LabError, MissingError
from bench.host.package_names import CONTROLLER, HOST, MANAGERS, TESTS, daemons, family, names
from bench.host.package_probes import missing

LISTS_OLD_S = 24 * 3600.0
SHOWN_LINES = 15
# How to become root: "sudo" is `sudo -n`, which never asks; "none" is never, unless this user is root already.
BECOME = ("sudo", "none")
SUDO = ("sudo", "-n")

Say = Callable[[str], None]


def to_stderr(text: str) -> None:
    """One line for the user; stdout is kept for data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


# -- command lines -------------------------------------------------------------------------------------------------


def update_argv(prefix: Sequence[str] = ()) -> list[str]:
    """Renews apt's package lists."""
    return [*prefix, "apt-get", "update", "-qq"]


def install_argv(packages: Sequence[str], kind: str, prefix: Sequence[str] = ()) -> list[str]:
    """Installs `packages` without questions; `prefix` is how to become root (("sudo", "-n"), or nothing)."""
    if MANAGERS[kind] == "dnf":
        return [*prefix, "dnf", "install", "-y", "-q", "--setopt=install_weak_deps=False", *packages]
    quiet = ["-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"]
    return [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", *quiet, *packages]


def commands(
    needs: Sequence[str],
    kind: str,
    *,
    prefix: Sequence[str] = (),
    update: bool = False,
    root: Path = Path("/"),
) -> list[list[str]]:
    """All command lines that install `needs` here, in order; none when no package is needed.

    Where systemd runs, no daemon of theirs is started or left enabled: Debian's packages start what is enabled and not
    masked (deb-systemd-invoke of init-system-helpers), so the units are masked meanwhile and disabled afterwards.
    """
    packages = names(needs, kind)
    if not packages:
        return []
    steps = [install_argv(packages, kind, prefix)]
    if update and MANAGERS[kind] == "apt-get":
        steps.insert(0, update_argv(prefix))
    units = _units(needs, kind, root)
    if not units:
        return steps
    words = (("mask", "--runtime"), ("unmask", "--runtime"), ("disable",))
    mask, *after = [[*prefix, "systemctl", *verb, *units] for verb in words]
    return [mask, *steps, *after]


def _units(needs: Sequence[str], kind: str, root: Path) -> list[str]:
    """What systemd, where it runs, would start for `needs`."""
    return daemons(needs, kind) if (root / "run/systemd/system").is_dir() else []


def admin_command(needs: Sequence[str], kind: str, root: Path = Path("/")) -> str:
    """One line for an administrator's shell that installs `needs`; "" for an unknown distribution."""
    if not kind:
        return ""
    first = "sudo apt-get update && sudo apt-get install -y --no-install-recommends"
    words = ["sudo dnf install -y" if MANAGERS[kind] == "dnf" else first]
    words += [shlex.quote(name) for name in names(needs, kind)]
    units = _units(needs, kind, root)
    return " ".join(words + (["&& sudo systemctl disable --now", *units] if units else []))


# -- what would be done --------------------------------------------------------------------------------------------


def root_prefix(become: str) -> tuple[str, ...] | None:
    """How to run something as root: () as root, ("sudo", "-n") where that is allowed and needs no password, else None.

    Raises ValueError for a `become` that is not in BECOME.
    """
    if become not in BECOME:
        raise ValueError(f"become {become!r}: one of {', '.join(BECOME)}")
    if os.geteuid() == 0:
        return ()
    if become == "none" or shutil.which("sudo") is None:
        return None
    return SUDO if subprocess.run([*SUDO, "true"], capture_output=True, check=False).returncode == 0 else None


def why_not_root(become: str) -> str:
    """Why `root_prefix` said None, for people."""
    if become == "none":
        return "this user is not root, and become: none forbids sudo"
    if shutil.which("sudo") is None:
        return "this user is not root, and there is no sudo"
    return "this user is not root, and sudo -n asks for a password or refuses"


def lists_are_old(root: Path = Path("/"), now: float = 0.0) -> bool:
    """Whether apt's package lists are missing or older than a day (by the folder: files carry the server's dates)."""
    lists = root / "var/lib/apt/lists"
    if not any(lists.glob("*_Packages*")):
        return True
    folders = [path for path in (lists, lists / "partial") if path.is_dir()]
    return (now or time.time()) - max(path.stat().st_mtime for path in folders) > LISTS_OLD_S


def plan_of(needs: Sequence[str], become: str = "sudo", root: Path = Path("/")) -> dict[str, Any]:
    """What installing `needs` would do, as plain JSON; nothing is changed.

    missing: needs that are not here. commands: the exact argvs that would be run, in order. blocked: "" or why nothing
    can be run. admin: what to run instead then, "" where no one command does.
    """
    lacking = missing(needs)
    plan: dict[str, Any] = {"missing": lacking, "commands": [], "blocked": "", "admin": ""}
    if not lacking:
        return plan
    kind = family(root)
    reason, cure = no_package_for(lacking, kind, sys.base_prefix)
    if reason:
        return {**plan, "blocked": reason, "admin": cure}
    prefix = root_prefix(become)
    if prefix is None:
        return {**plan, "blocked": why_not_root(become), "admin": admin_command(lacking, kind, root)}
    return {**plan, "commands": commands(lacking, kind, prefix=prefix, update=lists_are_old(root), root=root)}


def no_package_for(lacking: Sequence[str], kind: str, base: str) -> tuple[str, str]:
    """Why packages cannot bring `lacking`, and what to run instead; ("", "") where they can.

    kind: as `family` says. base: sys.base_prefix of the Python in use.
    """
    own = [need for need in lacking if need in ("venv", "headers")]
    if own and base not in ("/usr", "/"):
        cure = "make PYTHON=/usr/bin/python3 … (or build this Python with ensurepip and its headers)"
        return f"the Python in {base} is not the distribution's and lacks: {', '.join(own)}", cure
    return ("", "") if kind else ("neither Debian's nor Fedora's family: install it by hand", "")


def check_possible(plan: dict[str, Any]) -> None:
    """Raises MissingError, with what to do instead, where a plan of `plan_of` is blocked."""
    if plan["blocked"]:
        raise MissingError(f"missing: {', '.join(plan['missing'])}; {plan['blocked']}", plan["admin"])


# -- doing it ------------------------------------------------------------------------------------------------------


def run(argv: Sequence[str], cwd: Path | None = None) -> tuple[int, list[str]]:
    """Exit status and last lines of stdout and stderr together; stdin is empty, so nothing can ask a question."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, check=False
    )
    return done.returncode, done.stdout.decode(errors="replace").splitlines()[-SHOWN_LINES:]


def renewal(become: str = "sudo", root: Path = Path("/")) -> list[list[str]]:
    """The command that renews apt's lists, where they are missing or old and this user may; else none."""
    if shutil.which("apt-get") is None or not lists_are_old(root):
        return []
    prefix = root_prefix(become)
    return [] if prefix is None else [update_argv(prefix)]


def renew_lists(become: str = "sudo", say: Say = to_stderr, root: Path = Path("/")) -> None:
    """Renews apt's lists when they are missing or old and it may; a repository that fails is only said."""
    for argv in renewal(become, root):
        say("running: " + shlex.join(argv))
        _step(argv, say)


def install(
    needs: Sequence[str], become: str = "sudo", *, dry_run: bool = False, say: Say = to_stderr, root: Path = Path("/")
) -> list[str]:
    """Installs what of `needs` is missing and says each command before it runs; returns the needs that were missing.

    Raises MissingError with an administrator's command where this user may not install, LabError where it fails.
    """
    plan = plan_of(needs, become, root)
    lacking: list[str] = plan["missing"]
    check_possible(plan)
    if not lacking:
        return []
    say(f"missing on this machine: {', '.join(lacking)}")
    if dry_run:
        say("\n".join("would run: " + shlex.join(argv) for argv in plan["commands"]))
        return lacking
    _run_all(plan["commands"], say)
    still = missing(lacking)
    if still:
        raise LabError("", f"still missing after the installation: {', '.join(still)}")
    return lacking


def _run_all(steps: Sequence[Sequence[str]], say: Say) -> None:
    """Runs the steps up to the first that fails; what was masked is unmasked in any case."""
    done: list[Sequence[str]] = []
    try:
        for argv in steps:
            say("running: " + shlex.join(argv))
            done.append(argv)
            _step(argv, say)
    finally:
        for argv in steps[len(done) :]:
            if "unmask" in argv:
                run(argv)


def _step(argv: Sequence[str], say: Say) -> None:
    status, lines = run(argv)
    if status == 0:
        return
    if "update" in argv:
        # One broken third-party source makes apt-get fail although all others were read.
        say("\n".join(["apt-get update did not succeed for every source:", *lines]))
        return
    raise LabError("", f"the installation failed with status {status}", argv, lines)


def main(arguments: Sequence[str]) -> int:
    """`bootstrap`, `host` or `tests`, with `--dry-run`: installs what is missing for it; answers the exit code."""
    words = [word for word in arguments if word != "--dry-run"]
    wanted = {"bootstrap": CONTROLLER, "host": HOST, "tests": TESTS}
    if len(words) != 1 or words[0] not in wanted:
        to_stderr("usage: python3 -m bench.host.packages bootstrap|host|tests [--dry-run]")
        return 2
    try:
        install(wanted[words[0]], dry_run="--dry-run" in arguments)
    except LabError as error:
        to_stderr("error: " + "\n".join([error.message, shlex.join(error.command), *error.evidence]))
        return error.exit_code
    except BenchError as error:
        to_stderr(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
