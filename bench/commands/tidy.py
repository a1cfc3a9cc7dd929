"""Before every command: nothing stays on this machine of a bench that was killed, whatever is asked for now.

On other hosts the host side does the same before it answers (bench.host.leftovers).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.saying import say
from bench.errors import BenchError
from bench.host.leftovers import clear, ending
from bench.host.receive import cache_path
from bench.wire.units import printable

if TYPE_CHECKING:
    from bench.controller.inventory import Host

ROOT = Path("/")
HOSTS_FILE = Path("hosts.yaml")
# A guest ends within seconds; what is in a swap file has to be read back.
WAIT_S = 60.0
_PAUSE_S = 0.05


def tidy() -> None:
    """Waits for host sides here whose bench was killed, and puts away what such left as were killed themselves.

    Says what it did. What cannot be done is told too, and is no reason against the command.
    """
    here = _hosts_here()
    folders = {cache_path(scratch) for scratch in ("", *(host.scratch for host in here))}
    become = "sudo" if any(host.become == "sudo" for host in here) else "none"
    try:
        _wait_for_those_that_end(tuple(folders))
        lines = clear(become, folders, ROOT).lines
    except OSError as error:
        lines = (f"what a bench that was killed may have left on this machine cannot be looked for: {error}",)
    for line in lines:
        say(printable(line))


def _hosts_here() -> Sequence[Host]:
    """The entries of hosts.yaml that are this machine; none where it is wrong, which the command itself will tell."""
    if not HOSTS_FILE.is_file():
        return ()
    # It takes longer to import than what this is about.
    from bench.controller.inventory import load_inventory

    with suppress(BenchError):
        return [host for host in load_inventory(HOSTS_FILE).hosts if host.address == "local"]
    return ()


def _wait_for_those_that_end(folders: Sequence[Path]) -> None:
    end, told = time.monotonic() + WAIT_S, False
    while pids := [str(pid) for pid in ending(folders, ROOT)]:
        if time.monotonic() > end:
            say(f"what a bench that was killed had started here does not end; run: kill -9 {' '.join(pids)}")
            return
        if not told:
            say(f"a bench was killed, and what it had started here is ending; waiting for process {', '.join(pids)}")
            told = True
        time.sleep(_PAUSE_S)
