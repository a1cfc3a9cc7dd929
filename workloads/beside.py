"""A probe beside the agent: it has a CPU of its own, and the agent keeps to the others meanwhile.

The kernel's own workers are left where the kernel puts them, the one that reports free pages too: whether they get in
the probe's way is what is asked.
"""

from __future__ import annotations

import os

from workloads.memtouch.probe import Probe

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from typing import Any

_CACHES = "sys/devices/system/cpu/cpu0/cache"


class Probes:
    """The probe of a guest, one at a time. root: where sys is mounted."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._running: Probe | None = None
        self._cpus: set[int] = set()

    def start(self, kind: str, quantum_s: float, room_s: float, bytes: int) -> dict[str, Any]:  # noqa: A002
        """Begins to count on the last CPU. Raises ValueError where there is no other, OSError, TimeoutError.

        room_s: for so long there is room to count in. bytes: what kind "bandwidth" copies. -> kind, cpu, other_cpus
        (where the agent is), buffer_bytes, cache_bytes (the largest cache, None where the kernel does not say).
        """
        if self._running is not None:
            raise ValueError("a probe runs already: stop it first")
        self._cpus = os.sched_getaffinity(0)
        if len(self._cpus) < 2:
            raise ValueError("a probe needs a CPU of its own, and this guest has one in all")
        cpu = max(self._cpus)
        # Before it counts: it should never have to share.
        os.sched_setaffinity(0, self._cpus - {cpu})
        try:
            self._running = Probe(kind, cpu, quantum_s, room_s, bytes)
        except BaseException:
            os.sched_setaffinity(0, self._cpus)
            raise
        facts = {"kind": kind, "cpu": cpu, "other_cpus": sorted(self._cpus - {cpu}), "buffer_bytes": bytes}
        return {**facts, "cache_bytes": cache_bytes(self._root)}

    def mark(self, window: str) -> dict[str, Any]:
        """A window of this name begins."""
        return {"t_ns": self._probe().mark(window)}

    def stop(self, window_s: float = 0.0) -> dict[str, Any]:
        """Ends it: as Probe.stop. The agent may run everywhere again."""
        try:
            return self._probe().stop(window_s)
        finally:
            if self._running is not None:
                self._running.close()
                os.sched_setaffinity(0, self._cpus)
            self._running = None

    def _probe(self) -> Probe:
        if self._running is None:
            raise ValueError("no probe runs: start one first")
        return self._running


def cache_bytes(root: str = "/") -> int | None:
    """The largest cache that the first CPU shows (Documentation/ABI/testing/sysfs-devices-system-cpu)."""
    folder = f"{root}/{_CACHES}"
    sizes = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():  # noqa: PTH112, PTH208
        if name.startswith("index"):
            with open(f"{folder}/{name}/size") as file:
                sizes.append(int(file.read().strip().rstrip("K")) * 1024)
    return max(sizes, default=None)
