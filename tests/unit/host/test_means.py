"""What guests in groups need of a host: each want is told with what gives it, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest

from bench.host import asks, cgroup
from bench.host.means import MARGIN_BYTES, means
from bench.wire.job import Ask, Cgroup
from bench.wire.units import GIB, MIB

HEAD = "Filename Type Size Used Priority\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """8 GiB available of 16, no swap; cgroups are made by `taken`."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: {16 << 20} kB\nMemAvailable: {8 << 20} kB\n")
    (tmp_path / "proc/swaps").write_text(HEAD)
    return tmp_path


class Taken:
    """A group that was made, with a note of its end."""

    def __init__(self, asked: Cgroup) -> None:
        self.asked, self.removed = asked, False

    def remove(self) -> str:
        self.removed = True
        return ""


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Taken]:
    """The groups that were made and removed."""
    groups: list[Taken] = []

    def make(asked: Cgroup, become: str, root: Path) -> Taken:
        groups.append(Taken(asked))
        return groups[-1]

    monkeypatch.setattr(cgroup, "make", make)
    return groups


def group(guests: int, limit: Optional[int], swap: Optional[int] = None, cell: str = "four") -> dict[str, Any]:
    return {"cell": cell, "guests_bytes": guests, "limits": {"limit_bytes": limit, "swap_limit_bytes": swap}}


def asked(
    root: Path, *groups: dict[str, Any], trial: Callable[[Path, int], str] = lambda *_: "", **changes: Any
) -> dict[str, str]:
    """The problems, by what they are about."""
    told = {"become": "none", "memory_bytes": None, "swap_file_bytes": 0, "zswap_off": False, **changes}
    found = means({**told, "groups": list(groups)}, root / "cache", root, trial)["problems"]
    assert len({problem["about"] for problem in found}) == len(found)
    return {problem["about"]: problem["text"] for problem in found}


def swap_line(root: Path, name: str, size: int, used: int = 0, priority: int = -2) -> None:
    with (root / "proc/swaps").open("a") as file:
        file.write(f"{name} partition {size // 1024} {used // 1024} {priority}\n")


def test_a_host_with_rights_memory_and_swap_has_no_problem_and_its_trials_are_removed(
    root: Path, made: list[Taken]
) -> None:
    assert asked(root, group(4 * GIB, 2 * GIB), group(3 * GIB, GIB, 0), swap_file_bytes=2 * GIB) == {}
    assert [item.asked for item in made] == [Cgroup(2 * GIB), Cgroup(GIB, 0)]
    assert all(item.removed for item in made)


def test_a_limit_that_several_groups_have_is_tried_once(root: Path, made: list[Taken]) -> None:
    swap_line(root, "/dev/sda2", 8 * GIB)
    assert asked(root, group(4 * GIB, 2 * GIB), group(3 * GIB, 2 * GIB, cell="three")) == {}
    assert len(made) == 1


def test_who_may_make_no_cgroup_is_told_why_and_what_gives_the_right(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    found = asked(root, group(GIB, 2 * GIB))
    assert found["right"].startswith("guests with a limit need a memory cgroup; ")
    assert "no memory controller" in found["right"]
    top = root / "sys/fs/cgroup"
    top.mkdir(parents=True)
    (top / "cgroup.controllers").write_text("memory\n")
    monkeypatch.setattr(cgroup, "_as_root", lambda *_: "mkdir: Permission denied")
    assert "sudo visudo -f /etc/sudoers.d/bench" in asked(root, group(GIB, 2 * GIB))["right"]


def test_a_limit_that_the_host_has_no_memory_for_is_refused_with_the_arithmetic(root: Path) -> None:
    most = 8 * GIB - MARGIN_BYTES
    assert asked(root, group(most, most)) == {}
    assert asked(root, group(most + MIB, most + MIB))["memory"] == (
        "7.00 GiB limit of the group + 1 GiB that the host keeps = 8.00 GiB, "
        "but the host has 8 GiB free (MemAvailable); a limit of at most 7168M would do"
    )


def test_a_limit_above_all_guests_counts_as_what_they_have(root: Path) -> None:
    assert asked(root, group(2 * GIB, 100 * GIB)) == {}


def test_guests_without_a_limit_count_whole(root: Path) -> None:
    found = asked(root, {"cell": "two", "guests_bytes": 9 * GIB, "limits": None})
    assert found.keys() == {"memory"}
    assert found["memory"].startswith("9 GiB for the guests + 1 GiB that the host keeps = 10 GiB")
    assert found["memory"].endswith("fewer or smaller guests would do")


def test_the_memory_that_a_host_gives_to_guests_is_the_limit_where_it_is_less(root: Path) -> None:
    found = asked(root, group(4 * GIB, 4 * GIB), memory_bytes=3 * GIB)
    assert "but the host has 3 GiB for guests (memory in its entry of hosts.yaml)" in found["memory"]


def test_a_host_that_does_not_say_what_is_available_is_refused(root: Path) -> None:
    (root / "proc/meminfo").write_text("MemTotal: 100 kB\n")
    assert "has no MemAvailable" in asked(root, group(GIB, GIB))["memory"]


def test_what_the_limit_pushes_out_needs_swap(root: Path) -> None:
    found = asked(root, group(4 * GIB, 2 * GIB))
    assert found == {
        "swap": "the limit can push 2 GiB of the guests out to swap, but there is 0 B; write swap: {file: 2048M}, "
        "or raise the limit"
    }
    assert asked(root, group(4 * GIB, 2 * GIB), swap_file_bytes=2 * GIB) == {}


def test_no_more_swap_is_needed_than_the_group_is_allowed(root: Path) -> None:
    assert asked(root, group(4 * GIB, 2 * GIB, 0)) == {}
    assert "push 1 GiB" in asked(root, group(4 * GIB, 2 * GIB, GIB))["swap"]


def test_swap_of_the_host_counts_as_far_as_it_is_free(root: Path) -> None:
    swap_line(root, "/dev/sda2", 3 * GIB, used=GIB)
    assert asked(root, group(4 * GIB, 2 * GIB)) == {}
    found = asked(root, group(4 * GIB + MIB, 2 * GIB))
    assert "but there is 2 GiB; write swap: {file: 1M}" in found["swap"]


def test_a_swap_file_that_cannot_be_made_is_refused_with_its_reason_unless_the_host_has_swap(root: Path) -> None:
    tried = []

    def trial(folder: Path, size: int) -> str:
        tried.append((folder, size))
        return "a swap file is made by root only"

    found = asked(root, group(4 * GIB, 2 * GIB), swap_file_bytes=3 * GIB, trial=trial)
    assert tried == [(root / "cache", 3 * GIB)]
    assert found["swap"].endswith("but the host has 0 B of it free, and a swap file is made by root only")
    swap_line(root, "/dev/sda2", 2 * GIB)
    assert asked(root, group(4 * GIB, 2 * GIB), swap_file_bytes=3 * GIB, trial=trial) == {}


def test_no_swap_file_is_tried_where_no_group_can_need_it(root: Path) -> None:
    def trial(folder: Path, size: int) -> str:
        raise AssertionError

    assert asked(root, group(GIB, 2 * GIB), swap_file_bytes=3 * GIB, trial=trial) == {}


def test_swap_in_memory_counts_as_memory(root: Path) -> None:
    """zram is the host's own memory, and nobody's limit covers it."""
    swap_line(root, "/dev/zram0", 4 * GIB, priority=100)
    found = asked(root, group(9 * GIB, 6 * GIB))
    assert found["memory"].startswith(
        "6 GiB limit of the group + 3 GiB of their swap that stays in memory (zram) + 1 GiB that the host keeps"
    )
    assert found["memory"].endswith("a limit of at most 4096M would do, or swap on a disk")
    assert asked(root, group(9 * GIB, 6 * GIB), swap_file_bytes=3 * GIB) == {}


def test_zswap_counts_up_to_its_pool_unless_the_run_switches_it_off(root: Path) -> None:
    folder = root / "sys/module/zswap/parameters"
    folder.mkdir(parents=True)
    (folder / "enabled").write_text("Y\n")
    (folder / "max_pool_percent").write_text("10\n")
    given: dict[str, Any] = {"swap_file_bytes": 3 * GIB}
    found = asked(root, group(9 * GIB, 6 * GIB), **given)
    assert "1.60 GiB of their swap that stays in memory (zswap)" in found["memory"]
    assert found["memory"].endswith("or swap on a disk, or tune: [zswap]")
    assert asked(root, group(9 * GIB, 6 * GIB), zswap_off=True, **given) == {}
    (folder / "enabled").write_text("N\n")
    assert asked(root, group(9 * GIB, 6 * GIB), **given) == {}


def test_of_several_groups_the_largest_is_told(root: Path) -> None:
    told = {"become": "none", "memory_bytes": None, "swap_file_bytes": 0, "zswap_off": False}
    groups = [group(8 * GIB, 8 * GIB, cell="small"), group(9 * GIB, 9 * GIB, cell="large")]
    (problem,) = means({**told, "groups": groups}, root, root, lambda *_: "")["problems"]
    assert (problem["about"], problem["cell"]) == ("memory", "large")


def test_the_question_is_answered_by_the_host_side(root: Path) -> None:
    args = {"become": "none", "memory_bytes": None, "swap_file_bytes": 0, "zswap_off": False}
    found = asks.answer(Ask("means", {**args, "groups": [group(9 * GIB, 9 * GIB)]}), lambda *_: True, root)
    assert [problem["about"] for problem in found["problems"]] == ["memory"]
