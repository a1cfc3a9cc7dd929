"""What host sides that were killed left on this host, put away by the next one, whatever that is asked."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.host import cgroup, swapfile
from bench.wire.cache import cache_folder


def clear(become: str, root: Path = Path("/")) -> None:
    """Removes memory cgroups and swap files whose owner died.

    What stays is told on stderr: the request is answered all the same.
    """
    for line in (*cgroup.prune(become, root), *swapfile.prune(cache_folder(), root)):
        print(f"host side: {line}", file=sys.stderr)
