"""`bench bisect` with real guests: the commit from which on less memory comes back is found, and named.

A commit is a QEMU here that gives its guests other kernel arguments. The last one has no huge pages: what is freed with
holes of 2 MiB is free in small pieces then, and no report speaks of it.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
from benchlab import bench, finished, host_sides, qemus
from bisectlab import git
from waiting import wait_for

pytestmark = [pytest.mark.guest, pytest.mark.processes]

# The build: a QEMU that is the machine's own, for guests with other arguments. It has to exec, or what ends QEMU with
# the host side would not reach it.
BUILD = """\
import os, shutil, sys
from pathlib import Path

real, more = shutil.which("qemu-system-x86_64"), Path("arguments").read_text().strip()
os.makedirs("out", exist_ok=True)
made = Path("out/qemu")
made.write_text(f'''#!{sys.executable}
import os, sys
argv = list(sys.argv)
if "-append" in argv:
    argv[argv.index("-append") + 1] += " {more}"
os.execv("{real}", ["{real}", *argv[1:]])
''')
made.chmod(0o755)
"""
COMMITS = (
    ("loglevel=4", "first"),
    ("loglevel=5", "chatty"),
    ("loglevel=6", "more"),
    ("transparent_hugepage=never", "huge pages are not worth it"),
)
PLAN = """\
name: holes
reference: none
arms: [none, reporting]
workloads:
  - {workload: cycle, touch: 20%, release: holes, hole_block: 2M, proof: 32M, iterations: 1, hold_s: 0.2,
     drain_min_s: 1, drain_max_s: 8, settle_min_s: 4.5, settle_window_s: 2.5, settle_max_s: 14, window_s: 4.5}
min_blocks: 2
guest: {memory: 640M}
quiet: {busy: null, load: null, pressure: null, swap: null}
metrics: {residual_bytes: {margin: 5%}, returned_share: {margin: 30%}}
"""
# Between commits that are alike returned_share differs by some 5 points from block to block (standard deviation, three
# runs). With normal differences two blocks leave one run in five undecided, three blocks two in 100,000.
ASKED = """bisect --repo src --good mine~3 --bad mine --metric returned_share --plan plan.yaml --blocks 3
    --most-blocks 3 --build 'python3 build.py' --qemu out/qemu --out out --wait"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working folder with the repository `src`."""
    repo = tmp_path / "src"
    git(tmp_path, "init", "--quiet", "--initial-branch=mine", str(repo))
    (tmp_path / "plan.yaml").write_text(PLAN)
    (repo / "build.py").write_text(BUILD)
    for arguments, subject in COMMITS:
        (repo / "arguments").write_text(f"{arguments}\n")
        git(repo, "add", ".")
        git(repo, "commit", "--quiet", "--message", subject)
    return tmp_path


def test_the_commit_from_which_on_guests_keep_more_memory_is_found(here: Path) -> None:
    """Interrupted in the middle of a guest, and resumed."""
    src = here / "src"
    commits = git(src, "rev-list", "--reverse", "mine").split()
    first = bench(*shlex.split(ASKED), cwd=here)
    runs = here / "out/runs"
    try:
        wait_for(lambda: list(runs.glob("02-*")) and qemus(), 400, "a guest of the second run")
    finally:
        os.kill(first.pid, signal.SIGINT)
        code, out, err = finished(first)
    assert (code, out) == (130, ""), err
    assert "go on with: bench bisect --resume" in err
    assert qemus() + host_sides() == []
    assert list(steps(here)) == [commits[0], commits[3]]

    code, out, err = finished(bench("bisect", "--resume", "out", "--wait", cwd=here))
    assert code == 1, err
    assert out.splitlines()[0] == commits[3]
    assert {line.split()[0] for line in out.splitlines()[3:]} == {commit[:12] for commit in steps(here)}
    found = {commit: step["verdict"] for commit, step in steps(here).items()}
    assert found == {commits[0]: "base", commits[3]: "worse", commits[2]: "equivalent"}
    assert steps(here)[commits[3]]["effect"] < -0.3
    assert (git(src, "worktree", "list").count("\n"), git(src, "status", "--porcelain")) == (0, "")
    assert qemus() + host_sides() == []


def steps(here: Path) -> dict[str, dict[str, Any]]:
    """The lines of steps.jsonl by their commit."""
    lines = [json.loads(line) for line in (here / "out/steps.jsonl").read_text().splitlines()]
    return {line["commit"]: line for line in lines}
