"""Which CPUs a host has, which placement can be had there, and what the doctor says of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError
from bench.host import cpus, findings_cpus
from bench.host.cpulist import parse_cpus
from bench.wire.finding import UNKNOWN, Finding

CPU, NODE = cpus.CPU, cpus.NODE
OWN = sorted(os.sched_getaffinity(0))


def host(root: Path, online: str = "0-3", isolated: str = "", threads: str = "", **nodes: str) -> Path:
    """threads: the cores as "0,2 1,3"; each CPU alone without. nodes: node0="0-1"."""
    files = {f"{CPU}/online": online, f"{CPU}/isolated": isolated}
    for core in threads.split() or map(str, parse_cpus(online)):
        for cpu in core.split(","):
            files[f"{CPU}/cpu{cpu}/topology/thread_siblings_list"] = core
    files.update({f"{NODE}/{name}/cpulist": text for name, text in (nodes or {"node0": online}).items()})
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def refused(root: Path, **args: Any) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        cpus.check_placement(args, root)
    return caught.value.key, str(caught.value)


@pytest.mark.parametrize("key", ["guest_cpus", "sampler_cpus"])
def test_a_cpu_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, key: str) -> None:
    assert refused(host(tmp_path), **{key: [1, 9]}) == (key, "CPU 9 is not online here; online: 0-3")
    assert refused(tmp_path, **{key: [8, 9]}) == (key, "CPUs 8-9 are not online here; online: 0-3")


def test_a_cpu_that_this_process_may_not_use_is_refused(tmp_path: Path) -> None:
    # No machine has it, and the tree says that this one does: as with a cpuset, only the attempt can tell.
    key, message = refused(host(tmp_path, online="0-3,8000"), guest_cpus=[8000])
    assert (key, message) == ("guest_cpus", "CPU 8000 is forbidden to this user's processes here (by a cpuset)")


def test_the_attempt_leaves_this_process_where_it_was() -> None:
    assert cpus.unpinnable([OWN[0], 8000]) == [8000]
    assert sorted(os.sched_getaffinity(0)) == OWN


def test_a_memory_node_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    root = host(tmp_path, node0="0-1", node1="2-3")
    assert refused(root, numa_node=2) == ("numa_node", "memory node 2 is not here; here: 0-1")


def test_without_nodes_the_message_says_to_leave_it_out(tmp_path: Path) -> None:
    assert refused(tmp_path, numa_node=0)[1] == "memory node 0 is not here; this host shows no nodes: leave it out"


def test_a_placement_that_can_be_had_and_none_at_all_pass(tmp_path: Path) -> None:
    root = host(tmp_path, online=",".join(map(str, OWN)))
    cpus.check_placement({"guest_cpus": OWN, "sampler_cpus": [OWN[0]], "numa_node": 0}, root)
    cpus.check_placement({}, root)
    cpus.check_placement({"guest_cpus": [], "sampler_cpus": [], "numa_node": None}, tmp_path / "nothing")


def test_what_the_host_does_not_show_is_not_checked(tmp_path: Path) -> None:
    cpus.check_placement({"guest_cpus": [OWN[0]]}, tmp_path)


@pytest.mark.parametrize("text", ["x", "3-y", "-", "0-3 9"])
def test_a_file_that_holds_no_list_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "list").write_text(text)
    assert cpus.read_cpus(tmp_path / "list") is None


# -- the doctor ----------------------------------------------------------------------------------------------------


def say(what: str, root: Path, **args: Any) -> Finding:
    (found,) = [finding for finding in findings_cpus.placement(args, root) if finding.what == what]
    return found


def test_a_guest_on_isolated_cpus_is_fine(tmp_path: Path) -> None:
    root = host(tmp_path, isolated="2-3")
    assert say("isolated CPUs", root, guest_cpus=[2, 3]) == Finding("ok", "isolated CPUs", "2-3")


def test_isolated_cpus_that_nobody_uses_and_guests_beside_them_are_told(tmp_path: Path) -> None:
    root = host(tmp_path, isolated="2-3")
    unused = say("isolated CPUs", root)
    assert (unused.severity, unused.advice) == ("info", "no guest runs there unless guest_cpus: [2, 3]")
    beside = say("isolated CPUs", root, guest_cpus=[1, 2])
    assert (beside.severity, "guest's CPU 1: isolcpus=" in beside.advice) == ("info", True)


def test_nothing_isolated_and_nothing_placed_is_fine(tmp_path: Path) -> None:
    assert say("isolated CPUs", host(tmp_path)).value == "none"


def test_a_sampler_on_a_thread_of_the_guests_core_is_a_warning(tmp_path: Path) -> None:
    root = host(tmp_path, threads="0,2 1,3")
    found = say("cores of the guest", root, guest_cpus=[2, 3], sampler_cpus=[1])
    assert (found.severity, found.value) == ("warn", "one core has CPU 3 and 1")
    # Without sampler_cpus it runs on all others.
    assert say("cores of the guest", root, guest_cpus=[2, 3]).value == "one core has CPU 2 and 0, 3 and 1"
    assert say("cores of the guest", root, guest_cpus=[1, 3]).severity == "ok"
    assert say("cores of the guest", root, guest_cpus=[2], sampler_cpus=[1, 3]).severity == "ok"


def test_a_topology_that_is_not_shown_is_unknown(tmp_path: Path) -> None:
    host(tmp_path)
    (tmp_path / CPU / "cpu2/topology/thread_siblings_list").unlink()
    assert say("cores of the guest", tmp_path, guest_cpus=[2]).value == UNKNOWN


@pytest.mark.parametrize(
    ("args", "severity", "value"),
    [
        ({}, "info", "2"),
        ({"numa_node": 1, "guest_cpus": [2]}, "ok", "2, guests on 1"),
        ({"numa_node": 0, "guest_cpus": [2]}, "warn", "2, guests on 0"),
        ({"guest_cpus": [1, 2]}, "warn", "2"),
    ],
)
def test_guests_should_have_cpus_and_memory_of_one_node(
    tmp_path: Path, args: dict[str, Any], severity: str, value: str
) -> None:
    found = say("memory nodes", host(tmp_path, node0="0-1", node1="2-3"), **args)
    assert (found.severity, found.value) == (severity, value)


def test_one_node_needs_no_choice(tmp_path: Path) -> None:
    assert say("memory nodes", host(tmp_path)) == Finding("ok", "memory nodes", "1")
