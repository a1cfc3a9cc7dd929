"""The schedule: complete blocks in random but repeatable order, deadlines that a healthy boot never meets."""

from __future__ import annotations

import dataclasses
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.controller.arms import ARMS
from bench.controller.inventory import Host
from bench.controller.plan import Options, Plan, load_plan, resolve
from bench.controller.schedule import arm_paths, estimate_s, schedule, second_try
from bench.wire import codec
from bench.wire.job import Arm, Cgroup, Job, Paths, Placement, Quiet

PATHS = Paths("/usr/bin/qemu-system-x86_64", "/boot/vmlinuz", "/lib/modules/6.1", "/cache/image")
ARM_LISTS = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=6, unique=True)
SEEDS = st.integers(0, 2**64)


QUICK = resolve(load_plan("quick"), "tcg")


def plan_of(names: list[str], blocks: int, cells: int = 1) -> Plan:
    plan = QUICK
    arms = tuple(Arm(name, reporting_order=index) for index, name in enumerate(names))
    workloads = tuple(dataclasses.replace(plan.cells[0], name=f"cycle-{index}") for index in range(cells))
    return dataclasses.replace(plan, arms=arms, cells=workloads, blocks=blocks, reference=names[0])


def boots(plan: Plan, seed: int, host: str = "local") -> list[str]:
    return [job.boot for job in schedule(plan, Host(host), PATHS, "tcg", seed)]


@given(ARM_LISTS, st.integers(1, 6), st.integers(1, 3), SEEDS)
def test_every_block_of_a_cell_boots_every_arm_once_and_back_to_back(
    names: list[str], blocks: int, cells: int, seed: int
) -> None:
    jobs = schedule(plan_of(names, blocks, cells), Host("local"), PATHS, "tcg", seed)
    groups = [(key, list(group)) for key, group in groupby(jobs, key=lambda job: (job.block, job.cell))]
    assert len(groups) == blocks * cells
    assert [key for key, _ in groups] == sorted(key for key, _ in groups)
    for _, group in groups:
        assert sorted(job.arm.name for job in group) == sorted(names)
        assert [job.order for job in group] == list(range(len(names)))


def test_a_workload_may_have_a_guest_of_its_own() -> None:
    large = dataclasses.replace(QUICK.cells[0], name="large", memory_bytes=1 << 30, vcpus=2)
    plan = dataclasses.replace(QUICK, cells=(QUICK.cells[0], large), blocks=1)
    shapes = {job.cell: (job.guest.memory_bytes, job.guest.vcpus) for job in schedule(plan, Host("h"), PATHS, "tcg", 1)}
    assert shapes == {"cycle": (640 << 20, 1), "large": (1 << 30, 2)}


def test_only_a_boot_that_pages_out_gets_a_memory_cgroup_and_every_boot_is_told_what_its_host_may() -> None:
    plain, paging = QUICK, resolve(load_plan("refault"), "tcg")
    for plan, cgroup in ((plain, None), (paging, Cgroup())):
        jobs = schedule(plan, Host("h", become="sudo"), PATHS, "tcg", 1)
        assert {(job.cgroup, job.become) for job in jobs} == {(cgroup, "sudo")}


@given(ARM_LISTS, st.integers(1, 5), SEEDS)
def test_the_same_seed_gives_the_same_jobs(names: list[str], blocks: int, seed: int) -> None:
    plan = plan_of(names, blocks)
    first, second = (schedule(plan, Host("local"), PATHS, "tcg", seed) for _ in range(2))
    assert first == second
    assert [job.id for job in first] == [job.id for job in second]


@given(ARM_LISTS, st.integers(1, 5), SEEDS)
def test_the_order_of_the_arms_in_the_plan_does_not_matter(names: list[str], blocks: int, seed: int) -> None:
    plan = plan_of(names, blocks)
    turned = dataclasses.replace(plan, arms=tuple(reversed(plan.arms)))
    assert boots(plan, seed) == boots(turned, seed)


@given(ARM_LISTS, st.integers(1, 5), SEEDS)
def test_more_blocks_or_cells_change_no_order_that_was_there(names: list[str], blocks: int, seed: int) -> None:
    few, more = plan_of(names, blocks), plan_of(names, blocks + 2, cells=2)
    known = set(boots(few, seed))
    assert [boot for boot in boots(more, seed) if boot in known] == boots(few, seed)


@given(ARM_LISTS, st.integers(1, 4), st.integers(1, 3), SEEDS)
def test_every_boot_has_a_name_and_an_identity_of_its_own(names: list[str], blocks: int, cells: int, seed: int) -> None:
    jobs = schedule(plan_of(names, blocks, cells), Host("local"), PATHS, "tcg", seed)
    assert len({job.boot for job in jobs}) == len({job.id for job in jobs}) == len(jobs)


def test_each_arm_comes_first_about_equally_often() -> None:
    jobs = schedule(plan_of(["a", "b", "c"], 300), Host("local"), PATHS, "tcg", seed=1)
    firsts = [job.arm.name for job in jobs if job.order == 0]
    # Binomial(300, 1/3) has a standard deviation of 8.2.
    assert all(70 < firsts.count(name) < 130 for name in "abc")


def test_seeds_hosts_and_cells_have_orders_of_their_own() -> None:
    plan = plan_of(["a", "b", "c"], 10, cells=2)
    assert boots(plan, 1) != boots(plan, 2)
    arms = [[job.arm.name for job in schedule(plan, Host(host), PATHS, "tcg", 1)] for host in ("x", "y")]
    assert arms[0] != arms[1]
    cells = [
        [job.arm.name for job in schedule(plan, Host("x"), PATHS, "tcg", 1) if job.cell == c]
        for c in ("cycle-0", "cycle-1")
    ]
    assert cells[0] != cells[1]


def test_a_job_survives_the_wire() -> None:
    for job in schedule(resolve(load_plan("return"), "tcg"), Host("local"), PATHS, "tcg", 1):
        kind, body = codec.decode(codec.encode("Job", job))
        assert (kind, codec.from_json(Job, body)) == ("Job", job)


def test_an_arm_brings_its_own_files_and_its_order_into_the_guest() -> None:
    plan = resolve(
        load_plan("quick"), "tcg", Options(sets=("arms.1={name: mine, like: reporting, kernel: /k, qemu: /q}",))
    )
    mine = next(job for job in schedule(plan, Host("local"), PATHS, "tcg", 1) if job.arm.name == "mine")
    assert mine.paths == Paths("/q", "/k", "", PATHS.image)
    ordered = dataclasses.replace(plan, arms=(dataclasses.replace(mine.arm, reporting_order=3),))
    (job, *_) = schedule(ordered, Host("local"), PATHS, "tcg", 1)
    assert next(phase.args for phase in job.phases if phase.op == "setup") == {"page_reporting_order": 3}


def test_a_boot_goes_where_its_host_says_and_waits_for_what_its_plan_says() -> None:
    quiet = Quiet(busy_share=0.1, deadline_s=5.0)
    plan = dataclasses.replace(QUICK, quiet=quiet, tune=("governor", "cpu_latency"))
    host = Host("a", guest_cpus=(2, 3), sampler_cpus=(0, 1), numa_node=1)
    for job in schedule(plan, host, PATHS, "tcg", 1):
        assert job.placement == Placement((2, 3), (0, 1), 1, hold_latency=True)
        assert job.quiet == quiet
    plain = schedule(dataclasses.replace(plan, tune=("governor",)), Host("a"), PATHS, "tcg", 1)
    assert {job.placement for job in plain} == {Placement()}


def test_waiting_for_a_quiet_host_takes_nothing_of_a_guests_time() -> None:
    quick, patient = (
        schedule(dataclasses.replace(QUICK, quiet=Quiet(0.1, deadline_s=wait)), Host("a"), PATHS, "tcg", 1)[0]
        for wait in (1.0, 1000.0)
    )
    assert quick.deadline_s == patient.deadline_s
    assert estimate_s(quick) == estimate_s(patient)


def test_an_arms_kernel_never_gets_the_hosts_modules() -> None:
    assert arm_paths(Arm("a", kernel="/k"), PATHS).modules == ""
    assert arm_paths(Arm("a", kernel="/k", modules="/m"), PATHS).modules == "/m"
    assert arm_paths(Arm("a"), PATHS) == PATHS


def test_an_arm_boots_the_files_that_the_host_found_for_it() -> None:
    found = dataclasses.replace(PATHS, kernel="/cache/named/k", modules="/cache/named/m")
    jobs = schedule(plan_of(["a", "b"], 1), Host("local"), PATHS, "tcg", 1, {"b": found})
    assert {job.arm.name: job.paths for job in jobs} == {"a": PATHS, "b": found}


def test_a_second_try_is_the_same_boot_with_another_identity() -> None:
    job = schedule(plan_of(["a"], 1), Host("local"), PATHS, "tcg", 1)[0]
    again = second_try(job)
    assert (again.attempt, again.boot) == (2, job.boot + ".try2")
    assert again.id != job.id
    assert dataclasses.replace(again, attempt=1) == job


@pytest.mark.parametrize("accel", ["tcg", "kvm"])
@pytest.mark.parametrize("name", ["quick", "return"])
def test_a_deadline_leaves_room_for_every_phase_at_its_longest(name: str, accel: str) -> None:
    for job in schedule(resolve(load_plan(name), accel), Host("local"), PATHS, accel, 1):
        waits = sum(phase.args.get("max_s", phase.args.get("s", 0)) for phase in job.phases)
        assert job.deadline_s > job.ready_deadline_s + waits
        assert estimate_s(job) < job.deadline_s / 2


def test_the_plan_quick_is_estimated_below_four_minutes_under_emulation() -> None:
    jobs = schedule(resolve(load_plan("quick"), "tcg"), Host("local"), PATHS, "tcg", 1)
    assert 60 < sum(map(estimate_s, jobs)) < 240


def test_emulation_and_larger_guests_get_more_time() -> None:
    def first(accel: str, memory: str) -> Job:
        plan = resolve(load_plan("quick"), accel, Options(sets=(f"guest.memory={memory}",)))
        return schedule(plan, Host("local"), PATHS, accel, 1)[0]

    assert first("tcg", "512M").deadline_s > first("kvm", "512M").deadline_s
    assert first("kvm", "64G").deadline_s > first("kvm", "1G").deadline_s
    assert estimate_s(first("tcg", "2G")) > estimate_s(first("tcg", "512M"))


def test_an_arm_that_reports_is_expected_to_settle_later() -> None:
    plan = resolve(load_plan("quick"), "tcg", Options(sets=("guest.memory=1G",)))
    seconds = {job.arm: estimate_s(job) for job in schedule(plan, Host("local"), PATHS, "tcg", 1)}
    assert seconds[ARMS["reporting"]] > seconds[ARMS["none"]]
