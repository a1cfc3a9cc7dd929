"""Which QEMU and which guest kernel really run, by the sha256 of their files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Optional

from bench.wire.record import Files


def files_of(kernel: str, pid: int, root: Path = Path("/")) -> Files:
    """The files of a guest that is up. /proc/PID/exe is read, not its path: that file may be another one by now."""
    running = root / f"proc/{pid}/exe"
    try:
        qemu: Optional[str] = str(running.readlink())
    except OSError:
        qemu = None
    return Files(qemu, sha256(running), kernel, sha256(Path(kernel)))


def sha256(path: Path) -> Optional[str]:
    """Of a file's content; None where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()
