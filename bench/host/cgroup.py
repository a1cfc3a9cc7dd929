"""A memory cgroup for the guests of one host side: limits for them, and memory that can be pushed out to swap.

Version 2 where it has the memory controller, version 1 else (Documentation/admin-guide/cgroup-v2.rst and
cgroup-v1/memory.rst). A group lies at the top of its hierarchy: below the session's own it would need that one's right,
and version 2 wants no processes beside it.

Whoever made a group holds an flock on its folder. The kernel drops that with the process, so `prune` can tell a dead
owner's group from a living one's, across users and pid namespaces, and no number of a process is believed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

from bench.host.owning import locked
from bench.host.settingfile import write_directly, writer
from bench.wire.job import Cgroup

PREFIX = "fpr-bench."
NEEDLESS = "no phase of this boot needs a memory cgroup"
# A process that was just killed stays in its group for a moment.
_EMPTY_DEADLINE_S, _PAUSE_S, _SUDO_DEADLINE_S = 5.0, 0.05, 60.0
_SUDO = ("sudo", "-n")
_TRIES = 5
_RIGHT = (
    "log in as root (user: root), or write become: sudo and allow the lines BENCH_CGROUP of docs/lab.md with: "
    "sudo visudo -f /etc/sudoers.d/bench"
)


class Unavailable(Exception):  # noqa: N818 - no error: the host is what it is
    """This host gives this user no memory cgroup; the text says why, and what would give it."""


class Group:
    """A group that this process made. Counters are read anew; None where the kernel has none of that name."""

    def __init__(self, path: Path, version: int, become: str = "none", descriptor: int = -1) -> None:
        self.path, self.version = path, version
        self._become, self._write = become, writer(become)
        self._descriptor = descriptor  # has the flock

    def join(self) -> None:
        """For a child, between fork and exec. Raises nothing: `holds` says whether it worked."""
        file = self.path / "cgroup.procs"
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if self._write is write_directly:
                write_directly([file], "0")
            else:
                self._write([file], str(os.getpid()))

    def holds(self, pid: int) -> bool:
        """Whether this process is in the group."""
        return str(pid) in self._text("cgroup.procs").split()

    @property
    def current_bytes(self) -> Optional[int]:
        """Memory that is charged to the group, its swap cache included."""
        return _number(self._text("memory.current" if self.version == 2 else "memory.usage_in_bytes"))

    @property
    def swap_cached_bytes(self) -> Optional[int]:
        """Memory of the group that is in swap and still in memory; not before Linux 5.12."""
        return self._stat("swapcached")

    @property
    def writeback_bytes(self) -> Optional[int]:
        """Memory of the group that is being written out, to swap or to files: it cannot be reclaimed until then."""
        return self._stat("file_writeback" if self.version == 2 else "writeback")

    @property
    def oom_kills(self) -> Optional[int]:
        """Processes that the kernel killed because of the group's limit (memory.events, memory.oom_control)."""
        text = self._text("memory.events" if self.version == 2 else "memory.oom_control")
        found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
        return int(found.group(1)) if found else None

    def limit(self, asked: Cgroup) -> None:
        """Sets the limits that are asked for. Raises Unavailable where one cannot be set."""
        memory, swap = asked.limit_bytes, asked.swap_limit_bytes
        if self.version == 2:
            wanted = {"memory.max": memory, "memory.swap.max": swap}
        else:
            # Version 1 limits memory and swap together, and the sum cannot be below the first.
            both = memory + swap if memory is not None and swap is not None else None
            wanted = {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": both}
        for name, value in wanted.items():
            problem = "" if value is None else self._set(name, str(value))
            if problem:
                raise Unavailable(
                    f"{self.path / name}: {problem}; swap may need swapaccount=1 on the kernel's command line"
                )

    def reclaim(self, size_bytes: int) -> None:
        """Asks the kernel to take so many bytes from the group, the coldest first, to swap if need be.

        As far as it goes at once: pages that are being written to swap stay until that is done. Version 2 by
        memory.reclaim (Linux 5.19), else by memory.high; version 1 by the limit. Either is put back.
        """
        if self.version == 2 and (self.path / "memory.reclaim").exists():
            self._set("memory.reclaim", str(size_bytes))  # EAGAIN where it was less
            return
        name = "memory.high" if self.version == 2 else "memory.limit_in_bytes"
        before, current = self._text(name), self.current_bytes
        if not before or current is None:
            return
        try:
            self._set(name, str(max(current - size_bytes, 1 << 20)))
        finally:
            self._set(name, before)

    def remove(self) -> str:
        """Ends what is in the group and removes it; "", or why it is still there. Harmless when repeated."""
        problem = _removed(self.path, self._become)
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
        return problem

    def _stat(self, name: str) -> Optional[int]:
        found = re.search(rf"^{name} (\d+)$", self._text("memory.stat"), re.MULTILINE)
        return int(found.group(1)) if found else None

    def _set(self, name: str, value: str) -> str:
        return self._write([self.path / name], value)[0]

    def _text(self, name: str) -> str:
        return _text(self.path / name)


def hierarchy(root: Path = Path("/")) -> tuple[Path, int]:
    """The top of the hierarchy that has the memory controller, and its version. Raises Unavailable."""
    top = root / "sys/fs/cgroup"
    if "memory" in _text(top / "cgroup.controllers").split():
        return top, 2
    if (top / "memory/memory.usage_in_bytes").exists():
        return top / "memory", 1
    raise Unavailable(f"{top} has no memory controller (hidden by a container, or taken away by cgroup_disable=memory)")


def make(asked: Cgroup, become: str = "none", root: Path = Path("/")) -> Group:
    """A new group, empty, with the limits asked for, and locked by this process. Raises Unavailable."""
    top, version = hierarchy(root)
    group = _made(top, version, become)
    try:
        if group.current_bytes is None and version == 2:
            # Not taken back: others may have come to need it.
            writer(become)([top / "cgroup.subtree_control"], "+memory")
        if group.current_bytes is None:
            raise Unavailable(f"{group.path} has no memory counters: the controller could not be enabled in {top}")
        group.limit(asked)
    except BaseException:
        group.remove()
        raise
    return group


def _made(top: Path, version: int, become: str) -> Group:
    for _ in range(_TRIES):
        path = top / f"{PREFIX}{os.getpid()}.{time.monotonic_ns()}"
        problem = _as_root(["mkdir", "-m", "755", "--", str(path)], become)
        if problem:
            raise Unavailable(f"no memory cgroup could be made: {problem}; {_RIGHT}")
        descriptor = locked(path)
        if descriptor >= 0:
            return Group(path, version, become, descriptor)
        # Somebody's `prune` was quicker, and has removed it.
    raise Unavailable(f"no memory cgroup stays in {top}: something there removes it at once")


@contextlib.contextmanager
def private_group(asked: Optional[Cgroup], become: str, root: Path = Path("/")) -> Iterator[Union[Group, str]]:
    """A group for one boot, gone afterwards; or why there is none. asked: None where the boot needs none."""
    if asked is None:
        yield NEEDLESS
        return
    try:
        group = make(asked, become, root)
    except Unavailable as lacking:
        yield str(lacking)
        return
    try:
        yield group
    finally:
        problem = group.remove()
        if problem:
            print(f"host side: {problem}", file=sys.stderr)


def there(root: Path = Path("/")) -> list[Path]:
    """The groups of all host sides, in both hierarchies."""
    top = root / "sys/fs/cgroup"
    return [*top.glob(f"{PREFIX}*"), *(top / "memory").glob(f"{PREFIX}*")]


def prune(become: str = "none", root: Path = Path("/")) -> list[tuple[Path, str]]:
    """Removes the groups of owners that died, with what is in them: each with "", or why it is still there.

    Only those that this user may have made.
    """
    mine, found = {os.geteuid(), 0 if become == "sudo" else os.geteuid()}, []
    for path in there(root):
        descriptor = locked(path) if _owner(path) in mine else -1
        if descriptor >= 0:
            try:
                found.append((path, _removed(path, become)))
            finally:
                os.close(descriptor)
    return found


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return -1


def _removed(path: Path, become: str) -> str:
    end = time.monotonic() + _EMPTY_DEADLINE_S
    while path.is_dir():
        for word in _text(path / "cgroup.procs").split():
            # 0: a process of another pid namespace, which only its own can end.
            with contextlib.suppress(OSError):
                if word != "0":
                    os.kill(int(word), signal.SIGKILL)
        problem = _as_root(["rmdir", "--", str(path)], become)
        if "busy" not in problem or time.monotonic() > end:
            return problem and f"the memory cgroup {path} is left: {problem}"
        time.sleep(_PAUSE_S)
    return ""


def _as_root(argv: list[str], become: str) -> str:
    """Runs a command as this user, or by sudo where that may be used and is needed; "", or its last line."""
    prefix = _SUDO if become == "sudo" and os.geteuid() != 0 else ()
    try:
        done = subprocess.run(
            [*prefix, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SUDO_DEADLINE_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{argv[0]}: {error}"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"{argv[0]} failed"])[-1]


def _number(text: str) -> Optional[int]:
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    """What the file says, "" where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
