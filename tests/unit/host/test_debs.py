"""An apt of its own: its command lines, what is read of its answers, and what is said when it fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.errors import LabError
from bench.host import debs
from bench.host.aptsource import apt_config

CONFIG = Path("/p/apt.conf")
# As apt-get 2.6 prints it (Debian 12).
URIS = """\
'http://deb.debian.org/debian/pool/main/q/qemu/qemu-system-x86_10.0.2%2bds-2%7ebpo12%2b1_amd64.deb' \
qemu-system-x86_1%3a10.0.2+ds-2~bpo12+1_amd64.deb 10176912 SHA256:0a
'http://deb.debian.org/debian/pool/main/s/seabios/seabios_1.16.3-2%7ebpo12%2b1_all.deb' \
seabios_1.16.3-2~bpo12+1_all.deb 164452
"""


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **bodies: str) -> None:
    """Programs of these names and nothing else on PATH; each notes its arguments in `calls`."""
    for name, body in bodies.items():
        path = folder / name.replace("_", "-")
        path.write_text(f'#!/bin/sh\necho "$0 $*" >> {folder}/calls\n{body}\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_every_call_of_apt_is_one_of_the_private_apt_and_none_installs() -> None:
    for argv in (
        debs.update_argv(CONFIG),
        debs.needed_argv(CONFIG, "qemu-system-x86", "bookworm-backports"),
        debs.depends_argv("linux-image-amd64", CONFIG),
        debs.download_argv(CONFIG, ["seabios=1.16.3-2"]),
    ):
        assert argv[1:3] == ["-c", "/p/apt.conf"]
        assert "install" not in argv or "--print-uris" in argv


def test_the_resolver_prefers_the_suite_and_takes_no_recommended_package() -> None:
    argv = debs.needed_argv(CONFIG, "qemu-system-x86", "bookworm-backports")
    assert argv[argv.index("-t") + 1] == "bookworm-backports"
    assert "--no-install-recommends" in argv


def test_the_dependencies_of_a_suite_are_those_of_its_version() -> None:
    assert debs.depends_argv("p", CONFIG, "s")[3:5] == ["-o", "APT::Default-Release=s"]
    assert "-o" not in debs.depends_argv("p", CONFIG)
    assert debs.depends_argv("p")[:2] == ["apt-cache", "depends"]


def test_names_and_versions_are_read_from_apts_list_of_files() -> None:
    assert debs.versions(URIS) == ["qemu-system-x86=1:10.0.2+ds-2~bpo12+1", "seabios=1.16.3-2~bpo12+1"]
    assert debs.versions("E: Unable to correct problems\n") == []


def test_an_apt_is_made_in_its_folder_and_reads_its_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get="")
    said: list[str] = []
    apt = debs.open_apt("Types: deb\n", tmp_path / "apt", said.append)
    assert (tmp_path / "apt/private.sources").read_text() == "Types: deb\n"
    assert (tmp_path / "apt/lists/partial").is_dir()
    assert said == [f"running: apt-get -c {apt.config} update -q"]


def test_a_source_that_cannot_be_reached_is_told_with_apts_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, apt_get="echo 'E: Could not resolve host'; exit 100")
    with pytest.raises(LabError, match=r"could not be read \(status 100\)(?s:.*)\| E: Could not resolve host"):
        debs.open_apt("", tmp_path / "apt", lambda _text: None)


def test_an_apt_that_finds_no_way_is_told_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get="echo 'E: held broken packages' >&2; exit 100")
    apt = debs.Apt(CONFIG, lambda _text: None)
    with pytest.raises(LabError, match=r"no way to q of s on this host(?s:.*)E: held broken packages"):
        apt.needed("q", "s")


def test_the_packages_behind_a_meta_package_are_asked_of_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, apt_cache="echo '  Depends: linux-image-6.12.95+deb12-cloud-amd64'")
    apt = debs.Apt(CONFIG, lambda _text: None)
    assert apt.kernel_packages("linux-image-cloud-amd64", "s") == ["linux-image-6.12.95+deb12-cloud-amd64/s"]
    assert apt.kernel_packages("linux-image-amd64") == ["linux-image-6.12.95+deb12-cloud-amd64"]
    assert "APT::Default-Release=s" in (tmp_path / "calls").read_text().splitlines()[0]


def test_a_meta_package_that_is_not_there_is_told_with_its_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(tmp_path, monkeypatch, apt_cache="exit 100")
    with pytest.raises(LabError, match="s has no package linux-image-cloud-amd64"):
        debs.Apt(CONFIG, lambda _text: None).kernel_packages("linux-image-cloud-amd64", "s")


def test_packages_are_downloaded_into_a_folder_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, apt_get=": > b.deb; : > a.deb; : > log")
    found = debs.Apt(CONFIG, lambda _text: None).download(["a", "b"], tmp_path / "packages")
    assert found == [tmp_path / "packages/a.deb", tmp_path / "packages/b.deb"]


def test_the_real_apt_takes_this_configuration(tmp_path: Path) -> None:
    if not Path("/usr/bin/apt-config").exists():
        pytest.skip("needs apt")
    (tmp_path / "apt.conf").write_text(apt_config(tmp_path))
    argv = ["apt-config", "-c", str(tmp_path / "apt.conf"), "dump"]
    dump = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert f'Dir::State::lists "{tmp_path}/lists";' in dump
    assert f'Dir::Etc::sourcelist "{tmp_path}/private.sources";' in dump
    assert not [line for line in dump.splitlines() if line.startswith("APT::Update::") and "Invoke::" in line]
