"""Plans: shipped ones, variants, options, sizes, and what is written comes back."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.controller.interests import Interest
from bench.controller.inventory import Host, load_inventory
from bench.controller.plan import (
    Options,
    Plan,
    PlanFile,
    arm_error,
    check_cpus,
    check_memory,
    dump_plan,
    load_plan,
    precheck,
    resolve,
    shipped_plans,
)
from bench.controller.planfile import spelled_out
from bench.controller.quantities import pushed
from bench.controller.yamlfile import parse
from bench.errors import InputError
from bench.wire.codec import to_json
from bench.wire.job import Arm, Policy, Quiet
from bench.wire.setting import NAMES, ONLY_BY_NAME
from bench.wire.units import GIB, MIB

PLAN = """\
name: mine
arms:
  - none
  - reporting
  - name: order-0
    like: reporting
    reporting_order: 0
    kernel_args: [a=1, b]
workloads:
  - cycle
  - {workload: cycle, name: small, touch: 10%}
metrics:
  returned_share: {margin: 2%}
  residual_bytes: {margin: 0.05}
  qemu_cpu_s: {margin: 0.5}
  returned_bytes: {margin: 8M}
blocks: 4
variants:
  lab:
    guest: {memory: 8G, vcpus: 4}
    workloads:
      small: {touch: 20%}
  big:
    blocks: 40
    arms: [none, reporting]
"""


def plan_file(text: str = PLAN) -> PlanFile:
    return PlanFile(spelled_out(parse(text.encode(), "mine.yaml")))


def refused(options: Options, text: str = PLAN, accel: str = "tcg") -> str:
    with pytest.raises(InputError) as caught:
        resolve(plan_file(text), accel, options)
    return str(caught.value)


def reloaded(plan: Plan, folder: Path) -> Plan:
    file = folder / "plan.yaml"
    file.write_text(dump_plan(plan), encoding="utf-8")
    return resolve(load_plan(str(file)), "tcg")


def test_the_shipped_plans_are_listed_with_their_questions() -> None:
    plans = shipped_plans()
    assert {"quick", "return"} <= set(plans)
    assert all(question.endswith("?") for question in plans.values())


@pytest.mark.parametrize("name", sorted(shipped_plans()))
@pytest.mark.parametrize("accel", ["tcg", "kvm"])
def test_a_shipped_plan_resolves_and_is_the_same_after_writing(name: str, accel: str, tmp_path: Path) -> None:
    plan = resolve(load_plan(name), accel)
    assert plan.name == name
    assert reloaded(plan, tmp_path) == plan


def test_the_verdict_of_the_shipped_plans_is_on_residency() -> None:
    for name in ("quick", "return"):
        assert next(iter(resolve(load_plan(name), "tcg").metrics)) == "residual_bytes"


def test_return_has_a_small_variant_for_emulation_and_a_large_one_for_a_lab() -> None:
    emulated, lab = (resolve(load_plan("return"), accel) for accel in ("tcg", "kvm"))
    assert (emulated.variant, lab.variant) == ("emulated", "lab")
    assert (emulated.guest.memory_bytes, lab.guest.memory_bytes) == (640 * MIB, 32 * GIB)
    assert lab.guest.vcpus == 8
    assert lab.cells[0].params["settle_max_s"] == 90


def test_an_unknown_plan_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"no plan is called 'quik'; did you mean 'quick'\? valid: .*quick.*return"):
        load_plan("quik")


def test_a_plan_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"^\./nowhere: cannot be read: No such file"):
        load_plan("./nowhere")


def test_arms_are_shipped_ones_or_like_one_with_changes() -> None:
    assert resolve(plan_file(), "tcg").arms == (
        Arm("none"),
        Arm("reporting", balloon=True, reporting=True),
        Arm("order-0", balloon=True, reporting=True, reporting_order=0, kernel_args=("a=1", "b")),
    )


def test_an_arm_that_reports_has_a_balloon() -> None:
    text = "name: p\narms: [none, {name: mine, reporting: true, mem_lock: true}]\nworkloads: [cycle]\n"
    plan = resolve(plan_file(text + "metrics: {residual_bytes: {margin: 5%}}\n"), "tcg")
    assert plan.arms[1] == Arm("mine", balloon=True, reporting=True, mem_lock=True)


def test_the_reference_is_the_first_arm_unless_named() -> None:
    assert resolve(plan_file(), "tcg").reference == "none"
    assert resolve(plan_file("reference: order-0\n" + PLAN), "tcg").reference == "order-0"


def test_margins_are_shares_or_amounts_in_the_metrics_unit_and_keep_their_order() -> None:
    metrics = resolve(plan_file(), "tcg").metrics
    assert list(metrics) == ["returned_share", "residual_bytes", "qemu_cpu_s", "returned_bytes"]
    assert list(metrics.values()) == [Interest(0.02), Interest(0.05), Interest(0.5), Interest(8 * MIB)]
    assert to_json(metrics["qemu_cpu_s"]) == {"margin": 0.5}


def test_the_accelerator_picks_the_variant_of_its_name_and_the_option_any() -> None:
    assert resolve(plan_file(), "tcg").variant == ""
    lab = resolve(plan_file(), "kvm")
    assert (lab.variant, lab.guest.vcpus, lab.cell("small").params["touch"]) == ("lab", 4, 0.2)
    big = resolve(plan_file(), "kvm", Options(variant="big"))
    assert (big.variant, big.blocks, len(big.arms)) == ("big", 40, 2)


def test_an_unknown_variant_is_refused() -> None:
    assert refused(Options(variant="labb")) == "--variant: unknown variant 'labb'; did you mean 'lab'? valid: lab, big"
    plain = PLAN.partition("variants:")[0]
    assert refused(Options(variant="lab"), plain).endswith("this plan has no variants; leave it out")


def test_options_are_laid_over_the_variant() -> None:
    options = Options(sets=("guest.memory=1G", "workloads.0.touch=40%", "workloads.small.hold_s=3"), blocks=7, seed=5)
    plan = resolve(plan_file(), "kvm", options)
    assert (plan.guest.memory_bytes, plan.guest.vcpus) == (GIB, 4)
    assert (plan.cells[0].params["touch"], plan.cells[1].params["hold_s"]) == (0.4, 3)
    assert (plan.blocks, plan.seed) == (7, 5)


def test_arms_and_workloads_can_be_selected() -> None:
    plan = resolve(plan_file(), "tcg", Options(arms=("order-0", "none"), workloads=("small",)))
    assert [arm.name for arm in plan.arms] == ["none", "order-0"]
    assert [cell.name for cell in plan.cells] == ["small"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(sets=("guest.memory=64 megs",)), "--set guest.memory: '64 megs' is no size; write bytes"),
        (Options(sets=("guest.memroy=1G",)), "--set guest.memroy: unknown key; did you mean 'memory'?"),
        (Options(sets=("blocks=many",)), "--set blocks: 'many' is no whole number"),
        (Options(sets=("workloads.5.touch=1%",)), "--set workloads.5.touch: no entry '5'; valid: cycle, small"),
        (Options(sets=("workloads.0.touch=900%",)), "--set workloads.0.touch: '900%' is no share"),
        (Options(sets=("guest={memory: 1G, vcpus: 0}",)), "--set guest: vcpus: 0 is too small"),
        (Options(sets=("variants.lab.blocks=1",)), "--set variants: cannot be set here"),
        (Options(sets=("arms.1.mem_lock=true",)), "mine.yaml:4: arms.1: 'reporting' is a shipped arm with other"),
        (Options(blocks=0), "--blocks: 0 is too small; write a whole number from 1"),
        (Options(seed=-1), "--seed: -1 is too small"),
        (Options(arms=("non",)), "--arm: unknown arm 'non'; did you mean 'none'? valid: none, reporting, order-0"),
        (Options(workloads=("big",)), "--workload: unknown workload 'big'; valid: cycle, small"),
    ],
)
def test_a_wrong_option_is_named(options: Options, message: str) -> None:
    assert refused(options).startswith(message)


def test_the_early_check_passes_what_fits_one_accelerator_and_refuses_what_fits_none() -> None:
    fits_lab_only = Options(sets=("workloads.cycle.sentinel=2G",))
    assert "more than the guest's 512 MiB" in refused(fits_lab_only, accel="tcg")
    precheck(plan_file(), fits_lab_only)
    with pytest.raises(InputError, match=r"^--set blocks: "):
        precheck(plan_file(), Options(sets=("blocks=none",)))


def test_the_reference_stays_whatever_arm_is_selected() -> None:
    plan = resolve(plan_file(), "tcg", Options(arms=("reporting",)))
    assert [arm.name for arm in plan.arms] == ["none", "reporting"]
    plan = resolve(plan_file(), "tcg", Options(arms=("order-0",), sets=("reference=reporting",)))
    assert [arm.name for arm in plan.arms] == ["reporting", "order-0"]


def test_a_guest_must_fit_into_what_the_host_has_free() -> None:
    plan = resolve(plan_file(), "kvm")
    check_memory(plan, Host("local"), 8 * GIB + 128 * MIB)
    with pytest.raises(InputError) as caught:
        check_memory(plan, Host("local"), 8 * GIB)
    assert str(caught.value) == (
        "mine.yaml:20: variants.lab.guest.memory: 8 GiB for the guest + 128 MiB for QEMU = 8.12 GiB, "
        "but host local has 8 GiB free (MemAvailable); write at most 8064M"
    )


def test_a_guest_must_fit_into_what_hosts_yaml_allows() -> None:
    plan = resolve(plan_file(), "tcg", Options(sets=("guest.memory=2G",)))
    with pytest.raises(InputError, match=r"^--set guest\.memory: .* host lab has 1 GiB for guests \(memory in its"):
        check_memory(plan, Host("lab", memory_bytes=GIB), 64 * GIB)
    check_memory(plan, Host("lab", memory_bytes=3 * GIB), 64 * GIB)
    with pytest.raises(InputError, match=r"has 1 GiB free"):
        check_memory(plan, Host("lab", memory_bytes=3 * GIB), GIB)


def test_a_guest_needs_a_cpu_for_each_vcpu_where_the_host_names_its_cpus(tmp_path: Path) -> None:
    plan = resolve(plan_file(), "kvm")
    file = tmp_path / "lab.yaml"
    file.write_text("hosts:\n  - name: a\n    guest_cpus: 2-4\n  - name: b\n    guest_cpus: 2-5\n  - name: c\n")
    three, four, any_cpu = load_inventory(file).hosts
    check_cpus(plan, four)
    check_cpus(plan, any_cpu)
    with pytest.raises(InputError) as caught:
        check_cpus(plan, three)
    assert str(caught.value) == (
        f"{file}:3: hosts.0.guest_cpus: 3 CPUs for guests, but those of plan 'mine' have 4 vCPUs, each on a CPU of its "
        "own; name 4 here, or write guest: {vcpus: 3} in the plan"
    )


def test_a_plan_says_what_its_hosts_are_tuned_to_and_how_many_work_at_once() -> None:
    plain = resolve(plan_file(), "tcg")
    assert (plain.tune, plain.parallel) == ((), 32)
    named = resolve(plan_file("tune: [smt, governor]\nparallel: 7\n" + PLAN), "tcg")
    assert (named.tune, named.parallel) == (("smt", "governor"), 7)
    everything = resolve(plan_file("tune: [smt]\n" + PLAN), "tcg", Options(sets=("tune=true",)))
    assert set(everything.tune) == set(NAMES) - set(ONLY_BY_NAME)
    message = "--set tune: 0: unknown setting 'governer'; did you mean 'governor'? valid: governor, boost, "
    assert refused(Options(sets=("tune=[governer]",))).startswith(message)


def test_limits_of_quiet_are_in_peoples_units_and_null_asks_nothing() -> None:
    usual = Quiet(0.25, 1.0, 0.2, 100.0, None, 120.0)
    assert resolve(plan_file(), "tcg").quiet == usual
    text = "quiet: {busy: 5%, load: null, pressure: 0.1, temperature: 80, deadline_s: 90s}\n" + PLAN
    assert resolve(plan_file(text), "tcg").quiet == Quiet(0.05, None, 0.1, 100.0, 80.0, 90.0)
    assert resolve(plan_file(), "tcg", Options(sets=("quiet.swap=0",))).quiet == dataclasses.replace(
        usual, swap_pages_s=0
    )


def test_a_swap_file_is_made_only_where_the_plan_asks_for_one_and_survives_being_written() -> None:
    assert resolve(plan_file(), "tcg").swap_file_bytes == 0
    asked = resolve(plan_file(), "tcg", Options(sets=("swap.file=2G",)))
    assert asked.swap_file_bytes == 2 << 30
    assert resolve(PlanFile(spelled_out(parse(dump_plan(asked).encode(), "plan.yaml"))), "tcg") == asked
    none = resolve(load_plan("refault"), "tcg", Options(sets=("swap.file=null",)))
    assert none.swap_file_bytes == 0
    assert (
        resolve(load_plan("refault"), "tcg").swap_file_bytes > resolve(load_plan("refault"), "tcg").guest.memory_bytes
    )


def test_a_variant_may_ask_for_a_quieter_host() -> None:
    emulated, lab = (resolve(load_plan("return"), accel).quiet for accel in ("tcg", "kvm"))
    for name in ("busy_share", "load_per_cpu", "pressure_share", "swap_pages_s"):
        assert getattr(lab, name) < getattr(emulated, name)
    assert lab.deadline_s > emulated.deadline_s


def test_the_load_that_a_guest_leaves_behind_is_gone_within_the_deadline() -> None:
    """The 1-minute load average falls by a factor of e in 60 s (Linux include/linux/sched/loadavg.h, EXP_1)."""
    for accel in ("tcg", "kvm"):
        quiet = resolve(load_plan("return"), accel).quiet
        # One vCPU on every CPU, and a fifth more for QEMU and what measures.
        assert quiet.load_per_cpu is not None
        assert 1.2 * math.exp(-quiet.deadline_s / 60) < quiet.load_per_cpu


def test_a_kernel_can_be_pushed_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bzImage").touch()
    (tmp_path / "modules").mkdir()
    monkeypatch.chdir(tmp_path)
    text = PLAN.replace("    reporting_order: 0\n", "    kernel: push:./bzImage\n    modules: push:~/modules\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = resolve(plan_file(text), "tcg")
    assert plan.arms[2].kernel == f"push:{tmp_path}/bzImage"
    assert pushed(plan.arms[2].kernel) == tmp_path / "bzImage"
    assert pushed(plan.arms[2].modules) == tmp_path / "modules"
    assert pushed("/boot/vmlinuz") is None
    monkeypatch.chdir("/")
    assert reloaded(plan, tmp_path) == plan


def named_arms(*entries: str) -> str:
    return PLAN.replace("arms:\n", "arms:\n" + "".join(f"  - {entry}\n" for entry in entries))


def test_an_arm_may_name_what_prepare_brings_and_be_compared_with_another_one_that_does(tmp_path: Path) -> None:
    text = named_arms(
        "none-backports",
        "{name: reporting-backports, like: reporting-backports, against: none-backports}",
        "{name: newer, qemu: 'named:backports', kernel: named:standard}",
    )
    plan = resolve(plan_file(f"reference: none\n{text}"), "tcg")
    arms = {arm.name: arm for arm in plan.arms}
    assert arms["none-backports"] == Arm("none-backports", kernel="named:backports")
    assert arms["reporting-backports"].reporting
    assert (arms["newer"].qemu, arms["newer"].kernel) == ("named:backports", "named:standard")
    assert plan.against == {"reporting-backports": "none-backports"}
    assert reloaded(plan, tmp_path) == plan


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("kernel: named:backport", "'named:backport' is not known; write named:backports or named:standard, or a path"),
        ("qemu: named:standard", "'named:standard' is not known; write named:backports, or a path"),
        ("kernel: named:backports, modules: /m", "named:backports has modules of its own; remove this, or name a"),
        ("kernel: backports", "'backports' is no path on the host"),
    ],
)
def test_a_wrong_name_of_a_kernel_or_qemu_is_said_with_those_there_are(entry: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(plan_file(named_arms(f"{{name: newer, {entry}}}")), "tcg")
    assert problem in str(caught.value)


def test_what_is_wrong_with_an_arm_on_the_host_is_shown_where_the_arm_stands() -> None:
    error = arm_error(resolve(plan_file(), "tcg"), "order-0", "kernel", "no kernel")
    assert str(error) == "mine.yaml:5: arms.2.kernel: no kernel"


def test_a_resolved_plan_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    options = Options(sets=("workloads.0.touch=33.3%", "sample_hz=12.5"), arms=("none", "order-0"), blocks=2, seed=99)
    for accel in ("tcg", "kvm"):
        plan = resolve(plan_file(), accel, options)
        assert reloaded(plan, tmp_path) == plan


@given(
    st.floats(0.01, 0.5, allow_nan=False),
    st.integers(1, 50),
    st.floats(0, 100),
    st.text("abc: #'\"é\n-", max_size=10),
    st.builds(
        Quiet,
        *(st.none() | st.floats(0, most) for most in (1, 1000, 1, 1e9)),
        st.none() | st.floats(1, 200),
        st.floats(0, 86400),
    ),
    st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
    st.integers(1, 1000),
)
def test_any_values_survive_writing(
    share: float, blocks: int, hold_s: float, question: str, quiet: Quiet, tune: tuple[str, ...], parallel: int
) -> None:
    plan = resolve(plan_file(), "tcg", Options(blocks=blocks))
    cell = plan.cells[0]
    changed = Plan(
        **{
            **{name: getattr(plan, name) for name in plan.__dataclass_fields__},
            "question": question,
            "quiet": quiet,
            "tune": tune,
            "parallel": parallel,
            "cells": (type(cell)(cell.name, cell.workload, {**cell.params, "touch": share, "hold_s": hold_s}),),
        }
    )
    again = resolve(PlanFile(spelled_out(parse(dump_plan(changed).encode(), "plan.yaml"))), "tcg")
    assert again == changed


def test_loops_controls_and_references_of_arms_come_back_from_a_written_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "name: p\narms:\n- none\n- {name: file, balloon: true}\n"
        "- {name: a, like: reporting, policy: {kind: reclaim, target_bytes: 8M}, against: file}\n"
        "- {name: b, like: reporting, expect: nothing, mem_lock: true}\n"
        "- {name: c, like: reporting, host_thp: never, policy: compact}\n"
        "workloads: [faults]\nmetrics: {faults_per_s: {margin: 5%}}\n"
    )
    plan = resolve(load_plan(str(tmp_path / "plan.yaml")), "tcg")
    assert plan.against == {"a": "file"}
    arms = {arm.name: arm for arm in plan.arms}
    assert arms["a"].policy == Policy("reclaim", {"target_bytes": 8 * MIB})
    assert (arms["b"].expect, arms["b"].must_discard) == ("nothing", False)
    assert (arms["c"].host_thp, arms["c"].policy) == ("never", Policy("compact"))
    (tmp_path / "again.yaml").write_text(dump_plan(plan))
    assert resolve(load_plan(str(tmp_path / "again.yaml")), "tcg") == plan
    only = resolve(load_plan(str(tmp_path / "plan.yaml")), "tcg", Options(arms=("a",)))
    assert [arm.name for arm in only.arms] == ["file", "a"]


def one_plan(tmp_path: Path, workloads: str, **more: str) -> Plan:
    lines = ["name: mine", "arms: [none, idle-balloon, reporting]", f"workloads: {workloads}"]
    lines += ["metrics: {residual_bytes: {margin: 5%}}", *(f"{key}: {value}" for key, value in more.items())]
    file = tmp_path / "plan.yaml"
    file.write_text("\n".join(lines))
    return resolve(load_plan(str(file)), "auto")


def test_a_workload_runs_the_arms_that_it_names_and_what_they_are_compared_with(tmp_path: Path) -> None:
    plan = one_plan(tmp_path, "[{workload: cycle, arms: [reporting]}, {workload: cycle, name: all}]")
    assert [[arm.name for arm in plan.arms_of(cell)] for cell in plan.cells] == [
        ["none", "reporting"],
        ["none", "idle-balloon", "reporting"],
    ]


def test_a_variant_may_leave_a_workload_out(tmp_path: Path) -> None:
    plan = one_plan(tmp_path, "[{workload: cycle, skip: true}, {workload: cycle, name: kept}]")
    assert [cell.name for cell in plan.cells] == ["kept"]
    with pytest.raises(InputError, match="every workload is left out"):
        one_plan(tmp_path, "[{workload: cycle, skip: true}]")


def test_an_arm_that_no_workload_runs_selects_nothing(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    one_plan(tmp_path, "[{workload: cycle, arms: [reporting]}]")
    with pytest.raises(InputError, match="no workload of this plan runs with only"):
        resolve(load_plan(str(file)), "auto", Options(arms=("idle-balloon",)))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("[residual_bytes, qemu_cpu_s]", ""),
        ("[residual_bytes]", "pareto.0: no pair; write two metrics"),
        ("[residual_bytes, resdual]", "pareto.0.1: 'resdual' is no metric of this plan's workloads with"),
        (
            "[host_thp_faults, residual_bytes]",
            "pareto.0.0: 'host_thp_faults' is no metric of this plan's workloads with",
        ),
    ],
)
def test_a_front_is_of_two_metrics_that_have_a_better_side(tmp_path: Path, pair: str, message: str) -> None:
    if not message:
        assert one_plan(tmp_path, "[cycle]", pareto=f"[{pair}]").pareto == (("residual_bytes", "qemu_cpu_s"),)
        return
    with pytest.raises(InputError, match=message):
        one_plan(tmp_path, "[cycle]", pareto=f"[{pair}]")


def test_parameters_of_the_reporting_module_survive_writing(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    arm = "{name: quick, like: reporting, reporting_params: {page_reporting_delay: 500}}"
    file.write_text(
        f"name: mine\narms: [none, {arm}]\nworkloads: [cycle]\nmetrics: {{residual_bytes: {{margin: 5%}}}}\n"
    )
    plan = resolve(load_plan(str(file)), "auto")
    assert plan.arms[1].reporting_params == (("page_reporting_delay", 500),)
    file.write_text(dump_plan(plan))
    assert resolve(load_plan(str(file)), "auto") == plan


def test_an_arm_by_which_the_host_asks_for_memory_brings_what_it_needs(tmp_path: Path) -> None:
    arms = "{name: mine, give: balloon, backing: anonymous}, {name: plain, like: virtio-mem, give: none, balloon: true}"
    file = tmp_path / "plan.yaml"
    file.write_text(
        f"name: mine\narms: [none, {arms}]\nworkloads: [cycle]\nguest: {{memory: 1G}}\n"
        "metrics: {residual_bytes: {margin: 5%}}\n"
    )
    plan = resolve(load_plan(str(file)), "auto")
    asks = {arm.name: (arm.give, arm.balloon, arm.must_discard) for arm in plan.arms}
    assert asks == {"none": ("", False, False), "mine": ("balloon", True, True), "plain": ("", True, False)}
    file.write_text(dump_plan(plan))
    assert resolve(load_plan(str(file)), "auto") == plan
