"""Whether the host is quiet enough to measure on, and the wait until it is.

busy_share: /proc/stat, the growth of all times but idle and iowait over that of all (user times hold guest times).
load_per_cpu: /proc/loadavg, the first number. pressure_share: "some avg10" of /proc/pressure/*, which is in per cent.
swap_pages_s: pswpin and pswpout of /proc/vmstat. temperature_c: thermal zones and hwmon sensors, in thousandths.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Optional

from bench.host.cpulist import online_cpus
from bench.wire.job import Quiet
from bench.wire.record import Quieted

LOOK_S = 1.0
# Sensors that are not connected read 0, a large negative number, or the end of their scale (127.5, 255).
LEAST_C, MOST_C = 1.0, 125.0
_RATES = frozenset(["busy_share", "swap_pages_s"])
_IDLE, _IOWAIT, _TIMES = 3, 4, 8


async def wait_quiet(limits: Quiet, gone: asyncio.Event, root: Path = Path("/"), look_s: float = LOOK_S) -> Quieted:
    """Looks at the host every look_s until it is below all limits, limits.deadline_s passed, or `gone` is set.

    Only what has a limit is read; without any this returns at once. What has a limit and cannot be read on this host is
    absent in `readings` and never in `over`: a host without that counter is not held for busy. Raises nothing.
    """
    wanted = limits_of(limits)
    if not wanted:
        return Quieted(0.0, {})
    start = time.monotonic()
    gauge = Gauge(wanted, root)
    if _RATES & wanted.keys():
        await _pause(gone, look_s)
    while True:
        readings = gauge.read()
        over = [f"{name} {value:g} over {wanted[name]:g}" for name, value in readings.items() if value > wanted[name]]
        waited = time.monotonic() - start
        if not over or gone.is_set() or waited >= limits.deadline_s:
            return Quieted(round(waited, 3), readings, over)
        await _pause(gone, look_s)


def limits_of(limits: Quiet) -> dict[str, float]:
    """The limits that are set, by name."""
    named = {field.name: getattr(limits, field.name) for field in dataclasses.fields(limits)}
    return {name: value for name, value in named.items() if name != "deadline_s" and value is not None}


class Gauge:
    """Readings by the names of the limits. Rates are taken since the last reading, or since the gauge was made."""

    def __init__(self, names: Iterable[str], root: Path = Path("/")) -> None:
        self._names = tuple(names)
        self._root = root
        self._times = self._cpu_times()
        self._swapped = self._swap()

    def read(self) -> dict[str, float]:
        """What can be read now, rounded to a thousandth; the rest is absent."""
        found: dict[str, float] = {}
        for name in self._names:
            value = getattr(self, f"_{name}")()
            if value is not None:
                found[name] = round(value, 3)
        return found

    def _busy_share(self) -> Optional[float]:
        before, self._times = self._times, self._cpu_times()
        if before is None or self._times is None:
            return None
        grown = [now - then for now, then in zip(self._times, before)]
        idle = grown[_IDLE] + grown[_IOWAIT]
        # iowait may count backwards (proc(5)), and counters of two CPUs are not read at one moment.
        return min(1.0, max(0.0, 1 - idle / sum(grown))) if sum(grown) > 0 else None

    def _load_per_cpu(self) -> Optional[float]:
        with suppress(OSError, ValueError, IndexError, ZeroDivisionError):
            return float((self._root / "proc/loadavg").read_text().split()[0]) / len(online_cpus(self._root))
        return None

    def _pressure_share(self) -> Optional[float]:
        shares = [_some_avg10(self._root / "proc/pressure" / name) for name in ("cpu", "memory", "io")]
        return max((share for share in shares if share is not None), default=None)

    def _swap_pages_s(self) -> Optional[float]:
        before, self._swapped = self._swapped, self._swap()
        if before is None or self._swapped is None or self._swapped[0] <= before[0]:
            return None
        return (self._swapped[1] - before[1]) / (self._swapped[0] - before[0])

    def _temperature_c(self) -> Optional[float]:
        plausible = (value for value in _sensors(self._root) if LEAST_C <= value <= MOST_C)
        return max(plausible, default=None)

    def _cpu_times(self) -> Optional[list[int]]:
        if "busy_share" in self._names:
            with suppress(OSError, ValueError):
                words = (self._root / "proc/stat").read_text().partition("\n")[0].split()
                if words[:1] == ["cpu"] and len(words) > _IOWAIT + 1:
                    return [int(word) for word in words[1 : _TIMES + 1]]
        return None

    def _swap(self) -> Optional[tuple[float, int]]:
        """(monotonic seconds, pages swapped in and out)."""
        if "swap_pages_s" in self._names:
            with suppress(OSError, ValueError, KeyError):
                words = (self._root / "proc/vmstat").read_text().split()
                counters = dict(zip(words[::2], words[1::2]))
                return time.monotonic(), int(counters["pswpin"]) + int(counters["pswpout"])
        return None


def _some_avg10(path: Path) -> Optional[float]:
    # EOPNOTSUPP where PSI is compiled in but off
    with suppress(OSError, ValueError, IndexError):
        some = path.read_text().partition("\n")[0].split()
        if some[0] == "some" and some[1].startswith("avg10="):
            return float(some[1][len("avg10=") :]) / 100
    return None


def _sensors(root: Path) -> Iterator[float]:
    zones, chips = root / "sys/class/thermal", root / "sys/class/hwmon"
    for path in (*zones.glob("thermal_zone*/temp"), *chips.glob("hwmon*/temp*_input")):
        # A sensor that sleeps or was pulled answers with an error.
        with suppress(OSError, ValueError):
            yield int(path.read_text()) / 1000


async def _pause(gone: asyncio.Event, seconds: float) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(gone.wait(), seconds)
