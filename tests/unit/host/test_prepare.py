"""What `prepare` says before, does, and does not do again - on a machine whose package manager is a fake."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError, MissingError
from bench.host.prepare import prepare

RELEASE = "6.1.0-56-test"
NOTHING = {"qemu": "", "kernel": "", "modules": ""}


def kernel_package(folder: Path) -> Path:
    """A real package that holds a kernel, as far as anybody looks at it."""
    tree = folder / "build"
    modules = tree / "lib/modules" / RELEASE
    for made in (tree / "boot", tree / "DEBIAN", modules):
        made.mkdir(parents=True)
    (tree / f"boot/vmlinuz-{RELEASE}").write_bytes(b"\x7fELF Linux version " + RELEASE.encode())
    (modules / "modules.builtin").write_text("virtio_pci.ko\nvirtio_balloon.ko\nvirtio_console.ko\n")
    (tree / "DEBIAN/control").write_text(
        f"Package: linux-image-{RELEASE}\nVersion: 1\nArchitecture: all\nMaintainer: t <t@e.org>\nDescription: t\n"
    )
    subprocess.run(["dpkg-deb", "-b", tree, folder / "kernel.deb"], check=True, capture_output=True)
    return folder / "kernel.deb"


class Host:
    """A Debian without QEMU and without a kernel; its apt-get brings both. Each call is a line of `calls`."""

    def __init__(self, folder: Path) -> None:
        self.root, self.programs, self.cache = folder, folder / "programs", folder / "cache"
        for made in (folder / "etc", self.programs, self.cache):
            made.mkdir()
        (folder / "etc/os-release").write_text("ID=debian\n")
        for name in ("env", "dpkg-deb", "tar", "sh", "cp", "chmod"):
            (self.programs / name).symlink_to(shutil.which(name) or name)
        self._calls = folder / "calls"
        qemu = self.programs / f"qemu-system-{os.uname().machine}"
        self.has("apt-cache", f'echo "  Depends: linux-image-{RELEASE}"')
        self.has(
            "apt-get",
            f'case "$*" in *install*) cp "$0" {qemu};; *download*) cp {kernel_package(folder)} k.deb;; esac',
        )

    def has(self, name: str, body: str) -> None:
        (self.programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {self._calls}\n{body}\n')
        (self.programs / name).chmod(0o755)

    @property
    def asked_of_apt(self) -> list[str]:
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line.split()[1] for line in lines if line.startswith("apt-get")]

    def prepare(self, *, dry_run: bool, become: str = "none", **named: str) -> dict[str, Any]:
        return prepare({**NOTHING, "dry_run": dry_run, "become": become, **named}, self.cache, self.root)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    made = Host(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return made


def test_a_dry_run_says_everything_and_changes_nothing(host: Host) -> None:
    before = sorted(host.root.rglob("*"))
    told = host.prepare(dry_run=True)
    assert told["missing"] == ["qemu", "kernel"]
    assert [argv[:2] for argv in told["commands"]] == [["apt-get", "update"], ["env", "DEBIAN_FRONTEND=noninteractive"]]
    assert told["fetch"] == (
        f"linux-image-cloud-amd64, unpacked into {host.cache}/kernels and not installed".replace(
            "amd64", {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        )
    )
    assert (told["blocked"], told["installed"], told["kernel"]) == ("", [], None)
    assert sorted(host.root.rglob("*")) == before


def test_what_was_said_is_done_and_a_second_time_nothing_is(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    said = host.prepare(dry_run=True)
    done = host.prepare(dry_run=False)
    assert done["commands"] == said["commands"]
    assert (done["missing"], done["installed"]) == (["qemu", "kernel"], ["qemu"])
    assert done["kernel"]["release"] == RELEASE
    assert done["fetch"] == f"guest kernel {RELEASE} into {host.cache}/kernels"
    assert Path(done["kernel"]["image"]).is_file()
    assert "running: apt-get update -qq" in capsys.readouterr().err
    again = host.prepare(dry_run=False)
    assert (again["missing"], again["commands"], again["installed"], again["fetch"]) == ([], [], [], "")
    assert again["kernel"] == {**done["kernel"], "source": "cached"}
    assert host.prepare(dry_run=True) == again
    # Its lists are still old, as the fake renews nothing.
    assert host.asked_of_apt == ["update", "install", "update", "download"]


def test_without_rights_the_administrators_command_is_told_and_nothing_is_done(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    told = host.prepare(dry_run=True)
    assert told["blocked"].startswith("sudo apt-get update && sudo apt-get install -y --no-install-recommends qemu-")
    assert told["reason"] == "this user is not root, and become: none forbids sudo"
    assert told["commands"] == []
    with pytest.raises(MissingError) as caught:
        host.prepare(dry_run=False)
    assert caught.value.command == told["blocked"]
    assert host.asked_of_apt == []


def test_without_rights_a_kernel_is_fetched_all_the_same(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    host.has(f"qemu-system-{os.uname().machine}", "")
    told = host.prepare(dry_run=True)
    assert (told["missing"], told["commands"], told["blocked"]) == (["kernel"], [], "")
    assert told["fetch"].startswith(f"linux-image-{RELEASE}, unpacked into ")
    assert host.prepare(dry_run=False)["kernel"]["release"] == RELEASE
    assert host.asked_of_apt == ["download"]


def test_a_kernel_that_apt_does_not_know_blocks_it_with_the_command_that_renews_its_lists(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    host.has(f"qemu-system-{os.uname().machine}", "")
    host.has("apt-cache", "exit 100")
    told = host.prepare(dry_run=True)
    assert (told["blocked"], told["fetch"]) == ("sudo apt-get update", "")
    assert "apt knows no package" in told["reason"]


def test_a_distribution_that_is_not_known_blocks_it_with_a_reason(host: Host) -> None:
    (host.root / "etc/os-release").write_text("ID=arch\n")
    told = host.prepare(dry_run=True)
    assert told["blocked"] == "neither Debian's nor Fedora's family: install it by hand"


def test_what_the_entry_names_is_not_looked_for_elsewhere(host: Host) -> None:
    host.has("my-qemu", 'echo "QEMU emulator version 9.2.0"')
    image = host.root / "bzImage"
    image.write_bytes(b"\x7fELF Linux version 6.12.1-mine (me)")
    told = host.prepare(dry_run=False, qemu=str(host.programs / "my-qemu"), kernel=str(image))
    assert (told["missing"], told["installed"], host.asked_of_apt) == ([], [], [])
    assert (told["kernel"]["release"], told["kernel"]["source"]) == ("6.12.1-mine", "named")


@pytest.mark.parametrize(("key", "value"), [("qemu", "/bin/true"), ("kernel", "/none"), ("modules", "/none")])
def test_a_wrong_file_in_the_entry_is_found_before_anything_is_installed(host: Host, key: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        host.prepare(dry_run=False, **{key: value})
    assert caught.value.key == key
    assert host.asked_of_apt == []
