"""The documents are true: links lead somewhere, commands exist, tables are the program's, results are the published."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import pytest

from bench.analysis.analyse import analyse
from bench.cli import cli, main
from bench.controller.conditions import QuietModel
from bench.controller.hostfile import HostModel
from bench.errors import BenchError
from bench.host.cgroup import Unavailable, make
from bench.host.cgroup import _made as make_one
from bench.host.knobs import KNOBS
from bench.host.package_names import HOST, names
from bench.host.packages import SUDO, install_argv, update_argv
from bench.host.settingfile import write_by_sudo
from bench.wire.job import Cgroup
from bench.wire.record import Held, Released
from bench.wire.setting import NAMES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PUBLISHED = ROOT / "reports/published/quick-emulated"
LAB, ARCHITECTURE = ROOT / "docs/lab.md", ROOT / "docs/architecture.md"


def rows(page: Path, head: str) -> dict[str, str]:
    """The table that begins so: the rest of each row by its first cell, without its marks."""
    lines = iter(page.read_text().splitlines())
    assert any(line.startswith(f"| {head} |") for line in lines), f"{page.name} has no table {head!r}"
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, _, rest = line.strip("| ").partition(" | ")
        found[first.strip("`")] = rest
    return found


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every `bench …` that the page names, in its text or in a block of commands."""
    inline = re.findall(r"`bench ([a-z][^`]*)`", page.read_text())
    shown = [line for block in blocks(page, "console") for line in re.findall(r"^bench (.*)", block, re.MULTILINE)]
    return [shlex.split(words, comments=True) for words in (*inline, *shown)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_that_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_into_a_page_leads_to_a_heading(page: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text()):
        target = page.parent / file if file else page
        heads = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in sorted({words[0] for words in commands(page)}):
        assert main([command, "--help"]) == 0, f"bench {command}"
        capsys.readouterr()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_is_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])  # puts all commands together
    capsys.readouterr()
    for words in commands(page):
        try:
            parse(cli, ["bench", *words])
        except click.ClickException as error:
            pytest.fail(f"bench {shlex.join(words)}: {error.format_message()}")


def parse(command: click.Command, words: list[str]) -> None:
    """As if it were called, but nothing is run; a group may be named alone. Raises click.ClickException."""
    if isinstance(command, click.Group) and len(words) == 1:
        return
    with command.make_context(words[0], words[1:]) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            _, below, left = command.resolve_command(context, rest)
            assert below is not None
            parse(below, [rest[0], *left])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_named_exists(page: Path) -> None:
    modules = set(re.findall(r"python3? -m ([a-z_.]*[a-z_])", page.read_text()))
    assert [name for name in sorted(modules) if find_spec(name) is None] == []


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


# -- docs/lab.md and what it says of the program -------------------------------------------------------------------


def test_the_lab_page_has_every_key_of_hosts_yaml_and_no_other() -> None:
    assert sorted(rows(LAB, "key | what it is")) == sorted(HostModel.model_fields)


def test_the_lab_page_has_every_setting_with_its_files() -> None:
    table = rows(LAB, "name | file")
    assert sorted(table) == sorted(NAMES)
    for knob in KNOBS:
        for setting in knob.settings:
            name = setting.files.rpartition("/")[2].removeprefix("*")
            assert not setting.set_to or name in table[knob.name], f"{knob.name}: {setting.files}"
            assert not setting.set_to or knob.name == "boost" or f"`{setting.set_to}`" in table[knob.name], knob.name


def test_the_lab_page_has_every_limit_of_quiet_and_its_default() -> None:
    table = {key[len("quiet.") :]: row for key, row in rows(LAB, "key | what it asks").items() if "quiet." in key}
    assert sorted(table) == sorted(QuietModel.model_fields)
    for name, field in QuietModel.model_fields.items():
        told = table[name].rpartition("| ")[2].strip("`")
        value = None if told == "null" else float(told.removesuffix(" %")) / (100 if "%" in told else 1)
        assert value == field.default, name


def test_the_lab_page_has_every_exit_code_and_no_other() -> None:
    errors: list[type[BenchError]] = [BenchError, *BenchError.__subclasses__()]
    codes = {error.exit_code for error in errors}
    assert {int(code) for code in rows(LAB, "exit code")} == codes | {0}


def written_events() -> Iterator[tuple[str, set[str]]]:
    """(kind, its keys as far as they are spelled out) of every event that the program writes."""
    for folder in ("bench/controller", "bench/commands"):
        for file in sorted((ROOT / folder).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".append_event"):
                    kind = node.args[1]
                    assert isinstance(kind, ast.Constant), f"{file.name}: the kind of an event is a word"
                    yield str(kind.value), {keyword.arg for keyword in node.keywords if keyword.arg}


def test_every_event_is_documented_with_its_keys_and_none_that_is_not_written() -> None:
    table = rows(ARCHITECTURE, "event | keys")
    assert {kind for kind, _ in written_events()} == set(table) == set(rows(LAB, "event | means"))
    carried = [(kind.__name__.lower(), {field.name for field in dataclasses.fields(kind)}) for kind in (Held, Released)]
    for kind, keys in (*written_events(), *carried):
        assert [key for key in sorted(keys) if f"`{key}`" not in table[kind]] == [], kind


@dataclasses.dataclass(frozen=True)
class Allowed:
    """A command in sudoers: its path, and its arguments as a text, or as a regular expression."""

    line: str

    def fits(self, argv: Sequence[str]) -> bool:
        path, _, words = self.line.partition(" ")
        given = " ".join(argv[1:]) or '""'
        same = re.fullmatch(words, given) if words.startswith("^") else words == given
        return bool(same) and path == f"/usr/bin/{argv[0]}"


def sudoers() -> list[Allowed]:
    """What the page's sudoers allow."""
    (text,) = blocks(LAB, "sudoers")
    lines = []
    for alias in re.findall(r"^Cmnd_Alias \w+ = (.*)", text.replace("\\\n", " "), re.MULTILINE):
        lines += [alias] if "^" in alias else [re.sub(r"\\([=:])", r"\1", part) for part in alias.split(",")]
    return [Allowed(" ".join(line.split())) for line in lines]


def setting_files() -> list[str]:
    """A file of every kind that tuning may write, as on a host with many CPUs."""
    found = []
    for knob in KNOBS:
        for pattern in (*(setting.files for setting in knob.settings if setting.set_to), *knob.besides):
            # On a host these are links into the folder of a policy, and links are followed.
            place = pattern.replace("cpu[0-9]*/cpufreq/", "cpufreq/policy[0-9]*/").replace("[0-9]*", "12")
            kinds = ("nmi", "soft") if place.endswith("*_watchdog") else ("rate_limit_us",)
            found += [f"/{place.replace('*', kind)}" for kind in kinds]
    return found


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the program has sudo run: to tune, written down by a sudo that does nothing else; and to prepare."""
    log = tmp_path / "asked"
    program = tmp_path / "sudo"
    program.write_text(f'#!/bin/sh\nshift\nfor word in "$@"; do echo "$word"; done > {log}\ncat > /dev/null\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    files = [Path(name) for name in setting_files()]
    assert write_by_sudo(files, "1") == [""] * len(files)
    tuned = log.read_text().splitlines()
    prepared = [update_argv(SUDO), install_argv(names(HOST, "debian", "3.11", "x86_64"), "debian", SUDO)]
    grouped = in_cgroups(tmp_path, monkeypatch)
    return [["true"], *(argv[len(SUDO) :] for argv in prepared), tuned, *grouped]


def in_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run as root for a memory cgroup, of either version and on any kernel, by a sudo that writes it down."""
    log = tmp_path / "grouped"
    (tmp_path / "sudo").write_text(f'#!/bin/sh\nshift\necho "$*" >> {log}\nexec "$@"\n')
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    asked = Cgroup(1, 1)
    for version, top in ((2, tmp_path / "sys/fs/cgroup"), (1, tmp_path / "sys/fs/cgroup/memory")):
        top.mkdir(parents=True)
        (top / "cgroup.controllers").write_text("memory" if version == 2 else "")
        (top / "memory.usage_in_bytes").write_text("")
        (top / "cgroup.subtree_control").write_text("")
        if version == 2:
            with pytest.raises(Unavailable):  # a folder that is no cgroup gets no counters, and is removed again
                make(asked, "sudo", tmp_path)
        group = make_one(top, version, "sudo")
        for name in ("current", "usage_in_bytes", "max", "swap.max", "memsw.limit_in_bytes", "limit_in_bytes", "high"):
            (group.path / f"memory.{name}").write_text("1\n")
        (group.path / "cgroup.procs").write_text("")
        group.limit(asked)
        group.join()
        group.reclaim(1)
        (group.path / "memory.reclaim").write_text("")
        group.reclaim(1)
        (group.path / "cgroup.procs").write_text("")  # what is in a group ends with it
        assert "not empty" in group.remove()
    return [shlex.split(line.replace(str(tmp_path), "")) for line in log.read_text().splitlines()]


def test_the_sudoers_allow_what_is_run_as_root(asked: list[list[str]]) -> None:
    for argv in asked:
        assert any(allowed.fits(argv) for allowed in sudoers()), shlex.join(argv)
    for allowed in sudoers():
        assert any(allowed.fits(argv) for argv in asked), f"nothing runs {allowed.line}"


def test_the_sudoers_allow_nothing_else(asked: list[list[str]]) -> None:
    for argv in asked:
        for other in (["sh"], ["/etc/shadow"], ["x /etc/shadow"], ["/sys/kernel/mm/ksm/run/../../../../etc/shadow"]):
            assert not any(allowed.fits([*argv, *other]) for allowed in sudoers()), shlex.join([*argv, *other])
    assert not any(allowed.fits(["env", "sh"]) for allowed in sudoers())
