"""What host sides that were killed left on this host, put away by whatever `bench` does next there.

Nothing of a living one is touched: memory cgroups, swap files and folders of boots are locked by who made them, and the
kernel drops that lock with the process.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import LabError
from bench.host import cgroup, lock, private, swapfile
from bench.wire.living import controller_of, is_gone

_MAKER = re.compile(r"fpr-b(?:ench|oot)[.-](\d+)")


@dataclass(frozen=True)
class Cleared:
    """A line for each thing that was put away, and for each that could not be, with what would do it."""

    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        return (*self.removed, *self.left)


def clear(become: str, folders: Iterable[Path], root: Path = Path("/")) -> Cleared:
    """Removes memory cgroups with what still runs in them, swap files, and folders of boots whose owners died.

    folders: where swap files are made; one that is in use is found wherever it lies. root: what all else lies below,
    folders of boots too. Raises OSError.
    """
    # First what still runs: it may use the others.
    found = [(path, "memory cgroup", problem) for path, problem in cgroup.prune(become, root)]
    found += [(path, "swap file", problem) for path, problem in swapfile.prune(folders, root)]
    found += [(path, "folder", "") for base in _bases(root) for path in private.prune(base)]
    gone = tuple(f"removed the {kind} {path}: its bench was killed" for path, kind, problem in found if not problem)
    return Cleared(gone, tuple(problem for _, _, problem in found if problem))


def ending(folders: Iterable[Path], root: Path = Path("/")) -> list[int]:
    """Host sides here that still have something, though their controller on this machine is gone; they are ending.

    By the numbers in the names of what they made; a number is believed only where its process says whose it is.
    """
    pids = {*_makers(folders, root), *_holder(root)}
    return sorted(pid for pid in pids if (controller := controller_of(pid, root)) and is_gone(controller, root))


def _bases(root: Path) -> set[Path]:
    return {root / base.relative_to("/") for base in (Path(tempfile.gettempdir()), private.FALLBACK_BASE)}


def _makers(folders: Iterable[Path], root: Path) -> Iterator[int]:
    made = [*cgroup.there(root), *swapfile.there(folders, root)]
    made += [path for base in _bases(root) for path in private.there(base)]
    for path in made:
        found = _MAKER.match(path.name)
        if found:
            yield int(found.group(1))


def _holder(root: Path) -> Iterator[int]:
    """Who holds the host now."""
    try:
        holder = lock.holder(lock.default_path(root)) or {}
    except LabError:
        return
    if isinstance(holder.get("pid"), int):
        yield holder["pid"]
