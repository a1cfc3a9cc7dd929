"""Which loops there are (bench.wire.job.HOST_POLICIES), and how one is started."""

from __future__ import annotations

from typing import Any, Callable

from bench.host.policy import resizing
from bench.host.policy.loop import Loop, Policy
from bench.host.policy.notify import Notifying
from bench.host.scene import Scene

PERIOD_S = 0.25
_KINDS: dict[str, Callable[[Scene, dict[str, Any]], Policy]] = {
    "balloon": resizing.balloon,
    "virtio-mem": resizing.virtio_mem,
    "notify": Notifying,
}


def start(scene: Scene, kind: str, params: dict[str, Any]) -> Loop:
    """A loop that is running. params: period_s, and those of the kind. Raises ValueError for an unknown kind."""
    if kind not in _KINDS:
        raise ValueError(f"unknown policy {kind!r} of the host; known: {', '.join(_KINDS)}")
    given = dict(params)
    period_s = float(given.pop("period_s", PERIOD_S))
    return Loop(kind, _KINDS[kind](scene, given), period_s)
