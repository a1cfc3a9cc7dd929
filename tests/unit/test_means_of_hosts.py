"""What a plan's groups need of a host: what it is asked, and where its answer is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs import NONE, REPORTING, job

from bench.controller.inventory import Host, load_inventory
from bench.controller.means import check_means, means_args
from bench.controller.plan import QEMU_OWN_BYTES, Plan, load_plan, resolve
from bench.errors import InputError
from bench.wire.job import Cgroup, Phase
from bench.wire.units import GIB, MIB

PLAN = """\
name: mine
question: q?
reference: none
arms: [none, reporting]
swap: {file: 2G}
tune: [zswap]
workloads:
  - {workload: cycle, name: alone}
  - {workload: cycle, name: crowd}
metrics: {residual_bytes: {margin: 5%}}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "mine.yaml").write_text(PLAN)
    return resolve(load_plan(str(tmp_path / "mine.yaml")), "tcg")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "hosts.yaml").write_text("hosts:\n  - name: lab1\n    become: sudo\n    memory: 8G\n")
    return load_inventory(tmp_path / "hosts.yaml").hosts[0]


def test_a_host_is_asked_once_for_each_kind_of_group_with_what_its_files_say(plan: Plan, host: Host) -> None:
    limited = Cgroup(GIB, 2 * GIB)
    jobs = [job(arm, cell="crowd", cgroup=limited) for arm in (NONE, REPORTING)]
    args = means_args(plan, host, [job(), *jobs])
    assert args == {
        "become": "sudo",
        "memory_bytes": 8 * GIB,
        "swap_file_bytes": 2 * GIB,
        "zswap_off": True,
        "groups": [
            {
                "cell": "crowd",
                "guests_bytes": 512 * MIB + QEMU_OWN_BYTES,
                "limits": {"limit_bytes": GIB, "swap_limit_bytes": 2 * GIB},
            }
        ],
    }


def test_a_plan_whose_guests_are_alone_and_without_a_limit_asks_nothing(plan: Plan, host: Host) -> None:
    """The phases of plan `refault` that need a cgroup are skipped where there is none, and the rest is measured."""
    assert means_args(plan, host, [job(), job(cgroup=Cgroup())]) is None


def test_every_guest_counts_and_who_arrives_beside_them(plan: Plan, host: Host) -> None:
    arrive = Phase("arrive", "host", 0, op="arrive", args={"bytes": 100 * MIB, "deadline_s": 1.0})
    limited = job(cell="crowd", cgroup=Cgroup(GIB), guests=3, phases=(arrive,))
    free = job(cell="alone", guests=2)
    args = means_args(plan, host, [limited, free])
    assert args is not None
    each = 512 * MIB + QEMU_OWN_BYTES
    assert [group["guests_bytes"] for group in args["groups"]] == [3 * each + 100 * MIB, 2 * each]
    assert [group["limits"] for group in args["groups"]] == [{"limit_bytes": GIB, "swap_limit_bytes": None}, None]


def test_every_problem_is_told_at_the_key_where_it_can_be_mended(plan: Plan, host: Host) -> None:
    problems = [
        {"about": about, "cell": "crowd", "text": f"no {about}; do something"} for about in ("right", "memory", "swap")
    ]
    with pytest.raises(InputError) as caught:
        check_means(plan, host, problems)
    lines = str(caught.value).splitlines()
    assert [line.partition("hosts.yaml:")[2] for line in lines if "hosts.yaml" in line] == [
        "3: hosts.0.become: host lab1: no right; do something"
    ]
    assert [line.partition("mine.yaml:")[2] for line in lines if "mine.yaml" in line] == [
        "5: swap.file: host lab1: no swap; do something",
        "9: workloads.1: host lab1: no memory; do something",
    ]
    assert caught.value.exit_code == 2


def test_no_problem_is_no_error(plan: Plan, host: Host) -> None:
    check_means(plan, host, [])
