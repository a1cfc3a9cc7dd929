"""Runs a command with a temporary folder of its own and fails when a process or a file of it is left.

    python tests/leftovers.py COMMAND [ARGUMENT...]

A process is known by TMPDIR in its environment, which children inherit; other people's guests are not looked at.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

GRACE_S = 5.0
PYTEST_FOLDERS = "pytest-"


def processes_of(folder: str, proc: Path = Path("/proc")) -> list[str]:
    """Processes, but this one, that have TMPDIR=`folder` or are told of a file in it: "pid command line"."""
    found = []
    for entry in proc.glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        mine = f"TMPDIR={folder}".encode() in environ or f"{folder}/" in words
        if mine and words and entry.name != str(os.getpid()):
            found.append(f"{entry.name} {words:.200}")
    return found


def files_in(folder: Path) -> list[str]:
    """What is left in the folder, besides those that pytest was given for itself."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(PYTEST_FOLDERS))


def main(argv: Sequence[str]) -> int:
    """Exit status of the command, or 1 when it succeeded and left something."""
    # Short: the path of a unix socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="fpr", dir="/tmp"))
    # A background job of a script has it ignored, and what it starts inherits that: no test of Ctrl-C could pass.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = subprocess.run(argv, env={**os.environ, "TMPDIR": str(folder)}, check=False).returncode
        deadline = time.monotonic() + GRACE_S
        while (alive := processes_of(str(folder))) and time.monotonic() < deadline:
            time.sleep(0.1)
        left = [f"process {line}" for line in alive] + [f"file {folder}/{name}" for name in files_in(folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if left:
        sys.stderr.write("left behind by the tests:\n" + "".join(f"  {line}\n" for line in left))
        return status or 1
    sys.stderr.write("left behind by the tests: no process, no temporary file\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
