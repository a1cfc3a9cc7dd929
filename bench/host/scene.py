"""What the host side has at hand of a guest that is up, for what acts on it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional, Union

from bench.host import giving
from bench.host.arrive import Newcomer
from bench.host.cgroup import NEEDLESS, Group
from bench.host.migrate import Second
from bench.host.policy.loop import Loop
from bench.wire.job import Job


@dataclass(frozen=True)
class Scene:
    """What an action acts on: a job's guest, its QEMU's process id and monitor.

    group: the memory cgroup that QEMU is in, or why it has none of its own. root: where proc and sys are mounted.
    folder: private, with the guest's sockets. now: the time base of all records. newcomers: processes that took memory
    in the group and have not left yet. second: the QEMU that the guest may be moved to. loops: of the host side, that
    run beside the guest.
    """

    job: Job
    pid: int
    monitor: giving.Monitor
    group: Union[Group, str] = NEEDLESS
    root: Path = Path("/")
    folder: Path = Path()
    now: Callable[[], float] = time.monotonic
    newcomers: list[Newcomer] = field(default_factory=list)
    second: Optional[Second] = None
    loops: list[Loop] = field(default_factory=list)
