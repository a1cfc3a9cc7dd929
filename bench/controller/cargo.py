"""What is carried to hosts: the host side, the guest image, and kernels that are named as files of this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from bench.controller.bundle import build_bundle
from bench.controller.image import build_image
from bench.controller.lab import Cargo
from bench.controller.programs import Program, digests, find
from bench.controller.quantities import pushed
from bench.errors import InputError
from bench.host.initrd import modules_archive
from bench.wire import cpio


class Named(Protocol):
    """A host or an arm: whoever names a kernel."""

    @property
    def kernel(self) -> str: ...

    @property
    def modules(self) -> str: ...


def build_cargo(cache: Path, named: Iterable[Named] = (), programs: Sequence[Program] = ()) -> Cargo:
    """Builds what is not in `cache` yet; kernels are named by their content there, modules packed as guests load them.

    programs: carried in the guest image; NoProgramError is raised for one that is not here.

    Raises InputError for a file that is no longer there or holds no modules.
    """
    files: dict[str, Path] = {}
    for entry in named:
        for kind, text in (("kernel", entry.kernel), ("modules", entry.modules)):
            here = pushed(text)
            if here is not None and text not in files:
                files[text] = _kept(cache, kind, here)
    found = find(programs)
    return Cargo(build_bundle(cache), build_image(cache, found), files, digests(found))


def _kept(cache: Path, kind: str, here: Path) -> Path:
    try:
        data = here.read_bytes() if kind == "kernel" else modules_archive(str(here))
    except (OSError, ValueError) as error:
        raise InputError(f"push:{here}: {error}") from error
    suffix = ".cpio" if kind == "modules" else ""
    path = cache / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}{suffix}"
    if not path.exists():
        cpio.write_atomically(path, data)
    return path
