"""A page for every shipped plan, of boots with a value for each of its metrics: valid HTML, and sound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest
from page_reader import Reader, check_sound
from synthetic_run import Shape, edit_json, write_run

from bench.analysis.analyse import analyse
from bench.controller.plan import Plan, load_plan, resolve, shipped_plans
from bench.wire.metrics import metrics_of
from reports.page import render


def value_of(unit: str, random: np.random.Generator) -> float:
    """Any value of a metric with this unit; its size does not matter here."""
    scale = {"byte": 3e8, "share": 0.5, "second": 0.01}.get(unit, 40.0)
    return float(scale * random.uniform(0.8, 1.2))


def boots_of(plan: Plan, line: Mapping[str, Any], random: np.random.Generator) -> list[dict[str, Any]]:
    """The boot of a line in each cell of the plan that has its arm, with values of that cell's workload."""
    found = []
    for cell in plan.cells:
        if line["arm"] in [arm.name for arm in plan.arms_of(cell)]:
            values = {metric.name: [value_of(metric.unit, random)] for metric in metrics_of(cell.workload)}
            name = str(line["boot"]).replace(".cycle.", f".{cell.name}.")
            found.append({**line, "boot": name, "cell": cell.name, "workload": cell.workload, "values": values})
    return found


def write_plan(root: Path, name: str) -> Path:
    """A run of a shipped plan as it is under emulation, three blocks."""
    plan = resolve(load_plan(name), "tcg")
    about = {
        "plan": plan.name,
        "question": plan.question,
        "reference": plan.reference,
        "against": dict(plan.against),
        "cells": [cell.name for cell in plan.cells],
        "metrics": {metric: {"margin": rule.margin} for metric, rule in plan.metrics.items()},
        "pareto": [list(pair) for pair in plan.pareto],
    }
    arms = tuple(sorted((arm.name for arm in plan.arms), key=lambda arm: arm != plan.reference))
    run = write_run(root, Shape(arms=arms, iterations=1, about=about))
    random = np.random.default_rng(3)
    lines = [json.loads(line) for line in (run / "boots.jsonl").read_text().splitlines()]
    boots = [boot for line in lines for boot in boots_of(plan, line, random)]
    (run / "boots.jsonl").write_text("".join(json.dumps(boot) + "\n" for boot in boots))
    analysis = analyse(json.loads((run / "run.json").read_text()), boots)
    edit_json(run / "analysis.json", lambda value: value.update(analysis))
    return run


@pytest.mark.parametrize("name", shipped_plans())
def test_the_page_of_a_plan_is_valid_and_sound(tmp_path: Path, name: str) -> None:
    text = render(write_plan(tmp_path / name, name)).read_text(encoding="utf-8")
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(text)
    assert parser.errors[:5] == []
    check_sound(Reader(text))
    plan = resolve(load_plan(name), "tcg")
    for cell in plan.cells:
        assert cell.name in text
    assert all(metric in text for metric in plan.metrics)
