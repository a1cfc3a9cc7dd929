"""How long the page of a large run takes, and how large it is: 1000 boots, series of 20 Hz, below 3 MB in below 20 s.

    python -m benchmarks.page [BOOTS]

The run is the synthetic one of the tests, four arms on two hosts. Exit code 1 where a limit is passed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from bench.wire.units import show_bytes

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

MOST_BYTES, MOST_S = 3_000_000, 20.0
ARMS = ("none", "reporting", "reporting-order-4", "reporting-order-0")
HOSTS = ("lab-1", "lab-2")


def main(boots: int = 1000) -> int:
    """Prints what it found; answers the exit code."""
    from synthetic_run import HZ, Shape, write_run

    from reports.page import render

    with tempfile.TemporaryDirectory() as folder:
        blocks = max(1, boots // (len(ARMS) * len(HOSTS)))
        run = write_run(Path(folder) / "run", Shape(arms=ARMS, hosts=HOSTS, blocks=blocks))
        series = sum(path.stat().st_size for path in (run / "series").iterdir())
        # In a process of its own the imports would count; a second page costs what this one does.
        start = time.perf_counter()
        page = render(run)
        spent, size = time.perf_counter() - start, page.stat().st_size
    count = blocks * len(ARMS) * len(HOSTS)
    print(f"{count} boots, {HZ:g} Hz, {show_bytes(series)} of series: page of {size / 1e6:.2f} MB in {spent:.1f} s")
    return int(size > MOST_BYTES or spent > MOST_S)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
