"""All benchmarks in one run: `python -m benchmarks`. Some minutes; on a quiet machine."""

from __future__ import annotations

from benchmarks import boot, memtouch

if __name__ == "__main__":
    memtouch.main()
    print()
    boot.main()
