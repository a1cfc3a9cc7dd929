"""Finds a guest kernel, or fetches one from the distribution's packages without installing it on this machine.

Cache layout: <cache>/kernels/<release>/boot/vmlinuz-<release> and .../lib/modules/<release>/.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from bench.errors import LabError, MissingError
from bench.host import debs, packages
from bench.host.package_names import MANAGERS, family, names

MODULES = ("virtio_pci", "virtio_balloon", "virtio_console")


@dataclass(frozen=True)
class Kernel:
    """A guest kernel on this machine. modules: its lib/modules/<release> folder, "" when there is none.

    source: "named" by the user, "running" on this machine, or "cached" by an earlier fetch.
    """

    release: str
    image: str
    modules: str
    source: str


# -- finding -------------------------------------------------------------------------------------------------------


def missing_modules(kernel: Kernel, wanted: Sequence[str] = MODULES) -> list[str] | None:
    """What of `wanted` the kernel has neither built in nor as a module; None when it has no folder of them to ask."""
    folder = Path(kernel.modules)
    if not kernel.modules or folder.is_file():
        return None
    here = {_module_name(name) for _, _, files in os.walk(folder) for name in files if ".ko" in name}
    builtin = folder / "modules.builtin"
    if builtin.is_file():
        here |= {_module_name(line) for line in builtin.read_text(encoding="utf-8").split()}
    return [name for name in wanted if name not in here]


def _module_name(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def find_kernel(cache: Path, image: str = "", modules: str = "", root: Path = Path("/"), release: str = "") -> Kernel:
    """The kernel named by `image`, else the running one where it is readable and complete, else the newest cached one.

    `release` is the running kernel's (default: as uname says). Raises MissingError that says what was looked at.
    """
    if image:
        return _named(Path(image), modules, root)
    release = release or os.uname().release
    running = Kernel(release, str(root / f"boot/vmlinuz-{release}"), str(root / f"lib/modules/{release}"), "running")
    looked = [f"the running kernel: {problem}" for problem in problems_of(running)]
    if not looked:
        return running
    for kernel in cached_kernels(cache):
        problems = problems_of(kernel)
        if not problems:
            return kernel
        looked += [f"{kernel.release} in the cache: {problem}" for problem in problems]
    raise MissingError("no guest kernel found; " + "; ".join(looked), "bench prepare")


def cached_kernels(cache: Path) -> list[Kernel]:
    """Kernels fetched into `cache` earlier, newest release first."""
    folders = [path for path in (cache / "kernels").glob("[!.]*") if path.is_dir()]
    folders.sort(key=lambda path: _release_key(path.name), reverse=True)
    return [_in_folder(path, path.name, "cached") for path in folders]


def _release_key(release: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"\d+|[^\d]+", release)]


def _in_folder(folder: Path, release: str, source: str) -> Kernel:
    return Kernel(release, str(folder / f"boot/vmlinuz-{release}"), str(folder / f"lib/modules/{release}"), source)


def problems_of(kernel: Kernel) -> list[str]:
    """What keeps guests from using this kernel, for people; none where it can be used."""
    if not Path(kernel.image).is_file():
        return [f"{kernel.image} is not there"]
    if not os.access(kernel.image, os.R_OK):
        return [f"{kernel.image} is not readable for this user"]
    if not Path(kernel.modules).is_dir():
        return [f"{kernel.modules} is not there"]
    lacking = missing_modules(kernel)
    return [f"lacks {', '.join(lacking)}"] if lacking else []


def _named(image: Path, modules: str, root: Path) -> Kernel:
    if not image.is_file() or not os.access(image, os.R_OK):
        raise MissingError(f"guest kernel {image}: no such readable file")
    if modules and not Path(modules).exists():
        raise MissingError(f"modules folder {modules}: no such folder")
    release = image.name.partition("-")[2] or (Path(modules).name if modules else "")
    guesses = [image.parent.parent / "lib/modules" / release, root / "lib/modules" / release] if release else []
    found = modules or next((str(path) for path in guesses if path.is_dir()), "")
    return Kernel(release, str(image), found, "named")


# -- fetching ------------------------------------------------------------------------------------------------------


def download_argv(wanted: Sequence[str], kind: str, folder: Path, machine: str) -> list[str]:
    """Downloads packages into `folder` (the working directory for apt) without installing them."""
    if kind in ("fedora", "rhel"):
        return ["dnf", "download", "-q", "--arch", machine, "--destdir", str(folder), *wanted]
    return ["apt-get", "download", "-q", *wanted]


def wanted_packages(root: Path = Path("/")) -> list[str]:
    """The distribution's packages of a guest kernel. Raises MissingError where the distribution is not known."""
    kind = family(root)
    if not kind:
        raise MissingError("no kernel package is known for this distribution; name one (kernel:, modules:)")
    return names(["kernel"], kind)


def fetch_kernel(
    cache: Path, become: str = "sudo", *, say: packages.Say = packages.to_stderr, root: Path = Path("/")
) -> Kernel:
    """The newest cached kernel, or the distribution's own, downloaded and unpacked into the cache.

    Nothing outside `cache` changes, apart from apt's lists where they are old and `become` allows it.
    Raises MissingError where the distribution is not known, LabError where a step fails.
    """
    usable = [kernel for kernel in cached_kernels(cache) if not problems_of(kernel)]
    if usable:
        return usable[0]
    meta, kind = wanted_packages(root), family(root)
    (cache / "kernels").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache / "kernels") as temp:
        # apt drops to its own user, who must be able to enter.
        Path(temp).chmod(0o755)
        if MANAGERS[kind] == "apt-get":
            packages.renew_lists(become, say, root)
        return _fetch_into(cache, Path(temp), current_packages(meta, kind), kind, say)


def current_packages(wanted: Sequence[str], kind: str) -> list[str]:
    """What `wanted` is to be downloaded as: for apt, the packages with a version in their name behind a meta package.

    Raises MissingError where apt knows none.
    """
    if MANAGERS[kind] != "apt-get":
        return list(wanted)
    found = debs.concrete(wanted[0])
    if not found:
        raise MissingError(f"apt knows no package {wanted[0]}", "sudo apt-get update")
    return found


def _fetch_into(cache: Path, temp: Path, wanted: Sequence[str], kind: str, say: packages.Say) -> Kernel:
    argv = download_argv(wanted, kind, temp, os.uname().machine)
    say("running: " + shlex.join(argv))
    status, lines = packages.run(argv, cwd=temp)
    files = sorted([*temp.glob("*.deb"), *temp.glob("*.rpm")])
    if status != 0 or not files:
        raise LabError("", f"the kernel's package could not be downloaded (status {status})", argv, lines)
    (temp / "tree").mkdir()
    for file in files:
        debs.unpack(file, temp / "tree")
    return adopt(temp / "tree", temp / "kernel", cache)


def adopt(tree: Path, staged: Path, cache: Path) -> Kernel:
    """Moves kernel image and modules of an unpacked package `tree` into the cache, whole or not at all.

    `staged` is a folder to be made on the cache's file system. Raises LabError when the tree holds no kernel.
    """
    release = stage(tree, staged).release
    final = cache / "kernels" / release
    if final.exists() and problems_of(_in_folder(final, release, "cached")):
        shutil.rmtree(final)
    if not final.exists():
        staged.rename(final)
    return _in_folder(final, release, "cached")


def stage(tree: Path, staged: Path) -> Kernel:
    """Moves kernel image and modules of an unpacked package `tree` into the new folder `staged`, and looks at them.

    Raises LabError when the tree holds no kernel, or none that a guest can use.
    """
    patterns = ("boot/vmlinuz-*", "lib/modules/*/vmlinuz", "usr/lib/modules/*/vmlinuz")
    images = [image for pattern in patterns for image in tree.glob(pattern)]
    if not images:
        raise LabError("", "the kernel's package holds no vmlinuz", (), sorted(p.name for p in tree.iterdir()))
    image = images[0]
    release = image.parent.name if image.name == "vmlinuz" else image.name.partition("-")[2]
    (staged / "boot").mkdir(parents=True)
    (staged / "lib/modules").mkdir(parents=True)
    image.rename(staged / "boot" / f"vmlinuz-{release}")
    for folder in (tree / "lib/modules" / release, tree / "usr/lib/modules" / release):
        if folder.is_dir() and not folder.is_symlink():
            folder.rename(staged / "lib/modules" / release)
            break
    kernel = _in_folder(staged, release, "cached")
    problems = problems_of(kernel)
    if problems:
        raise LabError("", f"kernel {release} of the distribution cannot be used: {'; '.join(problems)}")
    return kernel


def kernel_in(folder: Path) -> Optional[Kernel]:
    """The kernel that `stage` put into a folder; None where there is none."""
    images = sorted(folder.glob("boot/vmlinuz-*"))
    return _in_folder(folder, images[0].name.partition("-")[2], "cached") if images else None
