"""Runs for the tests of the gate: arms none, reporting and reporting-again, with known effects. No guest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from analysis_boots import measured, run

from bench.analysis.gate import Measured, Wishes, judge
from bench.controller.store import RunFolder
from bench.wire.units import GIB

ARMS = ("none", "reporting", "reporting-again")
TODAY = "2026-02-03"
METRICS: dict[str, Any] = {
    "residual_bytes": {"margin": 0.05},
    "returned_share": {"margin": 0.05},
    "refault_s_per_gib": {"margin": 0.1},
}
RULES: list[dict[str, Any]] = [{"metric": "residual_bytes"}, {"metric": "refault_s_per_gib"}]
PLAN = """name: quick
reference: none
arms: [none, reporting, {name: reporting-again, same_as: reporting}]
workloads: [cycle]
metrics: {residual_bytes: {margin: 5%}, returned_share: {margin: 5%}, refault_s_per_gib: {margin: 10%}}
gate: {rules: [{metric: residual_bytes}, {metric: refault_s_per_gib}]}
"""


def gate_of(**more: Any) -> dict[str, Any]:
    return {"rules": RULES, "on_undecided": "pass", "confirm": None, "manifest": [], "effect": None,
            "quarantine": [], **more}  # fmt: skip


def facts(blocks: int = 6, gate: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    about: dict[str, Any] = {
        "same_as": {"reporting-again": "reporting"},
        "hosts": ["local"],
        "cells": ["cycle"],
        "metrics": METRICS,
    }
    about |= {"variant": "", "seed": 1, "started": "2026-02-03T10:00:00+00:00", "question": "Is it worse?"}
    about |= {"versions": {}, "command": ["bench", "run", "quick"], "schedule": []}
    return {**run(blocks, ARMS, gate=dict(gate or gate_of())), **about, **more}


def boots(
    blocks: int = 6,
    refault: float = 1.0,
    residual: float = 0.4,
    arms: Sequence[str] = ARMS,
    sd: float = 0.005,
    seed: int = 3,
    **more: Any,
) -> list[dict[str, Any]]:
    """refault, residual: of an arm that reports, against the one without."""
    rng = np.random.default_rng(seed)
    found = []
    for block in range(1, blocks + 1):
        for arm in arms:
            reports = "reporting" in arm
            noise = np.exp(rng.normal(0, sd, 3))
            values: dict[str, Sequence[float | None]] = {
                "residual_bytes": [float(GIB * (residual if reports else 1) * noise[0])],
                "returned_share": [float((0.9 if reports else 0.0) * noise[1])],
                "refault_s_per_gib": [float((refault if reports else 1) * noise[2])],
            }
            found.append({**measured(arm, block, values), "must_discard": reports, **more})
    return found


def judged(
    first: Sequence[dict[str, Any]],
    about: dict[str, Any] | None = None,
    again: Sequence[dict[str, Any]] | None = None,
    **wishes: Any,
) -> dict[str, Any]:
    about = about or facts()
    second = Measured("again", {**about, "seed": 2}, again) if again is not None else None
    return judge(Measured("first", about, first), second, Wishes(TODAY, **wishes))


def statuses(gate: dict[str, Any]) -> dict[str, str]:
    return {row["metric"]: row["status"] for row in gate["rows"]}


def write_folder(path: Path, lines: Sequence[dict[str, Any]], about: dict[str, Any], plan: str = PLAN) -> RunFolder:
    """A run folder as `bench gate` reads it."""
    folder = RunFolder.create(path, about, plan, "hosts:\n  - name: local\n    address: local\n")
    for line in lines:
        line["series"] = f"series/{line['boot']}.csv.gz"
        folder.append_boot(line, [], {})
    return folder


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "gate.json").read_text())
    return found
