"""Packages of another suite, looked up, downloaded and unpacked with an apt of its own: nothing is installed.

Neither root nor anything under /etc/apt or /var/lib/apt is touched. apt verifies signatures and checksums as always.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from bench.errors import LabError
from bench.host import packages
from bench.host.aptsource import apt_config

_CONCRETE = re.compile(r"Depends: (linux-(?:image|modules|binary)-\d\S*)")
_URI = re.compile(r"'[^']*' (?P<name>[a-z0-9][a-z0-9.+-]+)_(?P<version>[^_\s]+)_[a-z0-9]+\.deb \d+")


# -- command lines -------------------------------------------------------------------------------------------------


def update_argv(config: Path) -> list[str]:
    """Reads the private lists."""
    return ["apt-get", "-c", str(config), "update", "-q"]


def needed_argv(config: Path, package: str, suite: str) -> list[str]:
    """What would be downloaded if `package` of `suite` were installed here: itself, and what is missing or too old."""
    options = ("-qq", "--print-uris", "--no-install-recommends", "-t", suite)
    return ["apt-get", "-c", str(config), *options, "install", package]


def depends_argv(package: str, config: Path | None = None, suite: str = "") -> list[str]:
    """Asks apt what `package` depends on; with `config` a private apt, which prefers `suite` ("" for none)."""
    private = [] if config is None else ["-c", str(config)]
    preferred = ["-o", f"APT::Default-Release={suite}"] if suite else []
    options = ("--no-recommends", "--no-suggests", "--no-enhances")
    return ["apt-cache", *private, *preferred, "depends", *options, package]


def download_argv(config: Path, wanted: Sequence[str]) -> list[str]:
    """Downloads packages (NAME=VERSION, or NAME/SUITE) into the working directory."""
    return ["apt-get", "-c", str(config), "download", "-q", *wanted]


def unpack_argvs(package: Path, folder: Path) -> list[list[str]]:
    """The command, or pipeline, that unpacks one package file into `folder`."""
    if package.suffix == ".rpm":
        return [["rpm2cpio", str(package)], ["cpio", "-idm", "--quiet", "-D", str(folder)]]
    return [["dpkg-deb", "-x", str(package), str(folder)]]


def concrete_packages(depends: str) -> list[str]:
    """Kernel packages with a version in their name, from the output of `depends_argv`."""
    return _CONCRETE.findall(depends)


def versions(uris: str) -> list[str]:
    """NAME=VERSION of each package in the output of `needed_argv`: `'URI' NAME_VERSION_ARCH.deb SIZE HASH` a line."""
    matches = (_URI.match(line) for line in uris.splitlines())
    return [f"{match['name']}={unquote(match['version'])}" for match in matches if match]


# -- doing it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Apt:
    """An apt with a list of sources of its own, in a folder that is thrown away. Use `open_apt`."""

    config: Path
    say: packages.Say

    def kernel_packages(self, meta: str, suite: str = "") -> list[str]:
        """The image package behind a meta package, and the modules package beside it; as words for `download`.

        Raises LabError where there is none.
        """
        found = concrete(meta, self.config, suite)
        if not found:
            raise LabError("", f"{suite or 'the distribution'} has no package {meta}")
        return [f"{name}/{suite}" if suite else name for name in found]

    def needed(self, package: str, suite: str) -> list[str]:
        """`package` of `suite` and what this host lacks for it, as words for `download`. Raises LabError."""
        argv = needed_argv(self.config, package, suite)
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=english(), check=False
        )
        found = versions(done.stdout)
        if done.returncode != 0 or not found:
            lines = done.stderr.splitlines()[-packages.SHOWN_LINES :]
            raise LabError("", f"apt finds no way to {package} of {suite} on this host", argv, lines)
        return found

    def download(self, wanted: Sequence[str], folder: Path) -> list[Path]:
        """The package files, in `folder`. Raises LabError."""
        folder.mkdir()
        run_step(download_argv(self.config, wanted), self.say, "packages could not be downloaded", folder)
        return sorted(folder.glob("*.deb"))


def open_apt(sources: str, folder: Path, say: packages.Say) -> Apt:
    """An apt for this text of sources, its lists read. Raises LabError where a source cannot be reached."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "private.sources").write_text(sources, encoding="utf-8")
    config = folder / "apt.conf"
    config.write_text(apt_config(folder), encoding="utf-8")
    run_step(update_argv(config), say, "the source of packages could not be read")
    return Apt(config, say)


def run_step(argv: Sequence[str], say: packages.Say, problem: str, cwd: Path | None = None) -> None:
    """Says a command and runs it. Raises LabError with `problem` and its last lines."""
    say("running: " + shlex.join(argv))
    status, lines = packages.run(argv, cwd=cwd)
    if status != 0:
        raise LabError("", f"{problem} (status {status})", argv, lines)


def concrete(meta: str, config: Path | None = None, suite: str = "") -> list[str]:
    """The image package behind a meta package, and the modules package beside it where they are apart (Ubuntu)."""
    found: list[str] = []
    todo = [meta]
    while todo:
        argv = depends_argv(todo.pop(), config, suite)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=english())
        fresh = [name for name in concrete_packages(done.stdout) if name not in found]
        found += fresh
        todo += fresh
    return found


def english() -> dict[str, str]:
    """The environment for a program whose output is read: apt translates its "Depends:"."""
    return {**os.environ, "LC_ALL": "C"}


def unpack(package: Path, folder: Path) -> None:
    """Unpacks one package file into `folder`. Raises LabError."""
    data = None
    for argv in unpack_argvs(package, folder):
        done = subprocess.run(argv, input=data, capture_output=True, check=False)
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").splitlines()[-packages.SHOWN_LINES :]
            raise LabError("", f"package {package.name} could not be unpacked (status {done.returncode})", argv, lines)
        data = done.stdout
