"""`kill -9` amid guests in a group: the next command leaves nothing of them, and the run resumes. As root."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from benchlab import bench, boots, finished, guests, host_sides, left_here, parent_of
from waiting import wait_for

pytestmark = [pytest.mark.guest, pytest.mark.alone]

RUN = (
    *("run", "overcommit", "--variant", "emulated", "--blocks", "1", "--seed", "1", "--out", "out"),
    *("--arm", "none", "--arm", "reporting", "--workload", "sequence"),
    *(
        word
        for change in (
            "guest.memory=512M",
            "min_blocks=1",
            "swap.file=1G",
            "workloads.0.guests=2",
            "workloads.0.limit=700M",
            "workloads.0.settle_max_s=7",
            *(f"quiet.{limit}=null" for limit in ("busy", "load", "pressure", "swap")),
        )
        for word in ("--set", change)
    ),
)
RESUME = ("run", "--resume", "out")


def runner() -> int:
    """The host side whose guests run."""
    return parent_of(guests()[0])


def keepers() -> list[int]:
    return [pid for pid in host_sides() if pid != runner()]


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


class Story:
    """A run that is killed again and again. told, left: what the command after each kill said, and left here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.told: dict[str, str] = {}
        self.left: dict[str, list[str]] = {}

    def break_at(self, name: str, argv: tuple[str, ...], moment: Callable[[], object], *command: str) -> None:
        """Begins `argv`, kills its controller at the moment (which may have killed others), and says `command`."""
        controller = bench(*argv, cwd=self.folder)
        try:
            wait_for(moment, 90, name)
            if name == "all":
                kill(controller.pid, *host_sides())
            else:
                kill(controller.pid)
        finally:
            controller.kill()
            controller.communicate()
        code, _, err = finished(bench(*command, cwd=self.folder))
        # Not a moment later: the command has waited for what was still ending.
        self.left[name], self.told[name] = left_here(), err
        assert code in (0, 2), err

    def a_failed_boot(self) -> bool:
        return any(boot["status"] == "failed" for boot in boots(self.out))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    story = Story(tmp_path_factory.mktemp("killed"))
    # While the host is surveyed, or its swap file is made: nothing was booted yet, and there may be no folder.
    story.break_at("survey", RUN, host_sides, "list", "plans")
    # The controller alone, beside one guest of two: what it started notices, and ends by itself.
    story.break_at("controller", RUN, guests, "list", "runs")
    # The controller and everything on the host, at once: nobody is there to tidy up.
    story.break_at("all", RESUME, lambda: len(guests()) == 2, "compare", "out")

    # The host side with its guests, then the controller, as soon as the boot is recorded as failed.
    def runner_dies() -> bool:
        wait_for(guests, 60, "a guest")
        kill(runner())
        return bool(wait_for(story.a_failed_boot, 20, "a failed boot"))

    story.break_at("runner", RESUME, runner_dies, "list", "hosts")

    # Who holds the host: lock and swap file are nobody's then.
    def keeper_dies() -> bool:
        wait_for(guests, 60, "a guest")
        kill(*keepers())
        return True

    story.break_at("keeper", RESUME, keeper_dies, "tune", "show")
    return story


MOMENTS = ["survey", "controller", "all", "runner", "keeper"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_kill_the_next_command_leaves_no_cgroup_no_swap_file_and_no_qemu(story: Story, moment: str) -> None:
    assert story.left[moment] == [], story.told[moment]


def test_what_nobody_was_there_to_put_away_is_told_with_its_name(story: Story) -> None:
    for kind in ("memory cgroup", "swap file", "folder"):
        assert f"bench: removed the {kind} /" in story.told["all"], story.told["all"]


def test_the_run_resumes_and_is_whole(story: Story) -> None:
    code, out, err = finished(bench(*RESUME, cwd=story.folder))
    assert code == 0, err
    assert out.splitlines()[-1] == "out"
    assert "asking local again for what guests in groups need" in err
    found = boots(story.out)
    assert sorted(boot["arm"] for boot in found if boot["status"] == "ok") == ["none", "reporting"]
    (failed,) = [boot for boot in found if boot["status"] != "ok"]
    assert (failed["status"], failed["reason"]) == ("failed", "host local: the host side ended without a result")
    # How far it had come is a matter of milliseconds: at most a guest had said READY.
    figures = {name for name, values in failed["values"].items() if any(value is not None for value in values)}
    assert figures <= {"ready_s"}
    analysis = json.loads((story.out / "analysis.json").read_text())
    swapped = next(row for row in analysis["cells"][0]["metrics"] if row["metric"] == "swapped_out_bytes")
    assert swapped["effect"] < 0
    assert left_here() == []
