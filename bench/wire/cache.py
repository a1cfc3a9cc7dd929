"""Where the per-user cache lies, on the controller and on a host alike: images, kernels, bundles, probe answers."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$BENCH_CACHE, else $XDG_CACHE_HOME/fpr-bench, else ~/.cache/fpr-bench; made (mode 0700) when missing."""
    named = os.environ.get("BENCH_CACHE")
    base = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fpr-bench"
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    return base.resolve()
