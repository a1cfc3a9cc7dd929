"""memtouch: map, touch, verify and release memory, and say how long each took.

Used by the agent in the guest and by `bench memtouch` on the host; needs the standard library and cffi's runtime only.
"""

from workloads.memtouch.histogram import RELATIVE_ERROR, Histogram
from workloads.memtouch.reading import BLOCK_BYTES, PacedReader, Pieces, Read, read_all
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
    "BLOCK_BYTES",
    "RELATIVE_ERROR",
    "FirstBad",
    "Histogram",
    "PacedReader",
    "Pieces",
    "Read",
    "Region",
    "Released",
    "Throughput",
    "Touched",
    "Verified",
    "clock_cost_ns",
    "map_region",
    "page_bytes",
    "read_all",
    "run_throughput",
]
