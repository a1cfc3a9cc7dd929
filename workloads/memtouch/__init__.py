"""memtouch: map, touch, verify and release memory, and say how long each took.

Used by the agent in the guest and by `bench memtouch` on the host; needs the standard library and cffi's runtime only.
"""

from workloads.memtouch.histogram import RELATIVE_ERROR, Histogram
from workloads.memtouch.region import (
    FirstBad,
    Region,
    Released,
    Touched,
    Verified,
    clock_cost_ns,
    map_region,
    page_bytes,
)
from workloads.memtouch.throughput import Throughput, run_throughput

__all__ = [
    "RELATIVE_ERROR",
    "FirstBad",
    "Histogram",
    "Region",
    "Released",
    "Throughput",
    "Touched",
    "Verified",
    "clock_cost_ns",
    "map_region",
    "page_bytes",
    "run_throughput",
]
