"""The rules of the house that tools do not check by themselves."""

import ast
import configparser
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import apart
import forked
import pytest

from bench.cli import main

HERE = Path(__file__).resolve().parents[2]
TESTS = HERE / "tests"
# What a test may import and still run on a lab host's own Python.
HOST_SIDE = ("bench.errors", "bench.host", "bench.wire")
THIRD_PARTY = ("hypothesis", "pytest", "qemu")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def is_host_side(path: Path) -> bool:
    """Whether a test imports nothing that a host lacks, itself or through a helper in tests/."""
    for name in imports(path):
        root = name.partition(".")[0]
        helper = TESTS / f"{root}.py"
        if root == "bench":
            if not any(f"{name}.".startswith(f"{prefix}.") for prefix in HOST_SIDE):
                return False
        elif helper.exists():
            if not is_host_side(helper):
                return False
        elif root not in {*sys.stdlib_module_names, *THIRD_PARTY}:
            return False
    return True


def run_by_the_oldest_python() -> set[Path]:
    config = configparser.ConfigParser(interpolation=None)
    config.read(HERE / "tox.ini")
    words = config["testenv:host39"]["commands"].replace("{posargs:", " ").replace("}", " ").split()
    places = [HERE / word for word in words if word.startswith("tests/")]
    return {path for place in places for path in ([place] if place.is_file() else place.rglob("test_*.py"))}


def test_the_oldest_python_runs_every_test_that_needs_only_the_host_side_and_no_other() -> None:
    ours = [*TESTS.glob("unit/**/test_*.py"), *TESTS.glob("seam/**/test_*.py")]
    able = {path for path in ours if is_host_side(path) and any(name.startswith("bench.") for name in imports(path))}
    assert able, "the host side has tests"
    assert run_by_the_oldest_python() == able


def run_watched(program: str) -> subprocess.CompletedProcess[str]:
    quick = "import sys, leftovers; leftovers.GRACE_S = 0.5; sys.exit(leftovers.main([sys.executable, *sys.argv[1:]]))"
    argv = [sys.executable, "-c", quick, "-c", program]
    env = {**os.environ, "PYTHONPATH": str(HERE / "tests")}
    return subprocess.run(argv, capture_output=True, text=True, env=env, timeout=60)


def test_a_command_that_cleans_up_after_itself_passes_with_its_own_status() -> None:
    done = run_watched("import tempfile; tempfile.TemporaryFile(); raise SystemExit(3)")
    assert (done.returncode, "no process, no temporary file" in done.stderr) == (3, True)


def test_a_command_of_a_background_job_can_be_interrupted_all_the_same() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = run_watched("import signal; raise SystemExit(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)")
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.returncode == 0, done.stderr


def test_a_file_left_in_the_temporary_folder_is_found_and_removed() -> None:
    done = run_watched("import tempfile; print(tempfile.mkdtemp(prefix='mine'))")
    assert done.returncode == 1
    assert "/mine" in done.stderr
    assert not Path(done.stdout.strip()).exists()


def test_a_process_that_lives_on_is_found() -> None:
    leave = "import subprocess as s; print(s.Popen(['sleep', '20'], stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    done = run_watched(leave)
    subprocess.run(["kill", done.stdout.strip()], check=True)
    assert done.returncode == 1
    assert f"process {done.stdout.strip()} sleep 20" in done.stderr


def test_every_package_is_installed() -> None:
    """An editable install finds what the list lacks; any other one would not."""
    listed = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = [
        path.parent.relative_to(HERE).as_posix().replace("/", ".")
        for package in ("bench", "reports", "workloads")
        for path in (HERE / package).rglob("__init__.py")
    ]
    assert sorted(listed) == sorted(there)


def test_commands_of_unit_tests_neither_remove_nor_tell_what_others_left(capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    folder = Path(tempfile.mkdtemp(prefix=f"fpr-boot-{dead.pid}-"))
    argv = ["list", "plans"]
    try:
        assert main(argv) == 0
        assert capsys.readouterr().err == ""
        assert forked.run(*argv).stderr == ""
        assert subprocess.run([sys.executable, apart.__file__, *argv], capture_output=True, check=True).stderr == b""
    finally:
        with contextlib.suppress(FileNotFoundError):  # a command of a test with guests may remove it
            folder.rmdir()
