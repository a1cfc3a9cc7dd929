"""Which binaries ran: read of the process, not of a path that may be another file by now."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from bench.host.digest import files_of, sha256


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_binary_is_the_one_that_runs_behind_a_launcher_also_when_its_file_is_gone(tmp_path: Path) -> None:
    binary, kernel = tmp_path / "sleep", tmp_path / "bzImage"
    binary.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    binary.chmod(0o755)
    launcher = tmp_path / "launcher"
    launcher.write_text(f"#!/bin/sh\necho up\nexec {binary} 60\n")
    launcher.chmod(0o755)
    kernel.write_bytes(b"a kernel")
    process = subprocess.Popen([launcher], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        while Path(f"/proc/{process.pid}/exe").readlink() != binary:
            pass
        expected = digest(binary)
        binary.unlink()
        files = files_of(str(kernel), process.pid)
    finally:
        process.kill()
        process.communicate()
    assert (files.qemu_sha256, files.kernel_sha256) == (expected, digest(kernel))
    assert files.qemu == f"{binary} (deleted)"


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    files = files_of(str(tmp_path / "none"), 7, tmp_path)
    assert (files.qemu, files.qemu_sha256, files.kernel_sha256) == (None, None, None)
    assert sha256(Path(sys.executable)) == digest(Path(sys.executable))
