"""The documents are true: links lead somewhere, commands exist, and the result shown is that of the published run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.analysis.analyse import analyse
from bench.cli import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PUBLISHED = ROOT / "reports/published/quick-emulated"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_that_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = {shlex.split(words)[0] for words in re.findall(r"`bench ([a-z][^`]*)`", page.read_text())}
    for command in sorted(commands):
        assert main([command, "--help"]) == 0, f"bench {command}"
        capsys.readouterr()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE))
    assert named <= targets


def published_analysis() -> dict[str, Any]:
    boots = [json.loads(line) for line in (PUBLISHED / "boots.jsonl").read_text().splitlines()]
    return analyse(json.loads((PUBLISHED / "run.json").read_text()), boots)


def test_the_published_run_still_gives_the_analysis_beside_it() -> None:
    assert json.loads(json.dumps(published_analysis())) == json.loads((PUBLISHED / "analysis.json").read_text())


def test_the_readme_shows_the_published_run() -> None:
    assert published_analysis()["verdict"]["text"] in (ROOT / "README.md").read_text()


def test_no_published_run_holds_a_path_of_somebodys_home() -> None:
    for file in PUBLISHED.rglob("*"):
        if file.suffix in (".json", ".jsonl", ".html", ".txt", ".yaml"):
            assert not re.search(r"/(home|root|work)/", file.read_text()), file
