"""How the metrics of a probe are read from its answer. docs/metrics.md has the definitions."""

from __future__ import annotations

from typing import Any

from bench.analysis.doubts import Doubt
from bench.analysis.values import CYCLE, NOT_ASKED, Boot, How, Iteration, Missing, number
from bench.wire.units import show_bytes


def probe_doubts(boot: Boot) -> list[Doubt]:
    """A copy that stays in the caches shows nothing of the memory."""
    found = []
    for phase in boot.get("phases") or []:
        result = phase.get("result") or {}
        size, cache = number(result.get("buffer_bytes")), number(result.get("cache_bytes"))
        if phase.get("name") == "probe" and result.get("kind") == "bandwidth" and size and cache and size <= cache:
            text = f"the probe copies {show_bytes(size)}, and a cache of the guest's CPU has {show_bytes(cache)}"
            found.append(Doubt("probe-in-cache", text))
    return found


def window_of(it: Iteration, name: str) -> dict[str, Any]:
    """What was counted in one window, all of it."""
    if "probe" not in it.phases:
        raise Missing(NOT_ASKED)
    answer = it.phase("probe-end").get("result", {})
    window: dict[str, Any] | None = answer.get("windows", {}).get(name)
    if window is None:
        raise Missing(f"the probe has no window {name}")
    if not window.get("covered"):
        raise Missing("the probe had no more room to count in before its windows were over")
    if not window.get("quanta"):
        raise Missing(f"no quantum of the probe lies in its window {name}")
    return window


def figure(window: dict[str, Any], key: str) -> float:
    value = number(window.get(key))
    if value is None:
        raise Missing(f"the probe did not say its {key}")
    return value


def share_of_before(name: str, key: str, of: str) -> How:
    def value(it: Iteration) -> float:
        whole = figure(window_of(it, "before"), of)
        if whole <= 0:
            raise Missing("the probe got nothing done before the free")
        return figure(window_of(it, name), key) / whole

    return value


PROBE: dict[str, How] = {
    "probe_work_share": share_of_before("after", "mean", "mean"),
    **{f"probe_{key}_share": share_of_before("after", key, "p50") for key in ("p1", "p50", "p99")},
    "probe_quiet_p1_share": share_of_before("before", "p1", "p50"),
    "probe_longest_s": lambda it: figure(window_of(it, "after"), "longest_ns") / 1e9,
}
_RETURNED = ("residual_bytes", "returned_bytes", "returned_share", "t90_s", "qemu_cpu_s")
AGAIN: dict[str, How] = {"probe_again_share": share_of_before("again", "mean", "mean")}
JITTER: dict[str, How] = {
    **PROBE,
    **AGAIN,
    **{name: CYCLE[name] for name in _RETURNED},
}
