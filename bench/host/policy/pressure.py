"""An alarm of the kernel: somebody was stalled on memory for too long (Documentation/accounting/psi.rst, triggers).

Of the guests' group where it has a file of its own (version 2), else of the host. The kernel looks after a trigger by
itself; nobody polls. A user without CAP_SYS_RESOURCE may ask for windows of whole multiples of 2 s only.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path
from typing import Optional

from bench.host.cgroup import Group
from bench.host.scene import Scene

# Stalled for a tenth of the window; the first one that the kernel takes.
_TRIGGERS = (b"some 100000 1000000", b"some 200000 2000000")


class Alarm:
    """Whether the trigger fired since it was asked last. Without PSI, or the right to a trigger, it never rings."""

    def __init__(self, scene: Scene) -> None:
        own = [scene.group.path / "memory.pressure"] if isinstance(scene.group, Group) else []
        self._paths = [*own, scene.root / "proc/pressure/memory"]
        self.trigger = ""
        self._file = -1
        self._poll: Optional[select.poll] = None

    def begin(self) -> None:
        """Sets the trigger, if one can be set; `trigger` says where and which."""
        for path in self._paths:
            for trigger in _TRIGGERS:
                self._file = _armed(path, trigger)
                if self._file >= 0:
                    self.trigger = f"{path}: {trigger.decode()}"
                    self._poll = select.poll()
                    self._poll.register(self._file, select.POLLPRI)
                    return

    def rang(self) -> bool:
        """At most once a window. Asking takes the ring away."""
        return bool(self._poll and any(event & select.POLLPRI for _, event in self._poll.poll(0)))

    def end(self) -> None:
        """The trigger is gone. Harmless when repeated."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._poll = -1, None


def _armed(path: Path, trigger: bytes) -> int:
    """A descriptor on which the kernel tells of this trigger, -1 where it does not take it."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(file, trigger + b"\0")
        except OSError:
            os.close(file)
            return -1
        return file
    return -1
