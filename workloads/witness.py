"""Who notices in a guest that its memory is not what it was: a writer of known pages, and what the kernel complains of.

The writer goes over its pages again and again: each has to hold what the pass before wrote, and gets a new value. So a
page that was put back to an older state is seen, which a pattern that nobody changes would not show.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time

from workloads import guestos

TYPE_CHECKING = False  # importing typing is slow in an emulated guest
if TYPE_CHECKING:
    from typing import Any

_WORD_BYTES = 8
_JOIN_S = 30.0
# What a kernel prints that found its own structures damaged: lib/bug.c, arch/x86/kernel/dumpstack.c, lib/list_debug.c,
# lib/refcount.c, mm/page_alloc.c (bad_page), kernel/watchdog.c.
_COMPLAINTS = (
    "BUG:",
    "kernel BUG",
    "Oops",
    "general protection fault",
    "list_add corruption",
    "list_del corruption",
    "WARNING:",
    "Bad page state",
    "refcount_t:",
    "soft lockup",
    "unable to handle",
)
_MOST_COMPLAINTS = 12


class Witness:
    """The operations of one guest. root: where dev and proc are mounted."""

    def __init__(self, root: str = "/") -> None:
        self._root = root.rstrip("/")
        self._writer: Writer | None = None

    def writer_start(self, bytes: int, period_s: float) -> dict[str, Any]:  # noqa: A002 - the name in the protocol
        """Begins to write so many bytes of memory, each page once in `period_s`; one writer at a time."""
        if self._writer is not None:
            raise ValueError("a writer runs already: stop it first")
        self._writer = Writer(bytes, period_s)
        return {"pages": self._writer.pages}

    def writer_stop(self) -> dict[str, Any]:
        """Ends it: as Writer.stop."""
        if self._writer is None:
            raise ValueError("no writer runs: start one first")
        writer, self._writer = self._writer, None
        return writer.stop()

    def hinting(self) -> dict[str, Any]:
        """Nothing, in a guest that agreed on free page hinting. Raises guestos.Unsupported in any other."""
        if not guestos.is_hinting(self._root):
            raise guestos.Unsupported("this guest's kernel did not agree on free page hinting with its balloon device")
        return {}

    def health(self) -> dict[str, Any]:
        """What the kernel says of itself, all since its boot.

        tainted: /proc/sys/kernel/tainted, whose bits tell of bad pages, oopses, warnings and lockups
        (Documentation/admin-guide/tainted-kernels.rst). complaints: their first lines in its log. oom_kills, stalls
        (allocations that had to reclaim memory themselves): None where the kernel does not count them.
        """
        tainted = guestos.read_text(f"{self._root}/proc/sys/kernel/tainted")
        text = guestos.read_text(f"{self._root}/proc/vmstat") or ""
        counters = {name: int(value) for name, value in (line.split() for line in text.splitlines())}
        stalls = [count for name, count in counters.items() if name.startswith("allocstall")]
        log = guestos.kernel_log(f"{self._root}/dev/kmsg").splitlines()
        return {
            "tainted": None if tainted is None else int(tainted),
            "complaints": [line for line in log if any(mark in line for mark in _COMPLAINTS)][:_MOST_COMPLAINTS],
            "oom_kills": counters.get("oom_kill"),
            "stalls": sum(stalls) if stalls else None,
        }


class Writer:
    """A thread that writes the first word of each of its pages over and over, and checks what it finds there."""

    def __init__(self, size_bytes: int, period_s: float) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        self.pages = max(1, size_bytes // page)
        self._memory = mmap.mmap(-1, self.pages * page, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._words = memoryview(self._memory).cast("Q")[:: page // _WORD_BYTES]
        self._page_bytes = page
        self._period_s = period_s
        self._passes = self._bad = self._longest_ns = 0
        self._first: dict[str, int] | None = None
        self._error = ""
        self._stop = threading.Event()
        self._words[:] = self._all(0)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Ends the thread: passes, bytes (written in all), bad_pages, first_bad (as `verify` answers, offset in the
        writer's memory), longest_ns (longest time from one pass to the next, by the guest's clock). Raises OSError.
        """
        self._stop.set()
        self._thread.join(_JOIN_S)
        if self._error or self._thread.is_alive():
            raise OSError(f"the writer failed: {self._error or f'it did not end within {_JOIN_S:.0f} s'}")
        self._check(self._passes)
        found = {
            "passes": self._passes,
            "bytes": self._passes * self.pages * self._page_bytes,
            "bad_pages": self._bad,
            "first_bad": self._first,
            "longest_ns": self._longest_ns,
        }
        self._words.release()
        self._memory.close()
        return found

    def _run(self) -> None:
        try:
            last = time.monotonic_ns()
            while not self._stop.is_set():
                self._check(self._passes)
                self._words[:] = self._all(self._passes + 1)
                self._passes += 1
                now = time.monotonic_ns()
                self._longest_ns = max(self._longest_ns, now - last)
                last = now
                self._stop.wait(self._period_s)
        except BaseException as error:  # noqa: BLE001 - told by `stop`, where it is no silence
            self._error = f"{type(error).__name__}: {error}"

    def _all(self, value: int) -> memoryview:
        """As many words of this value as there are pages. In C: a loop over pages is slow in an emulated guest."""
        return memoryview(struct.pack("Q", value) * self.pages).cast("Q")

    def _check(self, expected: int) -> None:
        if self._words == self._all(expected):
            return
        wrong = [(page, found) for page, found in enumerate(self._words.tolist()) if found != expected]
        self._bad += len(wrong)
        if self._first is None:
            page, found = wrong[0]
            offset = page * self._page_bytes
            self._first = {"address": offset, "offset": offset, "expected": expected, "found": found}
