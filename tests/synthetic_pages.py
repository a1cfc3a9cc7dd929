"""Two synthetic runs with something for every section of a page: a whole one, and one whose names are hostile.

Both are runs of a lab of three hosts, one of them lost: four arms, among them one that is beaten and a control; a host
that swaps; a metric that drifts; boots that failed, found no memory, or never settled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synthetic_run import Boot, Shape, histogram, write_run

from bench.analysis.gate import Measured, Wishes, judge
from bench.wire.record import OUT_OF_MEMORY

HOSTS = ("lab-1", "lab-2", "lab-3")
ARMS = ("none", "reporting", "reporting-order-4", "locked")
# State of a page -> median of its latency, ns.
_LATENCY = {"fresh": 19_000.0, "kept": 2_400.0, "reported": 21_000.0, "swapped": 140_000.0}
_PLAN = "plan: quick\nblocks: 6\npareto:\n  - [residual_bytes, qemu_cpu_s]\n"
DMESG = "[   12.345678] Out of memory: Killed process 211 (memtouch) total-vm:402112kB, anon-rss:391022kB"

# A script that runs sets this in the page's window; nothing may.
HIT = "__hit"
_SCRIPT = f"<script>window.{HIT}=1</script>"
_IMAGE = f"\"'><img src=x onerror=window.{HIT}=1><svg onload=window.{HIT}=1>"
_END = f"</title></style></script></table></svg>--><script>window.{HIT}=1//"
_TEMPLATE = "{{ 7 * 7 }}{% raw %}${7*7}"
_SIGNS = "\x00\x07\x1b[31m\x7f\x85\u2028\u202eevil\u2066\u200f\ufeff\ud800"
_WORD = "W" * 10_000
_PROSE = "a long sentence & more; " * 417


def write_whole(root: Path) -> Path:
    """Writes the run folder `root` and answers it."""
    about = {
        "pareto": [["residual_bytes", "qemu_cpu_s"]],
        "metrics": {name: {"margin": 0.05} for name in ("residual_bytes", "returned_share", "refault_s_per_gib")},
    }
    shape = Shape(arms=ARMS, hosts=HOSTS, lost=HOSTS[2:], blocks=6, swaps=True, about=about, edit=_edit)
    write_run(root, shape)
    (root / "plan.yaml").write_text(_PLAN)
    _write_gate(root)
    return root


def _write_gate(root: Path) -> None:
    """gate.json and floors.json: with a rule in quarantine, one that is red, and one that the host cannot carry."""
    figures = {"kind": "ratio", "unit": "byte", "n": 12, "sd": 0.07, "sure": 0.09, "blocks": {}, "margin": 0.05,
               "blocks_for_margin": None, "least_margin": 0.08}  # fmt: skip
    floors = {
        host: {"when": "2026-02-01T10:00:00+00:00", "run": "aa", "cells": {"cycle": {"residual_bytes": figures}}}
        for host in HOSTS
    }
    held = {"metric": "returned_share", "reason": DMESG, "owner": "none", "until": "2026-03-01"}
    run = json.loads((root / "run.json").read_text())
    run["gate"] = {"rules": [{"metric": name} for name in run["metrics"]], "quarantine": [held]}
    boots = [json.loads(line) for line in (root / "boots.jsonl").read_text().splitlines()]
    gate = judge(Measured(root.name, run, boots), None, Wishes("2026-02-03", floors=floors))
    for name, value in (("gate.json", gate), ("floors.json", floors)):
        (root / name).write_text(json.dumps(value) + "\n")


def _edit(boot: Boot) -> Boot:
    place = boot["host"], boot["arm"], boot["block"]
    values = boot["values"]
    values["residual_bytes"] = [value * (1 + 0.01 * boot["block"]) for value in values["residual_bytes"]]
    if boot["arm"] == "reporting-order-4":
        for name in ("residual_bytes", "qemu_cpu_s"):
            values[name] = [value * 1.4 for value in values[name]]
    if boot["arm"] == "locked":
        boot |= {"expect": "nothing", "condition": ["QEMU has locked its memory: 512 MiB"]}
    if place == ("lab-2", "none", 2):
        next(phase for phase in boot["phases"] if phase["kind"] == "settle")["result"] = {"settled": False}
    spread = [
        {**boot["phases"][1], "name": state, "result": {"histogram": histogram(ns)}} for state, ns in _LATENCY.items()
    ]
    boot["phases"][2:2] = spread
    boot["files"] = {
        "qemu": "/usr/bin/qemu-system-x86_64",
        "qemu_sha256": "5e" * 32,
        "kernel": "/boot/vmlinuz-6.1.0-56",
    }
    if place == ("lab-1", "reporting", 3):
        boot |= {"status": "invalid", "reason": "nothing was discarded", "evidence": ["discarded 0 bytes", DMESG]}
    if place == ("lab-2", "none", 5):
        boot |= {"status": "failed", "reason": f"{OUT_OF_MEMORY} in phase touch", "evidence": [DMESG]}
    return boot


# -- the hostile one -----------------------------------------------------------------------------------------------

NAMES: Mapping[str, str] = {
    "lab-1": f"lab-1 {_SCRIPT}{_IMAGE}{_SIGNS}",
    "lab-2": f"lab-2{_WORD}",
    "lab-3": f"lab-3 {_PROSE}",
    "none": f"none {_IMAGE}",
    "reporting": f"reporting {_SCRIPT}{_TEMPLATE}",
    "reporting-order-4": f"reporting-order-4{_WORD}",
    "locked": "\u202emaet \u0634\u0639\u0627\u0639 \u05e9\u05dc\u05d5\u05dd locked $x^2$ #010101 url(#x)",
    "cycle": f"cycle {_END}",
    "quick": f"quick {_END}{_SIGNS}",
    DMESG: f"{DMESG}{_SCRIPT}{_SIGNS}{_PROSE}",
    "6.1.0-56-cloud-amd64": f"6.1.0-56{_IMAGE}{_WORD}",
    "AMD EPYC 7B13": f"AMD{_TEMPLATE}{_PROSE}",
    "Does freed guest memory come back to the host?": f"Does it come back?{_SCRIPT}{_SIGNS}{_PROSE}",
    "Permission denied": f"Permission denied{_SCRIPT}",
    "powersave": f"powersave{_IMAGE}",
}
# Under these keys stand paths, and words that are the program's own.
_KEPT = frozenset(("series", "logs", "metric", "unit", "kind", "verdict", "direction", "x", "y", "status", "event"))


def write_hostile(root: Path) -> Path:
    """The whole run with every name and text replaced by one that would break a page, in all files alike."""
    write_whole(root)
    change = _changer()
    for path in [
        *(root / name for name in ("run.json", "analysis.json", "gate.json", "floors.json")),
        *sorted((root / "hosts").glob("*.json")),
    ]:
        path.write_text(json.dumps(change(json.loads(path.read_text()))) + "\n")
    for path in (root / "boots.jsonl", root / "events.jsonl"):
        lines = [json.dumps(change(json.loads(line))) for line in path.read_text().splitlines()]
        path.write_text("\n".join(lines) + "\n")
    (root / "plan.yaml").write_text(_PLAN + f"question: {_END}{_SCRIPT}\n")
    for name in (f"javascript:window.{HIT}=1", f'"><img src=x onerror=window.{HIT}=1>.txt', f"{'n' * 200}.txt"):
        (root / "log" / name).write_text("a file with such a name\n")
    (root / f"javascript:window.{HIT}=1").write_text("a file that a link may not run\n")
    return root


def _changer() -> Callable[[Any], Any]:
    """Replaces the names in strings, wherever they stand as words of their own."""
    words = "|".join(re.escape(name) for name in sorted(NAMES, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])")

    def change(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            return value if key in _KEPT else pattern.sub(lambda hit: NAMES[hit[0]], value)
        if isinstance(value, dict):
            return {change(name): change(item, name) for name, item in value.items()}
        return [change(item, key) for item in value] if isinstance(value, list) else value

    return change
