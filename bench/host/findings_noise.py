"""What the doctor says about what would make this host's numbers noisy, each with the command that quiets it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from bench.host.cpus import ONLINE, read_cpus
from bench.host.knobs import IDLE_LATENCY_US, KNOBS, Knob, read_text
from bench.host.quiet import Gauge
from bench.host.readers import parse_colon_table
from bench.wire.finding import UNKNOWN, Finding

LOAD_PER_CPU = 0.25
PRESSURE_PERCENT = 1.0
WARM_C = 85.0
PRESSURES = ("cpu", "memory", "io")


def noise(root: Path) -> list[Finding]:
    """All findings of this kind."""
    shown = [_knob(knob, root) for knob in KNOBS if knob.shown]
    return [*shown, *(check(root) for check in CHECKS), *_pressures(root)]


def _knob(knob: Knob, root: Path) -> Finding:
    setting, values = knob.look(root)
    if setting is None:
        return Finding("info", knob.what, UNKNOWN)
    if set(values) <= set(setting.quiet):
        return Finding("ok", knob.what, ", ".join(values))
    command = _write_command(setting.set_to, setting.files)
    return Finding(knob.severity, knob.what, ", ".join(values), knob.advice, command)


def _load(root: Path) -> Finding:
    text = read_text(root / "proc/loadavg")
    cpus = len(read_cpus(root / ONLINE) or ())
    if text is None or not cpus:
        return Finding("info", "load", UNKNOWN)
    load = float(text.split()[0])
    value = f"{load:.2f} on {cpus} CPUs"
    if load > LOAD_PER_CPU * cpus:
        return Finding("warn", "load", value, "something else is running", "ps -eo pcpu,pid,args --sort=-pcpu | head")
    return Finding("ok", "load", value)


def _swap(root: Path) -> Finding:
    info = parse_colon_table(read_text(root / "proc/meminfo") or "")
    if "SwapTotal" not in info or "SwapFree" not in info:
        return Finding("info", "swap", UNKNOWN)
    total, used = info["SwapTotal"], info["SwapTotal"] - info["SwapFree"]
    if not total:
        return Finding("ok", "swap", "none (a plan that over-commits needs some)")
    value = f"{used / 2**20:.0f} of {total / 2**20:.0f} MiB in use"
    if used:
        command = f"{_sudo()}swapoff -a && {_sudo()}swapon -a"
        return Finding("warn", "swap", value, "pages swapped before the run come back during it", command)
    return Finding("ok", "swap", value)


def _swap_device(root: Path) -> Finding:
    text = read_text(root / "proc/swaps")
    if text is None:
        return Finding("info", "swap device", UNKNOWN)
    rows = [line.split() for line in text.splitlines()[1:]]
    devices = [f"{row[0]} ({row[1]})" for row in rows if len(row) > 1]
    value = ", ".join(devices) or "none"
    compressed = [row[0] for row in rows if row and "/zram" in row[0]]
    if compressed:
        advice = "zram is memory: what is swapped stays there, compressed, and is no figure of a device"
        return Finding("warn", "swap device", value, advice, f"{_sudo()}swapoff {' '.join(compressed)}")
    return Finding("ok", "swap device", value)


def _idle(root: Path) -> Finding:
    states = []
    for folder in root.glob("sys/devices/system/cpu/cpu0/cpuidle/state[0-9]*"):
        latency, disabled = read_text(folder / "latency"), read_text(folder / "disable")
        if latency is not None and latency.isdigit() and disabled != "1":
            states.append((int(latency), folder.name))
    if not states:
        return Finding("info", "C-states", UNKNOWN)
    latency_us, name = max(states)
    value = f"deepest enabled: {name}, {latency_us} µs to wake"
    if latency_us > IDLE_LATENCY_US:
        files = f"sys/devices/system/cpu/cpu[0-9]*/cpuidle/{name}/disable"
        return Finding("warn", "C-states", value, "wake-ups add to short waits", _write_command("1", files))
    return Finding("ok", "C-states", value)


def _throttled(root: Path) -> Finding:
    """Counted per core, and once more on each of a core's threads, so the largest count is told and not the sum."""
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [int(text) for path in files if (text := read_text(path)) and text.isdigit()]
    if not counts:
        return Finding("info", "throttling", UNKNOWN)
    if max(counts):
        advice = "the CPU was slowed down by its heat: see to its cooling, or run less at a time"
        return Finding("warn", "throttling", f"{max(counts)} times since the host was booted", advice)
    return Finding("ok", "throttling", "never since the host was booted")


def _temperature(root: Path) -> Finding:
    hottest = Gauge(["temperature_c"], root).read().get("temperature_c")
    if hottest is None:
        return Finding("info", "temperature", UNKNOWN)
    value = f"{hottest:.0f} °C at the hottest sensor"
    if hottest > WARM_C:
        return Finding("warn", "temperature", value, "so warm, a CPU lowers its clock: let it cool down")
    return Finding("ok", "temperature", value)


def _pressures(root: Path) -> list[Finding]:
    if not any((root / "proc/pressure" / resource).exists() for resource in PRESSURES):
        advice = "a kernel with pressure information (PSI) switched off: psi=1 on its command line"
        return [Finding("info", "pressure", UNKNOWN, advice)]
    return [_pressure(root, resource) for resource in PRESSURES]


def _pressure(root: Path, resource: str) -> Finding:
    what = f"pressure ({resource}, 10 s)"
    found = re.search(r"^some avg10=([\d.]+)", read_text(root / "proc/pressure" / resource) or "", re.MULTILINE)
    if not found:
        return Finding("info", what, UNKNOWN)
    share = float(found.group(1))
    if share > PRESSURE_PERCENT:
        return Finding("warn", what, f"{share:.1f} %", f"tasks are waiting for {resource}: let the host get quiet")
    return Finding("ok", what, f"{share:.1f} %")


CHECKS: tuple[Callable[[Path], Finding], ...] = (_load, _swap, _swap_device, _idle, _throttled, _temperature)


def _sudo() -> str:
    return "" if os.geteuid() == 0 else "sudo "


def _write_command(value: str, files: str) -> str:
    return f"echo {value} | {_sudo()}tee /{files}" if value else ""
