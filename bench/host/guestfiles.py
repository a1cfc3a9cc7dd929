"""The files that a guest would run with on this host: those that its entry names, or the host's own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import InputError, MissingError
from bench.host import kernels
from bench.host.initrd import check_kernel
from bench.host.kernels import Kernel
from bench.host.package_probes import find_qemu


def qemu_version(qemu: str) -> str:
    """Version of a QEMU binary, as "7.2.22"; "" when it does not run or does not say."""
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout)
    return found.group(1) if found else ""


def chosen_qemu(args: Mapping[str, Any]) -> tuple[str, str]:
    """Path and version. Raises InputError for a named one that does not run, MissingError when there is none."""
    named = args.get("qemu", "")
    qemu = find_qemu(named)
    version = qemu_version(qemu) if qemu else ""
    if version:
        return qemu, version
    if named:
        raise InputError(f"{named} is no QEMU that runs; name a qemu-system binary", "qemu")
    if qemu:
        raise MissingError(f"{qemu} does not run, or does not say its version: install it anew, or name one (qemu:)")
    raise MissingError("QEMU is not installed", "bench prepare")


def chosen_kernel(args: Mapping[str, Any], cache: Path, root: Path = Path("/")) -> Kernel:
    """The guest kernel, looked at. Raises InputError for a named file that is none, MissingError when there is none."""
    # Modules are a folder, or the packed ones that the controller pushed.
    for key, exists in (("kernel", Path.is_file), ("modules", Path.exists)):
        if args.get(key) and not exists(Path(args[key])):
            raise InputError(f"{args[key]} is not there; name a {key} path on the host", key)
    kernel = kernels.find_kernel(cache, args.get("kernel", ""), args.get("modules", ""), root)
    try:
        version = check_kernel(kernel.image).split()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{kernel.image}: {error}; name a bzImage, an ELF vmlinux or an arm64 Image", "kernel"
        ) from error
    # The name of a file that somebody named need not be its release.
    return replace(kernel, release=version[0]) if version and kernel.source == "named" else kernel


def check_scratch(folder: str) -> None:
    """Raises InputError where `folder` ("" for the default) can neither be written to nor be made."""
    if not folder:
        return
    path = Path(folder)
    if not path.is_absolute():
        raise InputError(f"{folder}: name a whole path, as in /var/tmp/fpr-bench", "scratch")
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"{there} is no folder; name one that this user may write to", "scratch")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there} is not writable for this user; name a folder that is", "scratch")
