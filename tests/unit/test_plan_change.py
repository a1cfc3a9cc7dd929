"""A plan with a base and a head of every arm, and arms that repeat another one (A/A)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis.entries import reference_of
from bench.controller.inventory import Host
from bench.controller.options import Options
from bench.controller.plan import Plan, PlanFile, arm_error, dump_plan, load_plan, resolve
from bench.controller.planfile import spelled_out
from bench.controller.schedule import schedule
from bench.controller.yamlfile import parse
from bench.errors import InputError
from bench.wire.job import Arm, Paths

PLAN = """\
name: mine
arms:
  - none
  - reporting
  - {name: reporting-again, same_as: reporting}
  - {name: own, like: reporting, kernel: /boot/own, modules: /m, kernel_args: [a=1]}
workloads:
  - {workload: cycle, name: free, arms: [reporting-again]}
  - cycle
metrics: {residual_bytes: {margin: 5%}}
"""


def plan_file(text: str = PLAN) -> PlanFile:
    return PlanFile(spelled_out(parse(text.encode(), "mine.yaml")))


def plan(text: str = PLAN, **options: str) -> Plan:
    return resolve(plan_file(text), "tcg", Options(**options))  # type: ignore[arg-type]


def arms(made: Plan) -> dict[str, Arm]:
    return {arm.name: arm for arm in made.arms}


def names(made: Plan, cell: str) -> list[str]:
    return [arm.name for arm in made.arms_of(made.cell(cell))]


def refused(text: str, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        plan(text, **options)
    return str(caught.value)


def test_an_arm_that_repeats_another_one_has_its_content_and_is_compared_with_it() -> None:
    made = plan()
    assert arms(made)["reporting-again"] == Arm("reporting-again", balloon=True, reporting=True)
    assert made.same_as == {"reporting-again": "reporting"}
    assert (made.reference_of("reporting-again"), made.reference_of("reporting")) == ("reporting", "none")
    assert names(made, "free") == ["reporting", "reporting-again"]


def test_what_is_repeated_keeps_its_own_reference_in_the_analysis() -> None:
    run = {"reference": "none", "against": {}, "same_as": {"again": "reporting"}}
    assert [reference_of(run, arm) for arm in ("none", "reporting", "again")] == ["none", "none", "reporting"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{name: b, same_as: nobody}", "mine.yaml:3: arms.1.same_as: 'nobody' is no other arm"),
        ("{name: b, same_as: b}", "'b' is no other arm"),
        ("{name: b, same_as: none, balloon: true}", "mine.yaml:3: arms.1.balloon: an arm with same_as has nothing"),
        ("{name: reporting, same_as: none}", "'reporting' is a shipped arm with other content"),
        ("{name: none, same_as: none}", "two arms are called 'none'"),
    ],
)
def test_a_wrong_repetition_is_refused_with_its_line(entry: str, message: str) -> None:
    text = f"name: mine\narms: [none,\n  {entry}]\nworkloads: [cycle]\nmetrics: {{residual_bytes: {{margin: 5%}}}}\n"
    assert message in refused(text)


def test_without_a_change_the_arms_are_the_plans() -> None:
    made = plan()
    assert (made.change, made.written) == (None, None)
    assert list(arms(made)) == ["none", "reporting", "reporting-again", "own"]


def test_every_arm_has_a_base_and_a_head_that_differ_in_what_was_said_and_nothing_else() -> None:
    made = arms(plan(head_kernel="/boot/new", base_qemu="/opt/old"))
    assert made["base-reporting"] == Arm("base-reporting", balloon=True, reporting=True, qemu="/opt/old")
    assert made["head-reporting"] == Arm("head-reporting", balloon=True, reporting=True, kernel="/boot/new")
    assert made["base-own"].kernel == "/boot/own"
    # A kernel never gets the modules of another one.
    assert (made["head-own"].kernel, made["head-own"].modules) == ("/boot/new", "")
    assert made["head-own"].kernel_args == ("a=1",)


def test_each_head_is_compared_with_its_base_and_noise_is_asked_of_the_base_only() -> None:
    made = plan(head_kernel="/boot/new")
    assert made.reference == "base-none"
    assert made.against == {f"head-{arm}": f"base-{arm}" for arm in ("none", "reporting", "own")}
    assert made.same_as == {"base-reporting-again": "base-reporting"}
    assert names(made, "free") == ["base-reporting", "base-reporting-again"]


def test_arms_are_chosen_by_the_names_in_the_plan() -> None:
    made = resolve(plan_file(), "tcg", Options(arms=("reporting",), workloads=("cycle",), head_kernel="/boot/new"))
    assert list(arms(made)) == ["base-none", "head-none", "base-reporting", "head-reporting"]


def test_a_block_has_a_boot_of_both_sides_of_every_arm() -> None:
    made = resolve(plan_file(), "tcg", Options(blocks=1, workloads=("cycle",), head_kernel="/boot/new"))
    jobs = schedule(made, Host("local"), Paths("/q", "/k", "/m", "/i"), "tcg", 1)
    assert sorted(job.arm.name for job in jobs) == sorted(arms(made))
    files = {job.arm.name: (job.paths.kernel, job.paths.modules) for job in jobs}
    assert (files["base-none"], files["head-none"]) == (("/k", "/m"), ("/boot/new", ""))


def test_a_plan_with_a_change_is_written_as_it_was_and_read_again_to_the_same_copies(tmp_path: Path) -> None:
    text = PLAN + "change: {head: {kernel_args: [x=1], kernel: /boot/new, modules: /m2}}\n"
    made = plan(text)
    file = tmp_path / "plan.yaml"
    file.write_text(dump_plan(made))
    assert resolve(load_plan(str(file)), "tcg") == made
    assert arms(made)["head-own"].kernel_args == ("a=1", "x=1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{}", "base and head are the same"),
        ("{base: {kernel: /k}, head: {kernel: /k}}", "mine.yaml:11: change: base and head are the same"),
        ("{tail: {kernel: /k}}", "change.tail: unknown key; valid: base, head"),
        ("{head: {kernel: k}}", "change.head.kernel: 'k' is no path on the host"),
        ("{head: {kernel: 'named:standard', modules: /m}}", "change.head.modules: named:standard has modules"),
        ("[]", "change: an empty list is no mapping"),
        ("{head: 7}", "change.head: 7 is no mapping"),
    ],
)
def test_a_wrong_change_is_refused_with_its_line(change: str, message: str) -> None:
    assert message in refused(f"{PLAN}change: {change}\n")


def test_names_that_copies_would_have_are_refused() -> None:
    text = PLAN.replace("name: own", "name: base-none")
    assert "mine.yaml:6: arms.3: 'base-none' would be the name of a copy too" in refused(text, head_kernel="/k")
    long = PLAN.replace("name: own", f"name: {'o' * 60}")
    assert "is too long to be copied as" in refused(long, head_kernel="/k")
    assert plan(long)


def test_a_wrong_option_is_named_by_the_option() -> None:
    assert refused(PLAN, head_kernel="bzImage").startswith("--head-kernel: 'bzImage' is no path on the host")


def test_what_a_host_says_of_a_copys_file_is_told_where_that_was_written() -> None:
    made = plan(head_kernel="/boot/new")
    assert str(arm_error(made, "head-own", "kernel", "x")) == "--head-kernel: x"
    assert str(arm_error(made, "base-own", "kernel", "x")) == "mine.yaml:6: arms.3.kernel: x"
