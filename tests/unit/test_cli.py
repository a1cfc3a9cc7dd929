"""The command line: help, wrong use, and what reaches the user of every wrong file, through the real entry point."""

from __future__ import annotations

import json
from pathlib import Path

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
        (["run", "nonsense"], "quick, return"),
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
