"""Writes a realistic synthetic run folder: what `bench run quick` leaves, without a guest.

The residency follows what was seen under emulation: about 130 MiB after the drain, a touch that adds 240 MiB in 1.5 s,
and, with reporting, a staircase down in steps of 2 s after the free. Deterministic for a given seed.
`LAB` is a run of three hosts, one of them lost. Runs with something for every section of a page: synthetic_pages.py.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.analyse import analyse
from bench.wire.metrics import metrics_of

MIB = 2**20
NAMES = [metric.name for metric in metrics_of("cycle")]
GUEST_BYTES = 512 * MIB
TOUCHED_BYTES = 240 * MIB
WINDOW_S = 8.0
HZ = 20.0
DISCARD_BYTES = 4 * MIB
# Share of what was freed that has come back after each 2 s of the staircase.
STAIRCASE = (0.42, 0.71, 0.88, 0.955)

Boot = dict[str, Any]
Edit = Callable[[Boot], Boot]


@dataclass(frozen=True)
class Shape:
    """What the run looks like. edit: changes each finished boot line (to fail it, to make it hostile).

    hosts: a run of a lab, with hosts/*.json and events.jsonl; those of `lost` are gone after their first block.
    about: what run.json has besides, or instead. swaps: the host runs short of memory while the guests hold theirs.
    """

    arms: tuple[str, ...] = ("none", "reporting")
    blocks: int = 3
    iterations: int = 2
    warmups: int = 0
    accel: str = "tcg"
    seed: int = 7
    host: str = "local"
    hosts: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    cell: str = "cycle"
    about: Mapping[str, Any] = field(default_factory=dict)
    swaps: bool = False
    edit: Edit = lambda boot: boot


def write_run(root: Path, shape: Shape | None = None) -> Path:
    """Writes the run folder `root` (run.json, boots.jsonl, series/, log/, analysis.json) and answers it."""
    shape = shape or Shape()
    (root / "series").mkdir(parents=True)
    (root / "log").mkdir()
    random = np.random.default_rng(shape.seed)
    boots, schedule = [], []
    for host in shape.hosts or (shape.host,):
        on_host = replace(shape, host=host)
        for block in range(1, shape.blocks + 1):
            for order, arm in enumerate(random.permutation(np.array(shape.arms, dtype=object))):
                schedule.append(f"{host}.{shape.cell}.b{block:03d}.{arm}")
                if block == 1 or host not in shape.lost:
                    boots.append(_write_boot(root, on_host, str(arm), block, order, random))
    run = _run(shape, schedule)
    _write_json(root / "run.json", run)
    (root / "boots.jsonl").write_text("".join(json.dumps(boot) + "\n" for boot in boots))
    if shape.hosts:
        write_lab(root, shape, schedule, {boot["boot"] for boot in boots})
    _write_json(root / "analysis.json", analyse(run, boots))
    return root


LAB = Shape(hosts=("lab-1", "lab-2", "lab-3"), lost=("lab-3",))


def write_lab(root: Path, shape: Shape, schedule: Sequence[str], done: Collection[str]) -> None:
    """hosts/*.json, and events.jsonl of hosts that were tuned and given back; a lost one never was."""
    (root / "hosts").mkdir()
    for host in shape.hosts:
        _write_json(root / "hosts" / f"{host}.json", lab_host(host, shape.accel))
        write_event(root, host, "held", taken_over={}, recovered=[], settings=[setting("set"), *REFUSED])
        if host in shape.lost:
            left = [boot for boot in schedule if boot.startswith(f"{host}.") and boot not in done]
            reason = "the connection was lost, and the host could not be reached again"
            write_event(root, host, "reconnecting", tries=1, reason="no answer in 15 s")
            write_event(root, host, "lost", reason=reason, evidence=["ssh: No route to host"], unfinished=left)
        else:
            write_event(root, host, "released", settings=[setting("restored"), *REFUSED])


def write_event(root: Path, host: str, event: str, **facts: Any) -> None:
    """One more line of events.jsonl."""
    line = {"time": "2026-02-03T10:15:00.000+00:00", "host": host, "event": event, **facts}
    with (root / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def setting(state: str, **more: str) -> dict[str, str]:
    """The governor of a CPU, changed or given back."""
    now = "powersave" if state == "restored" else "performance"
    file = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    base = {"name": "governor", "file": file, "before": "powersave", "wanted": "performance", "now": now}
    return {**base, "state": state, "problem": "", **more}


REFUSED = (
    setting(
        "refused",
        name="thp",
        file="/sys/kernel/mm/transparent_hugepage/enabled",
        before="always",
        wanted="madvise",
        now="always",
        problem="Permission denied",
    ),
)


def lab_host(host: str, accel: str) -> dict[str, Any]:
    """What hosts/<host>.json holds."""
    return {
        "name": host,
        "address": f"{host}.secret.example",
        "accel": accel,
        "kvm": {"usable": accel == "kvm", "reason": "" if accel == "kvm" else "/dev/kvm is not there"},
        "paths": {"qemu": "/usr/bin/qemu-system-x86_64", "kernel": "", "modules": "", "image": ""},
        "qemu_version": "7.2.22",
        "guest_kernel": "6.1.0-56-cloud-amd64",
        "available_bytes": 7 * 2**30,
        "host_facts": _host_facts(host),
        "when": "2026-02-03T10:14:50+00:00",
    }


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a JSON file in place."""
    data = json.loads(path.read_text())
    change(data)
    _write_json(path, data)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def _run(shape: Shape, schedule: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": 1,
        **({"hosts": list(shape.hosts)} if shape.hosts else {}),
        "plan": "quick",
        "question": "Does freed guest memory come back to the host?",
        "variant": "",
        "seed": shape.seed,
        "accel": shape.accel,
        "reference": shape.arms[0],
        "arms": list(shape.arms),
        "blocks": shape.blocks,
        "min_blocks": 3,
        "started": "2026-02-03T10:15:00+00:00",
        "versions": {"bench": "0.1.0", "python": "3.11.2", "numpy": "2.4.6", "scipy": "1.17.1"},
        "command": ["bench", "run", "quick", "--seed", str(shape.seed)],
        "metrics": {"residual_bytes": {"margin": 0.05}, "returned_share": {"margin": 0.05}},
        "schedule": list(schedule),
        **shape.about,
    }


def _write_boot(root: Path, shape: Shape, arm: str, block: int, order: int, random: np.random.Generator) -> Boot:
    name = f"{shape.host}.{shape.cell}.b{block:03d}.{arm}"
    reports = arm.startswith("reporting")
    trace = _Trace(reports, random, swaps=shape.swaps)
    phases = trace.run(shape.iterations, shape.warmups)
    series = f"series/{name}.csv.gz"
    _write_series(root / series, trace)
    log = f"log/{name}.qemu.txt"
    (root / log).write_text("synthetic boot\n")
    values = [_values(trace, reports, number, random) for number in range(shape.iterations + shape.warmups)]
    for later in values[1:]:
        later.update({key: None for key in later if key.startswith("first_touch") or key == "ready_s"})
    ticks = int(trace.end_s * HZ)
    return shape.edit(
        {
            "boot": name,
            "job": f"{zlib.crc32(name.encode()):016x}",
            "host": shape.host,
            "cell": shape.cell,
            "arm": arm,
            "block": block,
            "order": order,
            "attempt": 1,
            "status": "ok",
            "reason": "",
            "evidence": [],
            "accel": shape.accel,
            "guest_memory_bytes": GUEST_BYTES,
            "window_s": WINDOW_S,
            "must_discard": reports,
            "started": f"2026-02-03T10:{15 + block:02d}:{order * 29:02d}+00:00",
            **(_conditions() if shape.hosts else {}),
            "argv": _argv(name, arm, shape.accel),
            "host_facts": _host_facts(shape.host),
            "guest": _guest_facts(arm),
            "ready_s": values[0]["ready_s"],
            "phases": phases,
            "sampler": {"hz": HZ, "ticks": ticks, "missed": 1, "cpu_s": 0.31, "wall_s": trace.end_s, "error": ""},
            "clock": {"offset_s": 0.412, "error_s": 0.00021},
            "qmp": {"query-status": {"status": "running"}},
            "values": _columns(values[shape.warmups :], values[0] if shape.warmups else None),
            "warmups": _columns(values[: shape.warmups], None),
            "series": series,
            "logs": [log],
            "warnings": [],
        }
    )


def _columns(values: Sequence[dict[str, float | None]], first: dict[str, float | None] | None) -> dict[str, Any]:
    """One list a metric. What is measured once a boot stands first, even when iteration 0 was a warm-up."""
    columns: dict[str, Any] = {name: [row[name] for row in values] for name in NAMES}
    if first and values:
        for name in NAMES:
            if name.startswith("first_touch") or name == "ready_s":
                columns[name][0] = first[name]
    return columns


def histogram(median_ns: float) -> list[list[int]]:
    """What memtouch counts, [ns, pages]: a bell on a logarithmic axis, and a tail of a few interrupts."""
    bell = [[round(median_ns * 1.1**step), round(40_000 * 0.75 ** abs(step))] for step in range(-20, 30)]
    tail = [[round(median_ns * 40 * 1.3**step), 30 - 4 * step] for step in range(7)]
    return [pair for pair in bell + tail if pair[1] > 0]


class _Trace:
    """The residency of one boot, sampled, with its phases."""

    def __init__(self, reports: bool, random: np.random.Generator, *, swaps: bool = False) -> None:
        self.reports = reports
        self.swaps = swaps
        self.random = random
        self.base = (128 + random.normal(0, 1.5)) * MIB
        self.rows: list[tuple[float, str, str, float]] = []
        self.phases: list[dict[str, Any]] = []
        self.now = 2.5 + random.normal(0, 0.05)
        self.level = self.base
        self.levels: list[tuple[float, float]] = [(0.0, 0.0), (self.now, self.base)]
        self.end_s = 0.0

    def run(self, iterations: int, warmups: int) -> list[dict[str, Any]]:
        for number in range(iterations + warmups):
            self._iteration(number, number < warmups)
        self.end_s = self.now + 0.5
        self._sample()
        return self.phases

    def _iteration(self, number: int, warmup: bool) -> None:
        def phase(name: str, kind: str, seconds: float, level: float | None = None, **result: Any) -> float:
            start = self.now
            self.now += seconds
            if level is not None:
                self.levels += [(start, self.level), (self.now, level)]
                self.level = level
            self.phases.append(
                {"name": name, "kind": kind, "iteration": number, "warmup": warmup, "start_s": round(start, 4),
                 "end_s": round(self.now, 4), "result": result, "guest_start_ns": None, "guest_end_ns": None,
                 "smaps": {}}
            )  # fmt: skip
            return start

        full = self.base + TOUCHED_BYTES
        wobble = float(self.random.normal(1, 0.03))
        # What the iteration before freed has to come back first.
        phase("drain", "settle", 10.5 if self.reports and number else 2.5, settled=True)
        phase("map", "guest", 0.01)
        phase("touch", "guest", 1.5 * wobble, full, bytes=TOUCHED_BYTES, histogram=histogram(19_000))
        phase("hold", "hold", 1.0)
        phase("verify", "guest", 0.35, bad_pages=0)
        free = phase("free", "guest", 0.06, bytes=TOUCHED_BYTES)
        settle = phase("settle", "settle", 13.0 + 0.4 * wobble if self.reports else 10.0, settled=True)
        if self.reports:
            self._staircase(free, settle)
        phase("snapshot", "guest", 0.02)
        phase("remap", "guest", 0.01)
        again = histogram(20_000 if self.reports else 2_400)
        phase("retouch", "guest", (1.6 if self.reports else 0.4) * wobble, full, bytes=TOUCHED_BYTES, histogram=again)
        phase("reverify", "guest", 0.3, bad_pages=0)
        refree = phase("refree", "guest", 0.06, bytes=TOUCHED_BYTES)
        if self.reports:
            self._staircase(refree, self.now)

    def _staircase(self, free: float, settle: float) -> None:
        full = self.base + TOUCHED_BYTES
        if self.levels[-1][0] > free:
            self.levels.pop()
        for step, share in enumerate(STAIRCASE):
            start = max(free + 1.95 * (step + 1) + self.random.normal(0, 0.06), settle)
            lower = full - TOUCHED_BYTES * (share + self.random.normal(0, 0.004))
            self.levels += [(start, self.level), (start + 0.35, lower)]
            self.level = lower

    def _sample(self) -> None:
        times, levels = zip(*sorted(self.levels), strict=True)
        for t in np.arange(0.05, self.end_s, 1 / HZ):
            value = float(np.interp(t, times, levels)) // 4096 * 4096
            self.rows.append((round(float(t), 3), "ram", "resident_bytes", value))
        for (start, high), (end, low) in itertools.pairwise(sorted(self.levels)):
            for piece in range(int(max(0.0, high - low) // DISCARD_BYTES)):
                self.rows.append((round(start + (end - start) * piece / 60, 6), "discard", "bytes", DISCARD_BYTES))
        for t in np.arange(1.0, self.end_s, 2.0):
            self.rows.append((round(float(t), 3), "psi", "memory_some_us", 1e6 + 900 * t**2))
            if self.swaps:
                self._swap(round(float(t), 3))

    def _swap(self, t: float) -> None:
        """More and more of what the guest holds goes to swap, and a third of it comes back."""
        out = int((4_000 if self.reports else 16_000) * min(1.0, max(0.0, (t - 6) / 20)))
        back = out // 3
        self.rows += [(t, "vmstat", "pswpout", 120_000 + out), (t, "vmstat", "pswpin", 9_000 + back)]
        self.rows += [
            (t, "ram", "swapped_bytes", 4096.0 * (out - back)),
            (t, "psi", "memory_full_us", 2e5 + 250 * t**2),
        ]

    def at(self, t: float) -> float:
        times, levels = zip(*sorted(self.levels), strict=True)
        return float(np.interp(t, times, levels))

    def phase(self, name: str, number: int) -> dict[str, Any]:
        return next(item for item in self.phases if item["name"] == name and item["iteration"] == number)


def _values(trace: _Trace, reports: bool, number: int, random: np.random.Generator) -> dict[str, float | None]:
    free, settle = trace.phase("free", number), trace.phase("settle", number)
    start, residual = trace.at(free["start_s"]), trace.at(settle["end_s"] - 0.5)
    returned = start - residual
    window = np.arange(free["start_s"], free["start_s"] + WINDOW_S, 0.05)
    area = float(np.mean([trace.at(t) for t in window])) * WINDOW_S
    gib = TOUCHED_BYTES / 2**30
    first = (trace.phase("touch", 0)["end_s"] - trace.phase("touch", 0)["start_s"]) / gib
    again = (trace.phase("retouch", number)["end_s"] - trace.phase("retouch", number)["start_s"]) / gib
    slow = 1.0 if reports else 0.12
    jitter = float(np.exp(random.normal(0, 0.03)))
    values: dict[str, float | None] = {
        "resident_peak_bytes": start,
        "residual_bytes": residual,
        "returned_bytes": returned,
        "returned_share": returned / TOUCHED_BYTES,
        "footprint_byte_s": area,
        "footprint_guest_share": area / WINDOW_S / GUEST_BYTES,
        "first_touch_s_per_gib": first,
        "refault_s_per_gib": again,
        "free_s_per_gib": 0.06 / gib * jitter,
        "discarded_bytes": returned + 0.4 * MIB if reports else 0.0,
        "discards": 171.0 + 3 * number if reports else 0.0,
        "discard_gap_bytes": 0.4 * MIB if reports else 0.0,
        "qemu_cpu_s": (1.9 if reports else 1.2) * jitter,
        "stuck_free_bytes": 6.5 * MIB * jitter,
        "ready_s": 2.51 * jitter,
    }
    for share in (50, 90, 99):
        values[f"t{share}_s"] = _time_back(trace, free["start_s"], returned, share / 100) if reports else None
    for name, p50, p99, p999 in (("first_touch", 19e-6, 74e-6, 310e-6), ("refault", 20e-6, 79e-6, 320e-6)):
        factor = jitter * (slow if name == "refault" else 1.0)
        values.update({f"{name}_p50_s": p50 * factor, f"{name}_p99_s": p99 * factor, f"{name}_p999_s": p999 * factor})
    return {name: values.get(name) for name in NAMES}


def _time_back(trace: _Trace, free: float, returned: float, share: float) -> float | None:
    target = trace.at(free) - share * returned
    times = np.arange(free, free + 13, 0.05)
    hits = [t for t in times if trace.at(float(t)) <= target + 1]
    return round(float(hits[0]) - free, 3) if hits else None


def _write_series(path: Path, trace: _Trace) -> None:
    rows = ["t_s,source,name,value"]
    rows += [f"{t},{source},{name},{value:.0f}" for t, source, name, value in trace.rows]
    path.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode(), mtime=0))


def _conditions() -> dict[str, Any]:
    seen = {"vcpu0": "2", "vcpu1": "3", "qemu": "2-3", "sampler": "0-1", "memory": "default"}
    return {
        "quiet": {"waited_s": 2.5, "readings": {"busy_share": 0.04, "load_per_cpu": 0.31}, "over": []},
        "placed": {"seen": seen, "problem": ""},
    }


def _argv(boot: str, arm: str, accel: str) -> list[str]:
    folder = f"/tmp/bench-{zlib.crc32(boot.encode()):08x}"
    reporting = "on" if arm.startswith("reporting") else "off"
    balloon = [] if arm == "none" else ["-device", f"virtio-balloon-pci,id=balloon,free-page-reporting={reporting}"]
    return [
        *("/usr/bin/qemu-system-x86_64", "-name", f"{boot},debug-threads=on"),
        *("-machine", "q35,memory-backend=ram", "-accel", "tcg,tb-size=256" if accel == "tcg" else accel),
        *("-cpu", "max", "-smp", "2", "-m", f"{GUEST_BYTES}B"),
        *("-object", f"memory-backend-memfd,id=ram,size={GUEST_BYTES},share=on"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-chardev", f"socket,id=qmp,path={folder}/qmp,server=on,wait=off", "-mon", "chardev=qmp,mode=control"),
        *("-device", "virtio-serial-pci,id=vserial", *balloon),
        *("-trace", "ram_block_discard_range", "-msg", "timestamp=on"),
        *("-kernel", "/boot/vmlinuz-6.1.0-56-cloud-amd64", "-initrd", "/var/cache/bench/initrd-3f1c.cpio"),
        *("-append", "console=ttyS0 quiet panic=-1 cryptomgr.notests rdinit=/init"),
    ]


def _host_facts(host: str) -> dict[str, Any]:
    return {
        "hostname": host,
        "kernel": "6.1.0-56-amd64",
        "cpu": "AMD EPYC 7B13",
        "cpus": 2,
        "memory_bytes": 8 * 2**30,
        "qemu": "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)",
        "boot_id": "5a1f4bb0-6f2e-4e0b-9d5d-2f7c0f4c1a77",
        "thp_enabled": "madvise",
        "governor": None,
        "swap_bytes": 0,
    }


def _guest_facts(arm: str) -> dict[str, Any]:
    reports = arm.startswith("reporting")
    return {
        "kernel": "6.1.0-56-cloud-amd64",
        "kernel_version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.147-1 (2026-01-02)",
        "machine": "x86_64",
        "page_bytes": 4096,
        "memory_bytes": 487_968_768,
        "cpus": 2,
        "balloon_features": "0110010000000000000000000000000011000000000000000000000000000000" if reports else None,
        "page_reporting_order": 9 if reports else None,
        "thp_enabled": "always",
        "modules": ["virtio_balloon"] if arm != "none" else [],
        "stages": {"init_s": 1.61, "modules_s": 0.22},
    }
