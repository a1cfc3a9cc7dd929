"""A bisection without guests: commits that say what they would be measured as, and a step that believes it.

As a program it is the step that `git bisect run` calls.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.commands.bisect_measure import Measured
from bench.commands.bisect_step import main
from bench.controller.bisecting import Asked
from bench.errors import LabError

STEP = (sys.executable, "-P", str(Path(__file__)))
# In the working folder: as long as it is there, the lab fails; and what was measured, a line each.
BROKEN, LIST = "lab-is-broken", "measured.txt"
UNBUILDABLE = "unbuildable"
MAKE = f"""\
echo "building $BENCH_BISECT_COMMIT of $BENCH_BISECT_REPO in $(pwd), git says ${{GIT_DIR:-nothing}}"
grep -q {UNBUILDABLE} value && exit 3
mkdir -p out && cp value out/product && date >> tracked
"""


def git(folder: Path, *words: str) -> str:
    """Its output; nothing of the user's own settings comes into it."""
    argv = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def repository(folder: Path, values: Sequence[str]) -> list[str]:
    """Commits with these values, oldest first."""
    git(folder.parent, "init", "--quiet", "--initial-branch=mine", str(folder))
    (folder / "make.sh").write_text(MAKE)
    commits = []
    for number, value in enumerate(values, 1):
        (folder / "value").write_text(f"{value}\n")
        (folder / "tracked").write_text(f"{number}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message", f"change {number}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return commits


def asked_for(**changes: Any) -> Asked:
    plain: dict[str, Any] = {"repo": "/r", "good": "a" * 40, "bad": "b" * 40, "build": ("make",)}
    plain |= {"metric": "residual_bytes", "margin": 5e-5, "kind": "qemu", "file": "q", "modules": "", "folder": "/"}
    plain |= {"plan": "quick", "workload": "cycle", "arm": "reporting", "host": "local", "hosts_file": ""}
    plain |= {"variant": "", "sets": ("guest.memory=1G",), "blocks": 3, "most_blocks": 15, "seed": 7}
    return Asked(**(plain | changes))


def measure(asked: Asked, good: Path, tree: Path, run: Path, wait: bool) -> Measured:
    """What the product says; `dies`, `hangs`, `raises` are what they say."""
    here = Path(asked.folder)
    if (here / BROKEN).exists():
        raise LabError("local", "the lamp is out", ["qemu"], ["no light"])
    assert (good / asked.file).read_text(), "the good build is there"
    value = (tree / asked.file).read_text().strip()
    run.mkdir(parents=True)
    with (here / LIST).open("a") as file:
        file.write(f"{value}\n")
    if value == "dies":
        sys.exit(1)
    if value == "raises":
        raise ZeroDivisionError
    if value == "hangs":
        (here / "hanging").touch()
        time.sleep(60)
    effect = {"worse": 1.5, "equivalent": 1.001, "better": 0.9}.get(value)
    low, high = (effect - 0.01, effect + 0.01) if effect else (None, None)
    return Measured(value, effect, low, high, 95.0, asked.blocks, f"it is {value}")


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main(Path(sys.argv[1]), wait="--wait" in sys.argv, measure=measure))
