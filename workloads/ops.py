"""What the agent can do, by name. Arguments come as keywords, results are plain JSON objects, sizes in bytes.

memtouch is imported by what needs it: the guest can say READY, and say what is wrong, without it.
"""

from __future__ import annotations

import time

from workloads import guestos

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from workloads.memtouch import Region

    Operation = Callable[..., dict[str, Any]]


class Operations:
    """The operations of one guest and the regions that it holds. root: where proc and sys are mounted."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._regions: dict[str, Region] = {}

    def table(self) -> dict[str, Operation]:
        """Every operation by the name that the host calls it by."""
        return {
            "clock": self.clock,
            "setup": self.setup,
            "map": self.map,
            "touch": self.touch,
            "verify": self.verify,
            "release": self.release,
            "snapshot": self.snapshot,
            "throughput": self.throughput,
            "dmesg": self.dmesg,
        }

    def clock(self) -> dict[str, Any]:
        """The guest's CLOCK_MONOTONIC."""
        return {"monotonic_ns": time.monotonic_ns()}

    def setup(self, page_reporting_order: int | None = None) -> dict[str, Any]:
        """Sets the reporting order unless None, and reads it back. Raises OSError where the kernel has none."""
        if page_reporting_order is not None:
            guestos.set_page_reporting_order(page_reporting_order, self._root)
        return {"page_reporting_order": guestos.page_reporting_order(self._root)}

    def map(self, region: str, bytes: int, mapping: Any = "anonymous", thp: Any = "system") -> dict[str, Any]:  # noqa: A002
        """Maps `bytes` (rounded up to pages) under a name that is not in use."""
        from workloads.memtouch import map_region

        if region in self._regions:
            raise ValueError(f"region {region!r} is mapped already: release it with munmap first")
        mapped = self._regions[region] = map_region(bytes, mapping, thp)
        return {"bytes": mapped.bytes, "page_bytes": mapped.page_bytes}

    def touch(self, region: str, mode: Any = "write", histogram: bool = False) -> dict[str, Any]:
        """Touches every page once. With a histogram: quantiles of the latency of one page, and the buckets in use."""
        from workloads.memtouch import Histogram

        latencies = Histogram() if histogram else None
        touched = self._region(region).touch(mode, latencies)
        result: dict[str, Any] = {
            "ns": touched.ns,
            "bytes": touched.bytes,
            "pages": touched.pages,
            "page_bytes": touched.page_bytes,
        }
        if latencies is not None:
            for name, quantile in (("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)):
                result[name] = latencies.quantile(quantile)
            result["max_ns"] = latencies.max_ns
            result["histogram"] = latencies.buckets()
        return result

    def verify(self, region: str, extent: Any = "word") -> dict[str, Any]:
        """Checks the pattern in the first word of each page, or in every byte."""
        verified = self._region(region).verify(extent)
        bad = verified.first_bad
        first = None
        if bad is not None:
            first = {"address": bad.address, "offset": bad.offset, "expected": bad.expected, "found": bad.found}
        return {"ns": verified.ns, "bytes": verified.bytes, "bad_pages": verified.bad_pages, "first_bad": first}

    def release(self, region: str, how: Any = "munmap", every: int = 2, block_bytes: int = 2 << 20) -> dict[str, Any]:
        """Gives memory back; `bytes` really came free, `offered_bytes` were resident in what was released."""
        released = self._region(region).release(how, every, block_bytes)
        if how == "munmap":
            del self._regions[region]
        return {"ns": released.ns, "bytes": released.bytes, "offered_bytes": released.offered_bytes}

    def snapshot(self) -> dict[str, Any]:
        """Free memory as the guest sees it. below_order_bytes: free, but in blocks too small to be reported."""
        memory = guestos.meminfo(self._root)
        buddy = guestos.buddy_free_bytes(self._root)
        order = guestos.page_reporting_order(self._root) if guestos.is_reporting(self._root) else None
        return {
            "free_bytes": memory.get("MemFree"),
            "available_bytes": memory.get("MemAvailable"),
            "cached_bytes": memory.get("Cached"),
            "buddy_free_bytes": buddy,
            "below_order_bytes": None if order is None else sum(buddy[:order]),
        }

    def throughput(
        self,
        test: Any = "page_fault1",
        tasks: int = 1,
        kind: Any = "process",
        seconds: float = 5.0,
        warmup_s: float = 1.0,
        bytes: int = 128 << 20,  # noqa: A002 - the name in the protocol
        thp: Any = "system",
    ) -> dict[str, Any]:
        """Page faults a second, all tasks together; iterations of each task are pages."""
        from workloads.memtouch import run_throughput

        done = run_throughput(test, tasks, kind, seconds, warmup_s, bytes, thp)
        return {"iterations": list(done.iterations), "seconds": done.seconds, "per_second": done.per_second}

    def dmesg(self) -> dict[str, Any]:
        """The kernel's messages as one text."""
        return {"text": guestos.kernel_log(f"{self._root}/dev/kmsg")}

    def _region(self, name: str) -> Region:
        if name not in self._regions:
            raise ValueError(f"region {name!r} is not mapped; mapped: {', '.join(self._regions) or 'none'}")
        return self._regions[name]
