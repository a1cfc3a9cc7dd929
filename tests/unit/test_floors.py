"""The noise floor of a host: what is computed of an A/A run is what simulated hosts show; kept, found again."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_runs import boots, facts, judged, write_folder

from bench.analysis.entries import entries
from bench.analysis.floors import blocks_needed, floors, least_margin, power_of_equivalence, table
from bench.analysis.looks import ONE_LOOK, levels
from bench.analysis.resample import RUNS, false_alarms
from bench.commands.selftest import Trial, _twice, kept
from bench.controller.floorstore import copy_floors, fingerprints, keep, known, plan_key
from bench.controller.plan import Options, load_plan, resolve
from bench.errors import InputError

FACTS = {"cpu_model": "AMD EPYC 7B13", "cpus": 2, "MemTotal_bytes": 8 * 2**30, "kernel": "6.1.0"}
FILES = {"qemu_sha256": "11", "kernel_sha256": "22"}


def aa_boots(blocks: int = 12, sd: float = 0.02, seed: int = 5, **more: Any) -> list[dict[str, Any]]:
    return boots(blocks, sd=sd, seed=seed, host_facts=FACTS, files=FILES, **more)


@pytest.mark.parametrize(("sd", "blocks"), [(0.02, 5), (0.04, 14), (0.06, 29)])
def test_blocks_for_equivalence_are_those_of_the_simulated_table(sd: float, blocks: int) -> None:
    """docs/method.md has the table, by boot sd; pairs differ by √2 times as much."""
    needed = blocks_needed(sd * math.sqrt(2), 0.0, math.log1p(0.05), ONE_LOOK)
    assert needed is not None
    assert abs(needed - blocks) <= 1


@pytest.mark.parametrize("looks", [(6,), (6, 10, 15, 20, 30)])
def test_the_power_is_what_simulated_runs_show(looks: tuple[int, ...]) -> None:
    at, sd, n, margin = levels(looks), 0.05, looks[-1], 0.04
    rng = np.random.default_rng(3)
    d = rng.normal(0, sd, (20000, n))
    from scipy import special

    half = special.stdtrit(n - 1, 1 - at.equivalent) * d.std(axis=1, ddof=1) / math.sqrt(n)
    seen = float(np.mean(np.abs(d.mean(axis=1)) + half < margin))
    print(f"{looks}: power {power_of_equivalence(sd, 0.0, margin, n, at):.3f}, simulated {seen:.3f}")
    assert power_of_equivalence(sd, 0.0, margin, n, at) == pytest.approx(seen, abs=0.01)


def test_the_least_margin_is_carried_and_nothing_smaller_is() -> None:
    least = least_margin(0.03, 0.0, 10, ONE_LOOK)
    assert least is not None
    assert power_of_equivalence(0.03, 0.0, least, 10, ONE_LOOK) == pytest.approx(0.8, abs=0.01)
    assert power_of_equivalence(0.03, 0.0, 0.9 * least, 10, ONE_LOOK) < 0.79
    assert blocks_needed(10.0, 0.0, 0.01, ONE_LOOK) is None, "no number of blocks helps"
    assert least_margin(0.0, 0.0, 10, ONE_LOOK) == pytest.approx(0.0, abs=1e-9)


def test_resolution_is_a_floor_that_blocks_do_not_lower() -> None:
    assert blocks_needed(0.0, 0.05, 0.04, ONE_LOOK) is None
    assert blocks_needed(0.0, 0.01, 0.04, ONE_LOOK) is not None


def test_a_run_says_the_noise_of_each_metric_and_what_it_allows() -> None:
    found = floors(facts(12), aa_boots(), (6, 12))["local"]
    refault = found["cells"]["cycle"]["refault_s_per_gib"]
    assert refault["n"] == 12
    assert 0.015 < refault["sd"] < 0.05, "√2 times 2 %"
    assert refault["sure"] > refault["sd"]
    assert list(refault["blocks"]) == ["1 %", "2 %", "5 %", "10 %"]
    assert refault["blocks"]["10 %"] < refault["blocks"]["5 %"]
    assert refault["least_margin"] < 0.1
    assert found["looks"] == [6, 12]
    assert "t50_s" not in found["cells"]["cycle"], "nothing was measured"
    text = table({"local": found}, ["refault_s_per_gib"], "plan gate")
    assert max(map(len, text.splitlines())) <= 120
    assert "refault_s_per_gib" in text.splitlines()[2]


@pytest.mark.parametrize("looks", [(6,), (6, 10, 15, 20, 30)])
def test_the_gate_is_wrong_in_at_most_5_percent_of_gates_drawn_from_a_hosts_own_noise(looks: tuple[int, ...]) -> None:
    about = facts(20)
    entries_ = [entry for entry in entries(about, aa_boots(20, sd=0.06)) if entry.arm == "reporting-again"]
    judged_ = [entry for entry in entries_ if entry.blocking]
    alarms = false_alarms(judged_, looks)
    print(f"looks {looks}: {alarms['once']} of {alarms['runs']} gates worse once, {alarms['twice']} twice")
    assert alarms["runs"] == RUNS
    assert 0 < alarms["once"] <= 0.05 * RUNS
    assert alarms["twice"] <= 0.01 * RUNS


def test_too_few_blocks_tell_nothing() -> None:
    found = floors(facts(2), aa_boots(2))["local"]
    assert found["cells"] == {}
    assert found["false_alarms"] == {"runs": 0, "once": None, "twice": None}
    assert "too few blocks" in table({"local": found}, [], "x")


def test_a_floor_is_kept_for_the_host_as_it_is_and_for_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_STATE", str(tmp_path / "state"))
    lines = aa_boots()
    hosts = fingerprints(lines)
    keep(hosts["local"], "quick/", {"cells": {}, "when": "then"})
    keep(hosts["local"], "gate/", {"cells": {}, "when": "now"})
    assert known(lines, "quick/")["local"]["when"] == "then"
    assert known(lines, "other/") == {}
    other = [{**line, "host_facts": {**FACTS, "kernel": "6.12.0"}} for line in lines]
    assert known(other, "quick/") == {}, "another kernel is another host"
    assert fingerprints([*lines, *other]) == {}, "a host that changed meanwhile has no floor"


def test_a_selftest_is_quoted_by_the_gate_of_a_later_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_STATE", str(tmp_path / "state"))
    aa = write_folder(tmp_path / "aa", aa_boots(sd=0.3), facts(12, looks_left_out=[6, 12]))
    text = kept(aa)
    assert "of 4000 gates drawn from these blocks" in " ".join(text.split())
    later = write_folder(tmp_path / "later", aa_boots(6, seed=9), facts())
    found = copy_floors(later)
    assert found["local"]["run"] == "aa"
    assert json.loads((later.path / "floors.json").read_text()) == found
    gate = judged(aa_boots(6, seed=9), floors=found)
    assert {row["metric"]: row["floor"]["carries"] for row in gate["rows"]} == {
        "residual_bytes": False,
        "refault_s_per_gib": False,
    }
    assert copy_floors(later) == found
    assert plan_key(later.run) == "quick/"


def twice(name: str, arm: str = "") -> Options:
    file = load_plan(name)
    return _twice(file, resolve(file, "auto"), Trial(name, arm))


def test_a_plan_that_repeats_an_arm_is_taken_as_it_is() -> None:
    assert (twice("gate").arms, twice("gate").sets) == (("reporting", "reporting-again"), ())


@pytest.mark.parametrize(("name", "arm"), [("quick", ""), ("overhead", "idle-balloon"), ("overhead", "reporting")])
@pytest.mark.parametrize("accel", ["tcg", "kvm"])
def test_an_a_a_run_is_made_of_any_plan(name: str, arm: str, accel: str) -> None:
    plan = resolve(load_plan(name), accel, twice(name, arm))
    again = f"{arm or 'reporting'}-again"
    assert [one.name for one in plan.arms] == ["none", arm or "reporting", again]
    assert plan.same_as == {again: arm or "reporting"}
    assert plan.looks == ()
    assert all(again in [one.name for one in plan.arms_of(cell)] for cell in plan.cells)


def test_an_arm_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match="'x' is no arm of plan quick; valid: none, reporting"):
        twice("quick", "x")


def test_a_selftest_takes_every_block_and_keeps_the_looks_of_the_gate_in_mind() -> None:
    plan = resolve(load_plan("gate"), "tcg", Options(full=True))
    assert (plan.looks, plan.looks_left_out, plan.blocks) == ((), (3, 6), 6)
    assert resolve(load_plan("gate"), "kvm", Options(full=True)).blocks == 30
