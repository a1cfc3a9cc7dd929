"""`bench bisect` over real repositories, with a measurement that is made up; and its pure parts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bisectlab import BROKEN, LIST, STEP, UNBUILDABLE, asked_for, git, measure, repository
from commands_lab import ctrl_c
from waiting import wait_for

from bench.cli import main
from bench.commands import bisect as command
from bench.commands.bisect import How, bisect, resume
from bench.commands.bisect_ask import Request
from bench.controller.bisect_options import looks_of, options_of
from bench.controller.bisecting import Asked, BisectFolder, Step, table
from bench.controller.gittree import suspects
from bench.controller.plan import load_plan, resolve, shipped_plans
from bench.errors import BenchError, InputError, Interrupted, InvalidError, LabError, UndecidedError

HOW = How(measure=measure, step=STEP)
GOOD, BAD = "equivalent", "worse"


class Here:
    """A working folder with a repository `src` in it, and the bisection `out`."""

    def __init__(self, folder: Path, values: list[str]) -> None:
        self.folder, self.repo, self.out = folder, folder / "src", folder / "out"
        self.commits = repository(self.repo, values)

    def request(self, **changes: Any) -> Request:
        plain = {"repo": self.repo, "good": self.commits[0], "bad": "mine", "metric": "residual_bytes"}
        return Request(**{**plain, "build": "sh ./make.sh", "kernel": "out/product", **changes})

    def bisect(self, how: How = HOW, **changes: Any) -> str:
        return bisect(self.request(**changes), self.out, how)

    def steps(self) -> dict[int, Step]:
        """By the number of the commit, from 1 on."""
        return {self.commits.index(step.commit) + 1: step for step in BisectFolder.existing(self.out).steps()}

    def measured(self) -> list[str]:
        path = self.folder / LIST
        return path.read_text().split() if path.exists() else []

    def worktrees(self) -> int:
        return git(self.repo, "worktree", "list").count("\n")


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Here]:
    """A working folder whose repository has commits with these values."""
    monkeypatch.chdir(tmp_path)
    return lambda *values: Here(tmp_path, list(values))


@pytest.fixture
def eight(lay: Callable[..., Here]) -> Here:
    """Worse from the fifth commit on."""
    return lay(*[GOOD] * 4, *[BAD] * 4)


# -- the first bad commit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [2, 4, 8])
def test_the_first_bad_commit_is_found_wherever_it_is(lay: Callable[..., Here], first: int) -> None:
    here = lay(*[GOOD] * (first - 1), *[BAD] * (9 - first))
    said = here.bisect()
    assert said.splitlines()[0] == here.commits[first - 1]
    assert len(here.measured()) <= 4, "the bad one, and three of the six between"
    assert here.worktrees() == 0


def test_the_table_has_every_step_with_its_effect(eight: Here) -> None:
    lines = eight.bisect().splitlines()
    assert lines[2].split() == ["commit", "(residual_bytes)", "verdict", "effect", "95", "%", "interval", "blocks"]
    base, bad = lines[3].split(), lines[4].split()
    assert base == [eight.commits[0][:12], "change", "1", "base", "–", "–", "0"]
    assert bad == [eight.commits[7][:12], "change", "8", "worse", "×1.5", "×1.49", "to", "×1.51", "3"]
    result = BisectFolder.existing(eight.out).result
    assert result is not None
    assert (result["culprit"], result["subject"]) == (eight.commits[4], "change 5")


def test_the_users_checkout_index_and_own_bisection_are_untouched(eight: Here) -> None:
    git(eight.repo, "bisect", "start", "mine", eight.commits[0])
    (eight.repo / "value").write_text("half done\n")
    (eight.repo / "new").write_text("mine\n")
    git(eight.repo, "add", "new")

    def state() -> list[str]:
        index = (eight.repo / ".git/index").read_bytes().hex()
        words = (["status", "--porcelain"], ["rev-parse", "HEAD"], ["for-each-ref"], ["bisect", "log"], ["branch"])
        return [index, *(git(eight.repo, *them) for them in words)]

    git(eight.repo, "status")  # it may renew the index
    before = state()
    eight.bisect()
    assert state() == before
    assert not (eight.out / "tree").exists()


def test_hooks_of_the_repository_are_not_run_and_a_surrounding_hook_means_nothing(
    eight: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = eight.repo / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {eight.folder}/hooked\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert eight.bisect().startswith(eight.commits[4])
    assert not (eight.folder / "hooked").exists()
    said = (eight.out / f"log/build-{eight.commits[4][:12]}.txt").read_text()
    assert said.startswith(f"building {eight.commits[4]} of {eight.repo} in {eight.out}/tree, git says nothing")


def test_better_than_good_is_good(lay: Callable[..., Here]) -> None:
    here = lay(GOOD, "better", "better", BAD)
    assert here.bisect().startswith(here.commits[3])


def test_worktrees_stay_where_they_are_asked_to(eight: Here) -> None:
    eight.bisect(How(keep=True, measure=measure, step=STEP))
    assert eight.worktrees() == 2
    assert (eight.out / "good/out/product").exists()
    with pytest.raises(BenchError):  # no bisection is under way in them
        suspects(eight.out / "tree")


# -- what cannot be told -----------------------------------------------------------------------------------------------


def test_a_commit_that_cannot_be_built_or_told_is_skipped_with_its_reason(lay: Callable[..., Here]) -> None:
    here = lay(GOOD, GOOD, "undecided", UNBUILDABLE, "invalid", GOOD, BAD, BAD)
    assert here.bisect().startswith(here.commits[6])
    skipped = {number: step for number, step in here.steps().items() if step.verdict not in (GOOD, BAD, "base")}
    assert skipped
    assert set(skipped) <= {3, 4, 5}
    for step in skipped.values():
        assert step.reason.startswith(("it is", "the build failed with exit status 3"))
        assert step.verdict != "skip" or step.evidence[0].startswith("building")


def test_candidates_are_listed_where_only_skipped_ones_are_left(lay: Callable[..., Here]) -> None:
    here = lay(GOOD, "undecided", UNBUILDABLE, BAD)
    with pytest.raises(UndecidedError, match="one of these 3") as caught:
        here.bisect()
    assert all(commit[:12] in str(caught.value) for commit in here.commits[1:])
    assert "the build failed with exit status 3" in str(caught.value)
    assert caught.value.exit_code == 3
    assert here.worktrees() == 0
    with pytest.raises(InputError, match="it has ended: the first bad commit is one of"):
        resume(here.out, HOW)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("equivalent", UndecidedError, "nothing to bisect: .* equivalent residual_bytes ×1.001 .*×0.991 to ×1.01"),
        ("better", UndecidedError, "nothing to bisect"),
        ("undecided", UndecidedError, "nothing to bisect: .* it is undecided"),
        ("invalid", InvalidError, "nothing to bisect: .* it is invalid"),
        (UNBUILDABLE, InputError, "--bad .*the build failed with exit status 3"),
    ],
)
def test_without_a_bad_commit_that_is_worse_there_is_nothing_to_bisect(
    lay: Callable[..., Here], value: str, kind: type[BenchError], said: str
) -> None:
    here = lay(GOOD, BAD, value)
    with pytest.raises(kind, match=said):
        here.bisect()
    assert here.worktrees() == 0
    assert here.measured() == ([] if value == UNBUILDABLE else [value])


# -- the lab fails, and it goes on -------------------------------------------------------------------------------------


def test_a_lab_that_fails_ends_it_and_nothing_that_was_measured_is_measured_again(
    eight: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure_bad_and_break(asked: Asked, *rest: Any) -> Any:
        found = measure(asked, *rest)
        (eight.folder / BROKEN).touch()
        return found

    with pytest.raises(LabError, match="host local: the lamp is out") as caught:
        eight.bisect(How(measure=measure_bad_and_break, step=STEP))
    assert (caught.value.exit_code, caught.value.evidence) == (5, ("no light",))
    assert f"go on with: bench bisect --resume {eight.out}" in capsys.readouterr().err
    assert eight.worktrees() == 2
    with pytest.raises(LabError, match="the lamp is out"):  # it still is
        resume(eight.out, HOW)
    assert eight.measured() == [BAD]
    (eight.folder / BROKEN).unlink()
    assert resume(eight.out, HOW).startswith(eight.commits[4])
    assert len(eight.measured()) == len(eight.steps()) - 1, "none twice"
    assert eight.worktrees() == 0


def test_what_has_ended_is_shown_again(eight: Here) -> None:
    said = eight.bisect()
    assert resume(eight.out, HOW) == said


def test_steps_that_are_known_are_answered_at_once(eight: Here) -> None:
    eight.bisect()
    (eight.out / "result.json").unlink()
    (eight.folder / LIST).unlink()
    assert resume(eight.out, HOW).startswith(eight.commits[4])
    assert eight.measured() == []


@pytest.mark.parametrize("value", ["dies", "raises"])
def test_a_step_that_breaks_is_no_verdict(lay: Callable[..., Here], value: str) -> None:
    here = lay(GOOD, value, value, BAD)
    with pytest.raises(LabError, match="git bisect run ended with exit status"):
        here.bisect()
    assert set(here.steps()) == {1, 4}


def test_a_build_that_leaves_nothing_is_not_measured_by_what_was_left_before(lay: Callable[..., Here]) -> None:
    here = lay(GOOD, GOOD, BAD)
    build = f"sh -c 'test $BENCH_BISECT_COMMIT = {here.commits[1]} || sh ./make.sh'"
    with pytest.raises(UndecidedError, match="out/product is not there"):
        here.bisect(build=build)


def test_ctrl_c_ends_the_step_and_says_how_to_go_on(lay: Callable[..., Here]) -> None:
    here = lay(GOOD, "hangs", "hangs", BAD)
    ctrl_c(lambda: wait_for((here.folder / "hanging").exists, 30, "a step that hangs"))
    with pytest.raises(Interrupted, match=f"go on with: bench bisect --resume {here.out}"):
        here.bisect()
    assert set(here.steps()) == {1, 4}
    assert here.worktrees() == 2


def test_ctrl_c_at_the_very_end_says_how_to_go_on_too(eight: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(command, "_end", interrupted)
        with pytest.raises(Interrupted, match="go on with: bench bisect --resume"):
            eight.bisect()
    measured = eight.measured()
    assert resume(eight.out, HOW).startswith(eight.commits[4])
    assert eight.measured() == measured


def test_a_driver_that_is_killed_leaves_no_step(lay: Callable[..., Here]) -> None:
    here = lay(GOOD, "hangs", "hangs", BAD)
    program = (
        "import sys; from pathlib import Path; from bisectlab import STEP, measure\n"
        "from bench.commands.bisect import How, bisect; from bench.commands.bisect_ask import Request\n"
        "bisect(Request(Path('src'), sys.argv[1], 'mine', 'residual_bytes', 'sh make.sh', kernel='out/product'),\n"
        "       Path('out'), How(measure=measure, step=STEP))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-c", program, here.commits[0]]
    driver = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)
    wait_for((here.folder / "hanging").exists, 30, "a step that hangs")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not processes_in(here.out), 10, "no step")


def processes_in(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [words] if str(folder) in words else []
    return found


# -- wrong use ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"repo": Path("nowhere")}, "--repo nowhere: no git checkout"),
        ({"repo": Path("/")}, "--repo /: no git checkout"),
        ({"good": "v0"}, "--good v0: no such commit"),
        ({"bad": "--all"}, "--bad --all: no such commit"),
        ({"good": "mine", "bad": "mine~2"}, "the wrong way round"),
        ({"good": "other"}, "no ancestor of --bad .*; name one from which the bad one came"),
        ({"bad": "mine~2"}, "--good, --bad: both are"),
        ({"metric": "residual_byte"}, "unknown metric; did you mean 'residual_bytes'"),
        ({"metric": "faults_per_s"}, "--metric faults_per_s: no workload of this plan gives it"),
        ({"metric": "discarded_bytes"}, "neither more nor less of it is worse"),
        ({"plan": "nonsense"}, "no plan is called 'nonsense'"),
        ({"arm": "repor"}, "--arm: unknown arm 'repor'; did you mean 'reporting'"),
        ({"workload": "circle"}, "--workload: unknown workload 'circle'; did you mean 'cycle'"),
        ({"host": "mars"}, "--host: unknown host 'mars'"),
        ({"variant": "mine"}, "--variant"),
        ({"sets": ("guest.memory=lots",)}, "--set guest.memory"),
        ({"sets": ("change.head.qemu=/usr/bin/qemu",)}, "it has a change: of its own"),
        ({"qemu": "out/product"}, "--kernel, --qemu: name one of them"),
        ({"kernel": None}, "--kernel, --qemu: name one of them"),
        ({"kernel": "/boot/vmlinuz"}, "--kernel /boot/vmlinuz: no path inside the tree"),
        ({"kernel": "../product"}, "no path inside the tree"),
        ({"modules": "/lib/modules/6.1"}, "--modules /lib/modules/6.1: no path inside the tree"),
        ({"modules": "mods"}, "--good .*: the build ended well, but mods is not there"),
        ({"modules": "mods", "kernel": None, "qemu": "q"}, "--modules: goes with --kernel"),
        ({"build": " "}, "--build: is empty"),
        ({"build": "make 'x"}, "--build .*No closing quotation"),
        ({"build": "no-such-program"}, "--good .*: no-such-program cannot be run: No such file"),
        ({"build": "false"}, "--good .*: the build failed with exit status 1"),
        ({"build": "true"}, "--good .*: the build ended well, but out/product is not there"),
        ({"blocks": 1}, "--blocks 1: a verdict needs 3"),
        ({"blocks": 5, "most_blocks": 4}, "--most-blocks 4: fewer than --blocks 5"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    lay: Callable[..., Here], changes: dict[str, Any], said: str
) -> None:
    here = lay(GOOD, GOOD, BAD)
    git(here.repo, "switch", "--quiet", "--orphan", "other")
    git(here.repo, "commit", "--quiet", "--allow-empty", "--message", "of no relation")
    with pytest.raises(InputError, match=said):
        here.bisect(**changes)
    assert here.measured() == []
    assert here.worktrees() == 0


def test_a_qemu_is_for_this_machine_only_and_one_host_is_measured(lay: Callable[..., Here]) -> None:
    here = lay(GOOD, BAD)
    (here.folder / "hosts.yaml").write_text("hosts: [{name: far, address: far.example.org}, {name: near}]\n")
    with pytest.raises(InputError, match="--host: name the one to measure on; valid: far, near"):
        here.bisect(kernel=None, qemu="out/product")
    with pytest.raises(InputError, match="host far is another machine"):
        here.bisect(kernel=None, qemu="out/product", host="far")
    assert here.bisect(kernel=None, qemu="out/product", host="near").startswith(here.commits[1])


def test_a_folder_that_is_there_is_not_taken(eight: Here) -> None:
    eight.out.mkdir()
    with pytest.raises(InputError, match="it exists already"):
        eight.bisect()


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"schema": 7}', '{"schema": 1}'])
def test_what_is_no_bisection_is_not_resumed(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bisect.json").write_text(text)
    with pytest.raises(InputError, match=str(tmp_path)):
        resume(tmp_path, HOW)


def test_the_command_exits_with_1_and_prints_only_what_was_found(
    eight: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.How, "__init__", lambda self, **_: object.__setattr__(self, "__dict__", vars(HOW)))
    words = ["--repo", "src", "--good", "mine~7", "--bad", "mine", "--metric", "residual_bytes", "--out", "out"]
    assert main(["bisect", *words, "--build", "sh make.sh", "--kernel", "out/product"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == eight.commits[4]
    assert main(["bisect", "--resume", "out"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == eight.commits[4]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bisect"], "--repo, --good, --bad, --metric, --build: missing"),
        (["bisect", "--resume", "x", "--good", "v1", "--blocks", "3"], "--good, --blocks: not with --resume"),
        (["bisect", "--resume", "x"], "no folder of a bisection"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_exits_with_2(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err


# -- pure parts --------------------------------------------------------------------------------------------------------


def test_looks_double_and_end_with_the_most() -> None:
    assert looks_of(3, 15) == (3, 6, 12, 15)
    assert looks_of(4, 16) == (4, 8, 16)
    assert looks_of(5, 5) == (5,)


@pytest.mark.parametrize("name", sorted(shipped_plans()))
def test_of_every_plan_only_the_arm_itself_is_run_as_base_and_head_for_one_metric(name: str) -> None:
    file = load_plan(name)
    plan = resolve(file, "auto")
    cell = plan.cells[0]
    for arm in plan.arms_of(cell):
        if arm.name in plan.same_as:
            continue
        metric, interest = next(iter(plan.metrics.items()))
        asked = asked_for(plan=name, workload=cell.name, arm=arm.name, metric=metric, margin=interest.margin, sets=())
        made = resolve(file, "auto", options_of(asked, Path("/good"), Path("/tree")))
        assert [copy.name for copy in made.arms_of(made.cells[0])] == [f"base-{arm.name}", f"head-{arm.name}"]
        assert [copy.qemu for copy in made.arms_of(made.cells[0])] == ["/good/q", "/tree/q"]
        assert made.metrics == {metric: interest}
        assert made.reference_of(f"head-{arm.name}") == f"base-{arm.name}"
        assert (len(made.cells), made.blocks, made.looks, made.seed) == (1, 15, (3, 6, 12, 15), 7)


def test_a_kernel_is_carried_to_the_host(tmp_path: Path) -> None:
    options = options_of(asked_for(kind="kernel", file="k"), tmp_path / "a", tmp_path / "b")
    assert (options.base_kernel, options.head_kernel) == (f"push:{tmp_path}/a/k", f"push:{tmp_path}/b/k")
    assert (options.base_qemu, options.head_qemu) == (None, None)


def test_a_kernel_is_carried_with_its_modules(tmp_path: Path) -> None:
    for side in ("a", "b"):
        (tmp_path / side / "m").mkdir(parents=True)
        (tmp_path / side / "k").touch()
    asked = asked_for(kind="kernel", file="k", modules="m")
    arms = resolve(load_plan("quick"), "auto", options_of(asked, tmp_path / "a", tmp_path / "b")).arms
    assert [arm.modules for arm in arms] == [f"push:{tmp_path}/a/m", f"push:{tmp_path}/b/m"]


def test_a_small_margin_stays_a_number() -> None:
    asked = asked_for(metric="qemu_cpu_s", margin=5e-5)
    plan = resolve(load_plan("quick"), "auto", options_of(asked, Path("/good"), Path("/tree")))
    assert plan.metrics["qemu_cpu_s"].margin == 5e-5


def test_a_torn_line_is_no_step_and_the_next_one_is_whole(tmp_path: Path) -> None:
    folder = BisectFolder.create(tmp_path / "b", asked_for())
    first, second = Step("a" * 40, "é\nx", "worse", 1.5, 1.4, 1.6, 95.0, 3, evidence=("x",)), Step("b" * 40, "", "skip")
    folder.append(first)
    with (folder.path / "steps.jsonl").open("a") as file:
        file.write('{"commit": "torn')
    assert folder.steps() == [first]
    folder.append(second)
    assert folder.steps() == [first, second]
    assert BisectFolder.existing(tmp_path / "b") == folder


def test_a_run_is_numbered_behind_all_that_there_are(tmp_path: Path) -> None:
    folder = BisectFolder.create(tmp_path / "b", asked_for())
    (folder.path / "runs/09-aaaa").mkdir()
    assert folder.new_run("c" * 40).name == f"10-{'c' * 12}"


def test_a_long_or_wild_subject_does_not_break_the_table() -> None:
    lines = table([Step("a" * 40, "\x1b[31m" + "x" * 80, "undecided", 1.234, 1.2, 1.3, 98.2, 12)], "residual_bytes")
    assert "\x1b" not in lines
    assert max(map(len, lines.splitlines())) <= 100
    assert lines.splitlines()[1].split()[-1] == "12"
    assert "98.2 % interval" in lines
