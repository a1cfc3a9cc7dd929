"""Loops that make the guest shrink by itself, each with its own CPU time measured and every action recorded.

Each kind is probed before it starts: `Unsupported` says what this kernel lacks. What an action freed is what went from
memory in use: page cache, anonymous and slab pages. MemFree would not do, as pages that are being reported are not
free meanwhile. While other programs run, their share is in it.

drop-caches: Documentation/admin-guide/sysctl/vm.rst. reclaim: memory.reclaim of the root cgroup (Linux 5.19,
admin-guide/cgroup-v2.rst). mglru: admin-guide/mm/multigen_lru.rst, "Proactive reclaim". compact: vm.rst,
compact_memory. damon: workloads/damon.py.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from workloads import damon, guestos, usage
from workloads.guestos import Unsupported

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # What it freed in bytes, None: to be seen in /proc/meminfo.
    Act = Callable[[], int | None]
    # Frees so many bytes, or about so many.
    Free = Callable[[int], None]

_VM = "proc/sys/vm"
_LRU = "sys/kernel/debug/lru_gen"
_CGROUP = "tmp/cgroup"


class Loop:
    """One loop in a thread of its own, acting every `period_s` until `stop`."""

    def __init__(self, kind: str, act: Act, period_s: float, root: str = "/") -> None:
        """act: once every period; see Act."""
        self._kind, self._act, self._period_s, self._root = kind, act, period_s, root
        self._kernel_ns = usage.threads_ns("kdamond", root)
        self._stopping = threading.Event()
        self._actions: list[dict[str, Any]] = []
        self._cpu_ns = 0
        self._thread = threading.Thread(target=self._run, name=f"policy {kind}", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """What it did. bytes: what came free, all actions together; cpu_ns: of the loop's thread and of kdamond."""
        self._stopping.set()
        self._thread.join()
        # Before it ends: a kernel thread that is gone takes its time along.
        kernel_ns = usage.threads_ns("kdamond", self._root) - self._kernel_ns
        if self._kind in _ENDS:
            _ENDS[self._kind](self._root)
        return {
            "kind": self._kind,
            "actions": self._actions,
            "count": len(self._actions),
            "bytes": sum(action["bytes"] for action in self._actions),
            "cpu_ns": self._cpu_ns + kernel_ns,
        }

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            self._actions.append(self._once())
            self._cpu_ns = time.thread_time_ns()

    def _once(self) -> dict[str, Any]:
        before, start = in_use(self._root), time.monotonic_ns()
        error, told = "", None
        try:
            told = self._act()
        except OSError as problem:
            # memory.reclaim says EAGAIN when it found less than was asked for: an action all the same.
            error = f"{type(problem).__name__}: {problem.strerror}"
        end = time.monotonic_ns()
        freed = before - in_use(self._root) if told is None else told
        return {"t_ns": start, "ns": end - start, "bytes": freed, **({"error": error} if error else {})}


def in_use(root: str) -> int:
    """Bytes that are page cache, anonymous or reclaimable slab pages."""
    memory = guestos.meminfo(root)
    return sum(memory.get(name, 0) for name in ("Cached", "Buffers", "AnonPages", "SReclaimable"))


def start(kind: str, params: dict[str, Any], root: str = "/") -> Loop:
    """Probes the kernel for the kind and begins. Raises Unsupported, ValueError for an unknown kind."""
    if kind not in _KINDS:
        raise ValueError(f"unknown policy {kind!r}; known: {', '.join(_KINDS)}")
    given = dict(params)
    period_s = float(given.pop("period_s", 2.0))
    return Loop(kind, _KINDS[kind](root, **given), period_s, root)


def _drop_caches(root: str) -> Act:
    return _writer(root, f"{_VM}/drop_caches", "1", "drop_caches")


def _compact(root: str) -> Act:
    guestos.compact(root)
    return lambda: guestos.compact(root)


def _reclaim(root: str, target_bytes: int | None = None, swappiness: int | None = None) -> Act:
    """Asks for target_bytes (None: a sixteenth of the guest), and for no more than the kernel has as inactive.

    A request beyond that is met from what is in use, and one that cannot be met tries for long (EAGAIN).
    """
    path = _reclaim_file(root)
    more = "" if swappiness is None else f" swappiness={swappiness}"
    target = target_bytes or _sixteenth(root)

    def act() -> int | None:
        memory = guestos.meminfo(root)
        inactive = memory["Inactive(file)"] + (memory["Inactive(anon)"] if memory.get("SwapFree") else 0)
        asked = min(target, inactive)
        if not asked:
            return 0
        _write(root, path, f"{asked}{more}")
        return None

    return act


def _reclaim_file(root: str) -> str:
    path = f"{_CGROUP}/memory.reclaim"
    if not _exists(root, path):
        guestos.mount("cgroup2", f"{root.rstrip('/')}/{_CGROUP}")
    if not _exists(root, path):
        raise Unsupported("this kernel has no memory.reclaim (Linux 5.19 with CONFIG_MEMCG)")
    return path


def freeing(how: str, root: str = "/") -> Free:
    """What frees memory when somebody asks for it. Raises Unsupported, ValueError for what is not in FREEING.

    reclaim: as many bytes as are asked for, of what is in use too. mglru, drop-caches: all that they find.
    """
    if how not in FREEING:
        raise ValueError(f"unknown way to free memory {how!r}; known: {', '.join(FREEING)}")
    if how != "reclaim":
        act = _KINDS[how](root)

        def all_there_is(_wanted: int) -> None:
            act()

        return all_there_is
    path = _reclaim_file(root)

    def free(wanted: int) -> None:
        # EAGAIN where it found less: what was freed is seen in /proc/meminfo.
        with contextlib.suppress(BlockingIOError):
            _write(root, path, str(wanted))

    return free


def _sixteenth(root: str) -> int:
    return guestos.meminfo(root)["MemTotal"] // 16


def _mglru(root: str, generations: int = 2) -> Act:
    switch = "sys/kernel/mm/lru_gen/enabled"
    if not _exists(root, switch):
        raise Unsupported("this kernel has no multi-generational LRU (CONFIG_LRU_GEN)")
    _write(root, switch, "y")
    if not _exists(root, _LRU):
        guestos.mount("debugfs", f"{root.rstrip('/')}/sys/kernel/debug")
    if not _exists(root, _LRU):
        raise Unsupported("this kernel does not show its LRU generations (debugfs lru_gen)")

    def act() -> int | None:
        for memcg, node, oldest, youngest in lru_generations(_read(root, _LRU)):
            # Age first: what was not used since is then in a generation below the youngest.
            _write(root, _LRU, f"+ {memcg} {node} {youngest} 1 1")
            if youngest + 1 - oldest >= generations:
                _write(root, _LRU, f"- {memcg} {node} {youngest + 1 - generations} 0")
        return None

    return act


def lru_generations(text: str) -> list[tuple[int, int, int, int]]:
    """(memcg id, node, oldest and youngest generation) of each LRU in the text of debugfs lru_gen."""
    found: list[tuple[int, int, int, int]] = []
    memcg = node = 0
    numbers: list[int] = []
    for line in [*text.splitlines(), "memcg"]:
        words = line.split()
        if words[:1] in (["memcg"], ["node"]):
            if numbers:
                found.append((memcg, node, min(numbers), max(numbers)))
            numbers = []
            if len(words) > 1:
                memcg, node = (int(words[1]), node) if words[0] == "memcg" else (memcg, int(words[1]))
        elif words and words[0].isdigit():
            numbers.append(int(words[0]))
    return found


def _damon(root: str, min_age_s: float = 2.0, quota_bytes: int | None = None) -> Act:
    """quota_bytes: of memory gone over in a second, at most; None: a quarter of the guest."""
    damon.begin(root, min_age_s, quota_bytes)
    seen = 0

    def act() -> int | None:
        # The kernel's own thread acts; an action only looks at what it freed meanwhile.
        nonlocal seen
        before, seen = seen, damon.freed_bytes(root)
        return seen - before

    return act


_KINDS: dict[str, Callable[..., Act]] = {
    "drop-caches": _drop_caches,
    "reclaim": _reclaim,
    "mglru": _mglru,
    "damon": _damon,
    "compact": _compact,
}
# Those that can be asked for memory once, by `freeing`.
FREEING = ("reclaim", "mglru", "drop-caches")
# What goes on by itself has to be stopped.
_ENDS: dict[str, Callable[[str], None]] = {"damon": damon.end}


def _writer(root: str, path: str, text: str, what: str) -> Act:
    if not _exists(root, path):
        raise Unsupported(f"this kernel has no {what}")
    return lambda: _write(root, path, text)


def _exists(root: str, path: str) -> bool:
    return os.path.exists(f"{root.rstrip('/')}/{path}")  # noqa: PTH110 - no pathlib in a guest


def _read(root: str, path: str) -> str:
    with open(f"{root.rstrip('/')}/{path}") as stream:
        return stream.read()


def _write(root: str, path: str, text: str) -> None:
    with open(f"{root.rstrip('/')}/{path}", "w") as stream:
        stream.write(text)
