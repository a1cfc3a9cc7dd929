"""One setting of a host, as it was, as it was wanted, and as it is."""

from __future__ import annotations

from dataclasses import dataclass

# What can be tuned; bench.host.knobs says how. Those of ONLY_BY_NAME change what the host is, and are never chosen by
# `tune: true`.
NAMES = (
    "governor", "boost", "idle", "smt", "thp", "thp_defrag", "thp_shmem", "ksm", "numa_balancing", "compaction",
    "swappiness", "zswap", "watchdog", "cpu_latency",
)  # fmt: skip
ONLY_BY_NAME = ("smt",)
# found: as it is, nothing was asked. kept: it was as wanted already. set: changed, and read back so. refused: it could
# not be changed (problem says why). absent: this host does not have it. restored: as it was before, read back so.
# foreign: somebody else changed it meanwhile, so it was left alone.
STATES = ("found", "kept", "set", "refused", "absent", "restored", "foreign")


@dataclass(frozen=True)
class Setting:
    """One file of a setting. name: of the knob ("governor"). file: its path, "" when absent.

    before: what was read first, and is what restoring writes. wanted: the quiet value, "" where none is asked. now:
    what was read last. A file that shows a choice ("always [madvise] never") is given by the chosen word.
    """

    name: str
    file: str
    before: str
    wanted: str
    now: str
    state: str
    problem: str = ""
