"""Looks and a budget: a cell that is decided gets no more boots, the others do, whenever it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis_boots import measured, run
from jobs import NONE, REPORTING, job
from test_run_jobs import FACTS, Lab, Told, boot_all, host_run

from bench.analysis.analyse import analyse
from bench.analysis.stopping import going_on, still_open
from bench.controller.inventory import Host
from bench.controller.outcome import conclude, problem
from bench.controller.plan import Options, dump_plan, load_plan, resolve
from bench.controller.run import Outcome
from bench.controller.stops import Stops, asked_for, look_in_words
from bench.controller.store import RunFolder
from bench.errors import InputError

JOBS = [job(arm, block=block) for block in (1, 2, 3, 4) for arm in (NONE, REPORTING)]
LOOKS = [2, 3, 4]


def folder_of(path: Path, metric: str, **more: Any) -> RunFolder:
    facts = {**FACTS, "blocks": 4, "min_blocks": 2, "metrics": {metric: {"margin": 0.05}}, "looks": LOOKS, **more}
    return RunFolder.create(path / "run", facts, "", "")


def test_a_cell_that_is_decided_gets_no_more_boots(tmp_path: Path) -> None:
    """All fake boots take the same at their peak: equivalent as soon as anybody looks."""
    folder, lab, told = folder_of(tmp_path, "resident_peak_bytes"), Lab(), Told()
    outcome = boot_all(JOBS, folder, lab, told=told)
    assert outcome.state == "done"
    assert len(lab.booted) == 4
    assert "left local 0" in told.events
    assert told.notes[-1] == "look: after 2 blocks decided: cycle"
    event = next(event for event in folder.events() if event["event"] == "look")
    assert (event["look"], event["decided"], event["undecided"]) == (2, ["cycle"], [])
    analysis = conclude(folder)
    assert {pair["blocks"] for pair in analysis["cells"]} == {2}
    assert problem(analysis, [outcome], folder) is None


def test_what_is_undecided_goes_on_to_the_last_block_and_is_named(tmp_path: Path) -> None:
    """The same difference in every block has no spread to be judged by."""
    folder, lab, told = folder_of(tmp_path, "footprint_byte_s"), Lab(), Told()
    boot_all(JOBS, folder, lab, told=told)
    assert lab.booted == [request.boot for request in JOBS]
    looks = [note for note in told.notes if note.startswith("look: ")]
    assert looks == [
        f"look: after {look} blocks undecided: footprint_byte_s of reporting in cycle (more blocks than planned)"
        for look in LOOKS[:-1]
    ]


def test_a_run_that_is_resumed_looks_again_and_ends_where_it_would_have(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "resident_peak_bytes")
    boot_all(JOBS[:3], folder, Lab())
    assert len(asked_for(folder, "local", JOBS, 1)) == len(JOBS), "block 2 is not whole"
    lab = Lab()
    boot_all(JOBS, folder, lab)
    assert lab.booted == [JOBS[3].boot]
    assert [request.block for request in asked_for(folder, "local", JOBS, 1)] == [1, 1, 2, 2]
    again = Lab()
    boot_all(JOBS, folder, again)
    assert again.booted == []


def test_no_block_begins_that_the_budget_has_no_room_for(tmp_path: Path) -> None:
    folder, lab, told = folder_of(tmp_path, "residual_bytes", looks=[], budget_s=25.0), Lab(), Told()
    going = host_run(JOBS, folder, lab, told=told)
    # Each look at the clock is 10 s later; a block has one look.
    times = iter(range(0, 1000, 10))
    original = Stops.begin

    def begin(self: Stops, jobs: Any) -> Any:
        self.now = lambda: float(next(times))
        return original(self, jobs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stops, "begin", begin)
        outcome = going.run()
    assert outcome.state == "done"
    assert len(lab.booted) == 2
    assert told.notes[-1] == "budget: no other block fits into the 25 s that the plan gives; 1 were begun"
    assert problem(conclude(folder), [outcome], folder) is None, "a budget that is spent is no failure"
    assert "1 of at least 2 complete blocks" in str(conclude(folder)["cells"])


def two_cells(blocks: int, sd: float, looks: list[int]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """In "calm" the arms are alike within 0.1 %; in "noisy" within `sd`."""
    rng = np.random.default_rng(5)
    boots = [
        {**measured(arm, block, {"residual_bytes": [2e9 * float(np.exp(rng.normal(0, spread)))]}), "cell": cell}
        for block in range(1, blocks + 1)
        for cell, spread in (("calm", 0.001), ("noisy", sd))
        for arm in ("none", "reporting")
    ]
    return run(blocks=looks[-1], looks=looks, metrics={"residual_bytes": {"margin": 0.05}}), boots


def test_each_cell_is_decided_by_itself_and_says_how_long_it_will_take() -> None:
    facts, boots = two_cells(10, 0.04, [6, 10, 30])
    assert going_on(facts, boots, "local", 6) == {"noisy"}
    (left,) = still_open(facts, boots, "local", 6)
    assert (left.cell, left.metric) == ("noisy", "residual_bytes")
    assert left.expected in (10, 30)
    assert look_in_words(6, ["calm"], [left]).startswith("after 6 blocks decided: calm; undecided: residual_bytes of")


def test_boots_after_a_look_change_nothing_about_it() -> None:
    facts, boots = two_cells(10, 0.04, [6, 10, 30])
    early = [boot for boot in boots if boot["block"] <= 6]
    assert going_on(facts, boots, "local", 6) == going_on(facts, early, "local", 6)
    assert still_open(facts, boots, "local", 6) == still_open(facts, early, "local", 6)


def test_verdicts_of_a_run_with_looks_are_taken_at_their_level() -> None:
    facts, boots = two_cells(6, 0.04, [6, 10, 30])
    plain, looked = (
        next(row for row in analyse(about, boots)["cells"][1]["metrics"] if row["metric"] == "residual_bytes")
        for about in ({**facts, "looks": []}, facts)
    )
    assert plain["low"] > looked["low"]
    assert plain["high"] < looked["high"]
    assert 98 < looked["percent"] < 99
    assert "percent" not in plain


HERE = Host("local")


def plan_with(tmp_path: Path, *lines: str, options: Options | None = None) -> Any:
    path = tmp_path / "plan.yaml"
    text = "name: x\narms: [none, reporting]\nworkloads: [cycle]\nmetrics: {residual_bytes: {margin: 5%}}\n"
    path.write_text(text + "\n".join(lines) + "\n")
    return resolve(load_plan(str(path)), "tcg", options or Options())


@pytest.mark.parametrize(
    ("lines", "blocks", "looks"),
    [
        (["looks: default"], 30, (6, 10, 15, 20, 30)),
        (["looks: [3, 5]"], 5, (3, 5)),
        (["looks: [3, 5]", "blocks: 4"], 4, (3, 4)),
        (["looks: [3, 5]", "blocks: 3"], 3, ()),
        (["looks: [3, 5]", "blocks: 8"], 8, (3, 5, 8)),
        (["blocks: 7"], 7, ()),
        ([], 10, ()),
    ],
)
def test_the_last_look_is_at_the_last_block(tmp_path: Path, lines: list[str], blocks: int, looks: tuple[int]) -> None:
    plan = plan_with(tmp_path, *lines)
    assert (plan.blocks, plan.looks) == (blocks, looks)
    path = tmp_path / "again.yaml"
    path.write_text(dump_plan(plan))
    assert resolve(load_plan(str(path)), "tcg") == plan


def test_blocks_on_the_command_line_are_a_fixed_number_if_no_look_comes_before(tmp_path: Path) -> None:
    assert plan_with(tmp_path, "looks: default", options=Options(blocks=6)).looks == ()
    assert plan_with(tmp_path, "looks: default", options=Options(blocks=12)).looks == (6, 10, 12)


@pytest.mark.parametrize("looks", ["[10, 6]", "[1, 3]", "soon", "[6, six]", "[true]", "{6: 10}"])
def test_wrong_looks_are_told_with_what_would_be_right(tmp_path: Path, looks: str) -> None:
    with pytest.raises(InputError, match=r"plan.yaml:5: looks: .* write rising numbers of blocks"):
        plan_with(tmp_path, f"looks: {looks}")


def test_an_outcome_needs_only_the_blocks_that_were_asked_for(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "resident_peak_bytes")
    boot_all(JOBS[:2], folder, Lab())
    assert "blocks are missing" not in str(problem(conclude(folder), [Outcome("local", "done")], folder))
