"""What the agent can do, by name. Arguments come as keywords, results are plain JSON objects, sizes in bytes.

memtouch is imported by what needs it: the guest can say READY, and say what is wrong, without it.
"""

from __future__ import annotations

import time

from workloads import guestos, usage
from workloads.disk import Disk
from workloads.late import LATE

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from workloads.memtouch import Histogram, Region, Touched, Verified
    from workloads.policy import Loop

    Operation = Callable[..., dict[str, Any]]


class Operations:
    """The operations of one guest and the regions that it holds. root: where proc and sys are mounted."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._regions: dict[str, Region] = {}
        self._loop: Loop | None = None
        self._disk = Disk(root)
        self._late: dict[str, Any] = {}

    def table(self) -> dict[str, Operation]:
        """Every operation by the name that the host calls it by."""
        return {
            "clock": self.clock,
            "setup": self.setup,
            "map": self.map,
            "take_free": self.take_free,
            "touch": self.touch,
            "renew": self.renew,
            "verify": self.verify,
            "release": self.release,
            "snapshot": self.snapshot,
            "throughput": self.throughput,
            "policy_start": self.policy_start,
            "policy_stop": self.policy_stop,
            "listen_start": self._of("listening", "start"),
            "listen_stop": self._of("listening", "stop"),
            "probe_start": self._of("probes", "start"),
            "probe_mark": self._of("probes", "mark"),
            "probe_stop": self._of("probes", "stop"),
            "writer_start": self._of("witness", "writer_start"),
            "writer_stop": self._of("witness", "writer_stop"),
            "health": self._of("witness", "health"),
            "hinting": self._of("witness", "hinting"),
            "churn": self.churn,
            "compact": self.compact,
            "drop_caches": lambda: {"freed_bytes": guestos.drop_caches(self._root)},
            "corrupt": self.corrupt,
            "locate": self.locate,
            "dmesg": self.dmesg,
            "program_start": self._of("programs", "start"),
            "program_run": self._of("programs", "run"),
            "program_stop": self._of("programs", "stop"),
            "program_data": self.program_data,
            "program_ask": self.program_ask,
            "program_remove": self.program_remove,
            **self._disk.table(),
        }

    def clock(self) -> dict[str, Any]:
        """The guest's CLOCK_MONOTONIC."""
        return {"monotonic_ns": time.monotonic_ns()}

    def setup(
        self, page_reporting_order: int | None = None, params: dict[str, int] | None = None, driver: str = ""
    ) -> dict[str, Any]:
        """Sets parameters of page_reporting, its order unless None, and reads all of them back.

        driver: "balloon" or "virtio-mem", whose device must have one. Raises guestos.Unsupported where the kernel lacks
        something of this, or does not take a value.
        """
        if driver and not guestos.has_driver(driver, self._root):
            raise guestos.Unsupported(f"this guest's kernel has no driver for {driver}, or not as one of its modules")
        order = {} if page_reporting_order is None else {"page_reporting_order": page_reporting_order}
        for name, value in {**order, **(params or {})}.items():
            guestos.set_reporting_parameter(name, value, self._root)
        return {
            "page_reporting_order": guestos.page_reporting_order(self._root),
            **({"params": params} if params else {}),
        }

    def map(self, region: str, bytes: int, mapping: Any = "anonymous", thp: Any = "system") -> dict[str, Any]:  # noqa: A002
        """Maps `bytes` (rounded up to pages) under a name that is not in use."""
        from workloads.memtouch import map_region

        if region in self._regions:
            raise ValueError(f"region {region!r} is mapped already: release it with munmap first")
        mapped = self._regions[region] = map_region(bytes, mapping, thp)
        return {"bytes": mapped.bytes, "page_bytes": mapped.page_bytes}

    def take_free(self, region: str, keep_bytes: int) -> dict[str, Any]:
        """Maps and touches all free memory but `keep_bytes`, so that what is freed later is what is taken next."""
        size = max(0, guestos.meminfo(self._root)["MemFree"] - keep_bytes)
        taken = self.map(region, max(size, 1))
        self.touch(region)
        return taken

    def touch(self, region: str, mode: Any = "write", histogram: bool = False) -> dict[str, Any]:
        """Touches every page once. With a histogram: quantiles of the latency of one page, and the buckets in use."""
        return _touched(lambda latencies: self._region(region).touch(mode, latencies), histogram)

    def renew(self, region: str, block_bytes: int, histogram: bool = False) -> dict[str, Any]:
        """Frees and touches every page again, a block at a time; answers as `touch`, of the touches alone."""
        return _touched(lambda latencies: self._region(region).renew(block_bytes, latencies), histogram)

    def verify(self, region: str, extent: Any = "word") -> dict[str, Any]:
        """Checks the pattern in the first word of each page, or in every byte."""
        verified = self._region(region).verify(extent)
        return {
            "ns": verified.ns,
            "bytes": verified.bytes,
            "bad_pages": verified.bad_pages,
            "first_bad": _first_bad(verified),
        }

    def release(self, region: str, how: Any = "munmap", every: int = 2, block_bytes: int = 2 << 20) -> dict[str, Any]:
        """Gives memory back; `bytes` really came free, `offered_bytes` were resident in what was released."""
        mapped = self._region(region)
        released = mapped.release_mixed() if how == "mixed" else mapped.release(how, every, block_bytes)
        if how == "munmap":
            del self._regions[region]
        return {"ns": released.ns, "bytes": released.bytes, "offered_bytes": released.offered_bytes}

    def snapshot(self) -> dict[str, Any]:
        """Free memory as the guest sees it, and the CPU time that it has used.

        below_order_bytes: free, but in blocks too small to be reported. cpu_busy_ns: of all its CPUs since the boot,
        kworker_ns: of the kernel's worker threads, of which the reporting worker is one.
        """
        memory = guestos.meminfo(self._root)
        buddy = guestos.buddy_free_bytes(self._root)
        order = guestos.page_reporting_order(self._root) if guestos.is_reporting(self._root) else None
        return {
            "free_bytes": memory.get("MemFree"),
            "available_bytes": memory.get("MemAvailable"),
            "cached_bytes": memory.get("Cached"),
            # The page cache of block devices, which "Cached" leaves out.
            "buffers_bytes": memory.get("Buffers"),
            "buddy_free_bytes": buddy,
            "below_order_bytes": None if order is None else sum(buddy[:order]),
            "zones": usage.zones(self._root),
            "percpu_bytes": usage.percpu_bytes(self._root),
            "cpu_busy_ns": usage.cpu_busy_ns(self._root),
            "kworker_ns": usage.threads_ns("kworker", self._root),
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

    def policy_start(self, kind: str, **params: Any) -> dict[str, Any]:
        """Begins a loop that makes the guest shrink; one at a time. Raises guestos.Unsupported."""
        from workloads import policy

        if self._loop is not None:
            raise ValueError("a policy runs already: stop it first")
        self._loop = policy.start(kind, params, self._root)
        return {"kind": kind}

    def policy_stop(self) -> dict[str, Any]:
        """Ends the loop: actions (t_ns, ns, bytes, perhaps error), their count and bytes, cpu_ns of its thread."""
        if self._loop is None:
            raise ValueError("no policy runs: start one first")
        loop, self._loop = self._loop, None
        return loop.stop()

    def churn(self, bytes: int, gap_s: float, seconds: float, check: bool = True) -> dict[str, Any]:  # noqa: A002
        """Fills memory with the pattern, verifies all of it, frees it, waits `gap_s`; again until `seconds` passed.

        check: False only touches each page, as fast as that goes. -> cycles, bytes (of all cycles), ns, bad_pages and
        first_bad (of the first cycle that had any), 0 and None where nothing was verified.
        """
        from workloads.memtouch import map_region

        start, cycles, bad, first = time.monotonic_ns(), 0, 0, None
        while not cycles or time.monotonic_ns() - start < seconds * 1e9:
            with map_region(bytes) as region:
                region.touch("fill" if check else "write")
                verified = region.verify("full") if check else None
                size = region.bytes
            cycles += 1
            if verified:
                bad += verified.bad_pages
                first = first or _first_bad(verified)
            time.sleep(gap_s)
        return {
            "cycles": cycles,
            "bytes": cycles * size,
            "ns": time.monotonic_ns() - start,
            "bad_pages": bad,
            "first_bad": first,
        }

    def compact(self) -> dict[str, Any]:
        """Compacts all zones now. Raises guestos.Unsupported."""
        start = time.monotonic_ns()
        guestos.compact(self._root)
        return {"ns": time.monotonic_ns() - start}

    def locate(self, region: str, offset: int) -> dict[str, Any]:
        """Where the page at `offset` lies in the guest's physical memory, as a byte address."""
        return {"guest_physical": guestos.physical_address(self._region(region).address + offset)}

    def corrupt(self, region: str, offset: int) -> dict[str, Any]:
        """Flips every bit of the 8-byte word at `offset`, as a lost page would: proof that verify notices."""
        mapped = self._region(region)
        word = mapped.buffer()[offset : offset + 8]
        word[:] = bytes(byte ^ 0xFF for byte in word)
        return {"address": mapped.address + offset}

    def dmesg(self) -> dict[str, Any]:
        """The kernel's messages as one text."""
        return {"text": guestos.kernel_log(f"{self._root}/dev/kmsg")}

    def program_data(self, path: str, bytes: int) -> dict[str, Any]:  # noqa: A002
        """A file of text-like data."""
        from workloads.programs import write_data

        return write_data(path, bytes)

    def program_ask(self, path: str, requests: list[str], deadline_s: float) -> dict[str, Any]:
        """Lines to a server behind a unix socket, and its answers."""
        from workloads.programs import ask_socket

        return ask_socket(path, requests, deadline_s)

    def program_remove(self, paths: list[str]) -> dict[str, Any]:
        """Removes files."""
        from workloads.programs import remove

        return remove(paths)

    def _of(self, kind: str, what: str) -> Operation:
        """An operation of an object that is made, and its module imported, at its first use."""

        def operation(**args: Any) -> dict[str, Any]:
            if kind not in self._late:
                self._late[kind] = LATE[kind](self._root)
            done: dict[str, Any] = getattr(self._late[kind], what)(**args)
            return done

        return operation

    def _region(self, name: str) -> Region:
        if name not in self._regions:
            raise ValueError(f"region {name!r} is not mapped; mapped: {', '.join(self._regions) or 'none'}")
        return self._regions[name]


def _touched(touch: Callable[[Histogram | None], Touched], histogram: bool) -> dict[str, Any]:
    from workloads.memtouch import Histogram

    latencies = Histogram() if histogram else None
    touched = touch(latencies)
    result: dict[str, Any] = {key: getattr(touched, key) for key in ("ns", "bytes", "pages", "page_bytes")}
    if latencies is not None:
        for name, quantile in (("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)):
            result[name] = latencies.quantile(quantile)
        result["max_ns"] = latencies.max_ns
        result["histogram"] = latencies.buckets()
    return result


def _first_bad(verified: Verified) -> dict[str, int] | None:
    bad = verified.first_bad
    if bad is None:
        return None
    return {"address": bad.address, "offset": bad.offset, "expected": bad.expected, "found": bad.found}
