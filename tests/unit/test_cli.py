"""The command line: help, wrong use, and what reaches the user of every wrong file, through the real entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import apart
import pytest

from bench.cli import cli, main
from bench.wire.metrics import METRICS

GOLDEN = Path(__file__).parents[1] / "golden"
# This one is found only after the host was asked for its memory (tests/guest).
NEEDS_THE_HOST = {"guest-larger-than-host"}
PLANS = [file for file in sorted((GOLDEN / "plans").glob("*.yaml")) if file.stem not in NEEDS_THE_HOST]
HOSTS = sorted((GOLDEN / "hosts").glob("*.yaml"))


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_bench_run_refuses_a_wrong_plan_with_exit_2_and_its_lines(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    assert main(["run", file.name]) == 2
    assert capsys.readouterr().err == file.with_suffix(".txt").read_text()


@pytest.mark.parametrize("file", HOSTS, ids=lambda file: file.stem)
def test_bench_run_refuses_a_wrong_inventory_with_exit_2_and_its_lines(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    assert main(["run", "--hosts-file", file.name]) == 2
    assert capsys.readouterr().err == file.with_suffix(".txt").read_text()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "nonsense"], "overhead, quick, refault, resize, return"),
        (["run", "--host", "mars"], "--host: unknown host 'mars'"),
        (["run", "--arm", "fpr"], "--arm"),
        (["run", "--set", "guest.memory=lots"], "--set guest.memory"),
        (["run", "--blocks", "0"], "--blocks"),
        (["run", "--blocks", "many"], "not a valid integer"),
        (["run", "--fly"], "No such option"),
        (["run", "--resume", "nowhere"], "no run folder"),
        (["report", "nowhere"], "no run folder"),
        (["list", "everything"], "everything"),
        (["fly"], "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_exits_with_2_and_says_what_would_be_right(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("name", sorted({*cli.commands, "memtouch"}))
def test_every_command_explains_itself_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"bench {name}" in capsys.readouterr().out.partition("Examples")[2], "no examples in its help"


def test_bench_list_metrics_names_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "metrics", "--json"]) == 0
    assert [row["metric"] for row in json.loads(capsys.readouterr().out)] == list(METRICS)


@pytest.mark.parametrize("what", ["plans", "arms", "workloads", "metrics", "hosts", "runs"])
def test_bench_list_prints_a_heading_and_aligned_rows(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["(none)"] if what == "runs" else len(lines) > 1


def test_an_unwritable_folder_is_found_before_the_first_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    assert main(["run", "--out", "taken/run"]) == 2
    assert "--out taken/run" in capsys.readouterr().err


def piped(argv: list[str], stdout: int | IO[bytes], stderr: int | IO[bytes]) -> tuple[int, bytes]:
    """Exit status and stderr of the real program."""
    argv = [sys.executable, apart.__file__, *argv]
    done = subprocess.run(argv, stdout=stdout, stderr=stderr, check=False, timeout=60, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr or b""


def without_reader() -> int:
    """A pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("argv", [["list", "metrics"], ["list", "metrics", "--json"], ["run", "--help"]])
def test_a_reader_that_leaves_is_no_traceback(argv: list[str]) -> None:
    writing = without_reader()
    try:
        assert piped(argv, writing, subprocess.PIPE) == (1, b"")
    finally:
        os.close(writing)


def test_an_error_keeps_its_exit_code_when_nobody_reads_the_message() -> None:
    writing = without_reader()
    try:
        assert piped(["run", "nonsense"], writing, writing)[0] == 2
    finally:
        os.close(writing)


def test_an_interrupted_command_says_so_and_nothing_of_a_run_that_there_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.commands.hosts.doctor", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "\nbench: interrupted\n"


def test_a_bug_has_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("bench.commands.hosts.doctor", broken)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])
