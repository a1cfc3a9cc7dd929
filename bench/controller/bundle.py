"""The host side as one reproducible zip file: the same sources give the same bytes, and the name tells which.

It holds bench.host, bench.wire, bench.errors and the async client of qemu.qmp (LGPL-2+), unmodified and as files of
their own; its `legacy` module (GPL-2) and the terminal tools stay out.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from importlib.util import find_spec
from pathlib import Path

_MAIN = b"import sys\nfrom bench.host.__main__ import main\nsys.exit(main())\n"
_QMP_LEFT_OUT = frozenset({"legacy.py", "qmp_shell.py", "qmp_tui.py"})
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build_bundle(cache: Path) -> Path:
    """Path of the zipapp in the cache, made when it is not there: `fpr-host-<first 16 of sha256>.pyz`."""
    data = bundle_bytes()
    path = cache / f"fpr-host-{hashlib.sha256(data).hexdigest()[:16]}.pyz"
    if not path.exists():
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data)
        temporary.replace(path)
    return path


def bundle_bytes() -> bytes:
    """The zip file itself: sorted names, fixed dates and modes, deflated."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(_members().items()):
            archive.writestr(_entry(name, 0o40755 if name.endswith("/") else 0o100644), data)
    return buffer.getvalue()


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = mode << 16
    return entry


def _members() -> dict[str, bytes]:
    bench = Path(__file__).resolve().parent.parent
    # `qemu` is a namespace package: zipimport finds one only by its folder's own entry.
    members = {"__main__.py": _MAIN, "qemu/": b""}
    sources = [
        bench / "__init__.py",
        bench / "errors.py",
        *(bench / "wire").glob("*.py"),
        *(bench / "host").rglob("*.py"),
    ]
    for source in sources:
        members[f"bench/{source.relative_to(bench).as_posix()}"] = source.read_bytes()
    for source in _qmp_folder().glob("*.py"):
        if source.name not in _QMP_LEFT_OUT:
            members[f"qemu/qmp/{source.name}"] = source.read_bytes()
    return members


def _qmp_folder() -> Path:
    spec = find_spec("qemu.qmp")
    assert spec is not None, "qemu.qmp is a dependency of this package"
    assert spec.origin is not None
    return Path(spec.origin).parent
