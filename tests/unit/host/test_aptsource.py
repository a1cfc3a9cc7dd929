"""Where a host has its packages: both forms of apt's lists, and the private list that is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.host.aptsource import (
    Source,
    apt_config,
    mirror_of,
    parse_deb822,
    parse_one_line,
    private_sources,
    sources_of,
)

DEB822 = """\
Types: deb deb-src
# a remark
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""
ONE_LINE = """\
# deb http://off.example.org/debian bookworm main
deb http://deb.debian.org/debian bookworm main contrib # the archive
deb [arch=amd64 signed-by=/usr/share/keyrings/mine.gpg] https://mine.example.org/debian bookworm main
deb-src http://deb.debian.org/debian bookworm main
deb http://flat.example.org/ ./
"""
MAIN = Source(("http://deb.debian.org/debian",), ("bookworm", "bookworm-updates"), ("main", "contrib"), "/k.gpg")
SECURITY = Source(("http://security.debian.org/debian-security",), ("bookworm-security",), ("main",))


def private(*sources: Source, root: Path, extra: str = "bookworm-backports") -> str:
    return private_sources(sources, "debian", "bookworm", "amd64", [extra] if extra else [], root)


def test_paragraphs_are_read_with_values_of_many_lines_and_without_what_is_off() -> None:
    archive, security = parse_deb822(DEB822)
    assert archive.uris == ("http://deb.debian.org/debian",)
    assert archive.suites == ("bookworm", "bookworm-updates")
    assert archive.components == ("main", "contrib")
    assert archive.signed_by == "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert security.suites == ("bookworm-security",)
    assert security.signed_by.splitlines()[1:] == [
        " -----BEGIN PGP PUBLIC KEY BLOCK-----",
        " .",
        " abc",
        " -----END PGP PUBLIC KEY BLOCK-----",
    ]


def test_lines_are_read_with_their_options_and_without_remarks() -> None:
    archive, mine = parse_one_line(ONE_LINE)
    assert archive == Source(("http://deb.debian.org/debian",), ("bookworm",), ("main", "contrib"))
    assert mine.signed_by == "/usr/share/keyrings/mine.gpg"
    assert mine.uris == ("https://mine.example.org/debian",)


def test_all_files_of_a_host_count_and_others_in_the_folder_do_not(tmp_path: Path) -> None:
    parts = tmp_path / "etc/apt/sources.list.d"
    parts.mkdir(parents=True)
    assert sources_of(tmp_path) == []
    (tmp_path / "etc/apt/sources.list").write_text("deb http://a.example.org/debian bookworm main\n")
    (parts / "debian.sources").write_text(DEB822)
    (parts / "mine.list").write_text(ONE_LINE)
    (parts / "debian.sources.save").write_text(DEB822)
    (parts / "broken.list").write_bytes(b"deb \xff\xfe")
    assert [source.uris[0] for source in sources_of(tmp_path)] == [
        "http://a.example.org/debian",
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian-security",
        "http://deb.debian.org/debian",
        "https://mine.example.org/debian",
    ]


def test_the_private_list_has_the_hosts_suites_and_the_wanted_one_of_the_same_mirror(tmp_path: Path) -> None:
    assert private(MAIN, SECURITY, root=tmp_path) == (
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates bookworm-backports\n"
        "Components: main\nArchitectures: amd64\nSigned-By: /k.gpg\n"
        "\n"
        "Types: deb\nURIs: http://security.debian.org/debian-security\nSuites: bookworm-security\n"
        "Components: main\nArchitectures: amd64\nSigned-By: /k.gpg\n"
    )
    assert "Suites: bookworm bookworm-updates\n" in private(MAIN, root=tmp_path, extra="")
    assert mirror_of(private(MAIN, root=tmp_path)) == "http://deb.debian.org/debian"


def test_it_is_signed_by_the_distributions_own_keyring_where_that_is_there(tmp_path: Path) -> None:
    keyring = tmp_path / "usr/share/keyrings/debian-archive-keyring.gpg"
    keyring.parent.mkdir(parents=True)
    keyring.write_bytes(b"")
    assert f"Signed-By: {keyring}\n" in private(MAIN, root=tmp_path)


def test_another_repository_with_the_same_suite_is_not_taken_for_the_distributions(tmp_path: Path) -> None:
    theirs = Source(("https://packages.example.org/php",), ("bookworm",), ("main",))
    docker = Source(("https://download.example.com/linux/debian",), ("bookworm",), ("stable",))
    assert mirror_of(private(theirs, docker, MAIN, root=tmp_path)) == "http://deb.debian.org/debian"
    # A mirror may be called anything.
    assert mirror_of(private(theirs, root=tmp_path)) == "https://packages.example.org/php"


@pytest.mark.parametrize("sources", [(), (SECURITY,)])
def test_without_a_source_of_the_release_there_is_no_list(tmp_path: Path, sources: tuple[Source, ...]) -> None:
    assert private(*sources, root=tmp_path) == ""


def test_the_private_apt_keeps_everything_in_its_folder_and_runs_nothing_of_the_host(tmp_path: Path) -> None:
    lines = apt_config(tmp_path).splitlines()
    places = [line for line in lines if str(tmp_path) in line]
    assert [place.split()[0] for place in places] == ["Dir::Etc::SourceList", "Dir::State::Lists", "Dir::Cache"]
    assert 'Dir::Etc::SourceParts "/dev/null";' in lines
    assert 'Dir::Etc::PreferencesParts "/dev/null";' in lines
    assert "#clear APT::Update::Post-Invoke-Success;" in lines
