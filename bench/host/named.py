"""Kernels and QEMUs beside the host's own: what is here under a name, and how it came.

Cache layout: <cache>/named/<name>/kernel/boot/vmlinuz-<release> and .../kernel/lib/modules/<release>/, and
<cache>/named/<name>/qemu/qemu-system-<machine>, which is a launcher of the QEMU unpacked beside it. They lie apart from
<cache>/kernels, so that none of them becomes the kernel of arms that name none.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.errors import MissingError
from bench.host.guestfiles import qemu_version
from bench.host.kernels import Kernel, kernel_in, problems_of
from bench.wire.job import Paths
from bench.wire.named import NAMES, name_of, prepare_command

# Where Debian's QEMU looks for firmware.
_FIRMWARE = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")


def folder_of(cache: Path, kind: str, name: str) -> Path:
    """Where the kernel or QEMU of this name lies."""
    return cache / "named" / name / kind


def kernel(cache: Path, name: str, host: str = "") -> Kernel:
    """The kernel of this name. Raises MissingError with the command that brings it."""
    found = kernel_in(folder_of(cache, "kernel", name)) if name in NAMES["kernel"] else None
    if found is None or problems_of(found):
        raise _missing("kernel", name, host)
    return found


def qemu(cache: Path, name: str, host: str = "") -> str:
    """Path of the QEMU of this name. Raises MissingError with the command that brings it."""
    path = folder_of(cache, "qemu", name) / qemu_program()
    if name not in NAMES["qemu"] or not path.is_file():
        raise _missing("qemu", name, host)
    return str(path)


def _missing(kind: str, name: str, host: str) -> MissingError:
    what = {"kernel": "kernel", "qemu": "QEMU"}[kind]
    if name not in NAMES[kind]:
        return MissingError(f"no {what} can be called named:{name}; known: {', '.join(NAMES[kind])}")
    return MissingError(f"{what} named:{name} is not on this host", prepare_command(name, host))


def qemu_program() -> str:
    """Name of the QEMU for guests of this machine's kind."""
    return f"qemu-system-{platform.machine()}"


def describe(cache: Path, kind: str, name: str) -> str:
    """What lies under a name, for people; "" where nothing does."""
    try:
        if kind == "kernel":
            found = kernel(cache, name)
            return f"kernel named:{name}: {found.release}, {found.image}"
        path = qemu(cache, name)
    except MissingError:
        return ""
    version = qemu_version(path)
    return f"QEMU named:{name}: {version}, {path}" if version else ""


# -- in place of names ---------------------------------------------------------------------------------------------


def resolved(args: Mapping[str, Any], cache: Path, host: str = "") -> dict[str, Any]:
    """args with the paths of what its qemu and kernel name by "named:". Raises MissingError."""
    found = dict(args)
    name = name_of(args.get("qemu", ""))
    if name is not None:
        found["qemu"] = qemu(cache, name, host)
    name = name_of(args.get("kernel", ""))
    if name is not None:
        there = kernel(cache, name, host)
        found |= {"kernel": there.image, "modules": args.get("modules") or there.modules}
    return found


def resolved_paths(paths: Paths, cache: Path, host: str) -> Paths:
    """The same for the files of a job."""
    given = {"qemu": paths.qemu, "kernel": paths.kernel, "modules": paths.modules}
    return replace(paths, **resolved(given, cache, host))


# -- the launcher --------------------------------------------------------------------------------------------------


def launcher(tree: Path, program: str) -> str:
    """A shell script beside `usr/` of an unpacked QEMU, which becomes that QEMU (exec: the parent-death signal is its).

    It finds its own libraries and firmware first, then the host's: what the host had in the right version was not
    unpacked. QEMU's own relocation would look for firmware beside itself only.
    """
    libraries = [
        folder for pattern in ("usr/lib/*-linux-gnu", "lib/*-linux-gnu") for folder in sorted(tree.glob(pattern))
    ]
    path = ":".join(f"$here/{folder.relative_to(tree)}" for folder in libraries)
    firmware = [f'-L "$here/{folder}"' for folder in _FIRMWARE if (tree / folder).is_dir()]
    firmware += [f"-L /{folder}" for folder in _FIRMWARE]
    lines = [
        "#!/bin/sh",
        "# Made by `bench prepare`: a QEMU that is not installed, with what it needs beyond the host's own.",
        "here=${0%/*}",
        *([f'export LD_LIBRARY_PATH="{path}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"'] if libraries else []),
        f'exec "$here/usr/bin/{program}" {" ".join(firmware)} "$@"',
    ]
    return "".join(f"{line}\n" for line in lines)
