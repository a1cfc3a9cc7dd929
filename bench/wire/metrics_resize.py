"""Metrics of a guest that is made smaller and larger: the figures of the HyperAlloc paper (EuroSys 2025, inflate)."""

from __future__ import annotations

from bench.wire.metric import MIB, Metric

_RESIZE = ("resize",)


def _speed(name: str, title: str, definition: str, once: bool = False) -> Metric:
    return Metric(
        f"{name}_bytes_per_s",
        title,
        "byte/second",
        "higher",
        "ratio",
        definition,
        time_like=True,
        workloads=_RESIZE,
        once=once,
    )


TABLE = (
    _speed(
        "shrink_touched",
        "Shrinking a guest that touched its memory",
        "90 % of shrunk_bytes, divided by the time from when the host wanted the memory until so much had left it",
    ),
    _speed(
        "shrink_untouched",
        "Shrinking a guest that never touched it",
        "bytes that the guest gave up of memory which nobody had touched in this boot, divided by the time from asking "
        "until it had",
        once=True,
    ),
    _speed(
        "grow",
        "Giving the memory to the guest again",
        "bytes that the guest did without, divided by the time from allowing it all its memory again until it had it",
    ),
    _speed(
        "grow_touch",
        "Giving it again and touching it",
        "bytes touched, divided by the time from allowing the guest all its memory again (or from when it wants it, "
        "where nothing has to be allowed) until they were touched",
    ),
    Metric(
        "shrunk_bytes",
        "Memory that left the host",
        "byte",
        "higher",
        "difference",
        "residency when the host wanted the memory minus the median of the last fifth of the settle phase",
        resolution=MIB,
        workloads=_RESIZE,
    ),
    Metric(
        "shrunk_share",
        "Share of what the guest could do without",
        "share",
        "higher",
        "difference",
        "shrunk_bytes divided by the bytes that the guest had freed, or had read into its page cache",
        resolution=0.002,
        workloads=_RESIZE,
    ),
)
