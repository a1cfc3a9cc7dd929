"""Finding out what is missing, and the command lines that install it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.errors import LabError, MissingError
from bench.host import packages

HERE = Path(__file__).resolve().parents[3]


def write_os_release(root: Path, text: str) -> Path:
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/os-release").write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ID=debian\nVERSION_ID=12\n", "debian"),
        ("NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n", "ubuntu"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "ubuntu"),
        ("ID=fedora\n", "fedora"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "rhel"),
        ('ID="centos"\nID_LIKE="rhel fedora"\n', "rhel"),
        ("ID=arch\n", ""),
    ],
)
def test_the_family_comes_from_os_release(tmp_path: Path, text: str, expected: str) -> None:
    assert packages.family(write_os_release(tmp_path, text)) == expected


def test_without_os_release_the_family_is_unknown(tmp_path: Path) -> None:
    assert packages.family(tmp_path) == ""


def test_every_family_names_packages_for_every_need() -> None:
    needs = {*packages.CONTROLLER, *packages.HOST, "kernel"}
    assert {family: set(table) for family, table in packages.NAMES.items()} == dict.fromkeys(packages.NAMES, needs)
    assert set(packages.PROBES) == needs - {"kernel"}


@pytest.mark.parametrize(
    ("kind", "machine", "expected"),
    [
        (
            "debian",
            "x86_64",
            "python3.12-venv gcc libc6-dev python3.12-dev qemu-system-x86 linux-image-cloud-amd64",
        ),
        (
            "ubuntu",
            "aarch64",
            "python3.12-venv gcc libc6-dev python3.12-dev qemu-system-arm linux-image-virtual",
        ),
        (
            "fedora",
            "aarch64",
            "python3.12 gcc glibc-devel python3.12-devel qemu-system-aarch64-core dnf-command(download) cpio KERNEL",
        ),
        (
            "rhel",
            "x86_64",
            "python3.12 gcc glibc-devel python3.12-devel qemu-kvm-core dnf-command(download) cpio KERNEL",
        ),
    ],
)
def test_names_fit_distribution_python_and_machine(kind: str, machine: str, expected: str) -> None:
    needs = [*packages.CONTROLLER, *packages.HOST, "kernel"]
    assert (
        packages.names(needs, kind, "3.12", machine)
        == expected.replace("KERNEL", "kernel-core kernel-modules-core").split()
    )


def test_apt_installs_without_questions_and_without_recommended_packages() -> None:
    assert packages.install_argv(["gcc", "qemu-system-x86"], "debian") == shlex.split(
        "env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
        " -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 gcc qemu-system-x86"
    )


def test_dnf_installs_without_questions_and_without_weak_dependencies() -> None:
    assert packages.install_argv(["cpio"], "rhel", ("sudo", "-n")) == shlex.split(
        "sudo -n dnf install -y -q --setopt=install_weak_deps=False cpio"
    )


def test_old_lists_are_renewed_first_and_sudo_is_kept_in_front_of_each_command() -> None:
    first, second = packages.commands(["cc"], "debian", prefix=("sudo", "-n"), update=True)
    assert first == ["sudo", "-n", "apt-get", "update", "-qq"]
    assert second[:5] == ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    assert second[-2:] == ["gcc", "libc6-dev"]


def test_dnf_renews_its_lists_itself() -> None:
    assert len(packages.commands(["cc"], "fedora", update=True)) == 1


def test_a_need_without_a_package_gives_no_command() -> None:
    assert packages.commands(["kernel-download"], "debian", update=True) == []


def test_the_administrators_command_can_be_pasted_into_a_shell() -> None:
    assert packages.admin_command(["cc"], "debian") == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends gcc libc6-dev"
    )
    line = packages.admin_command(["kernel-download"], "fedora")
    assert line == "sudo dnf install -y 'dnf-command(download)'"
    assert subprocess.run(["sh", "-n", "-c", line], check=False).returncode == 0


def test_missing_lists_are_old() -> None:
    assert packages.lists_are_old(Path("/nowhere"))


def test_lists_age_by_their_folder_and_not_by_the_servers_dates(tmp_path: Path) -> None:
    lists = tmp_path / "var/lib/apt/lists"
    (lists / "partial").mkdir(parents=True)
    assert packages.lists_are_old(tmp_path), "no list is there"
    index = lists / "deb.debian.org_debian_dists_bookworm_main_binary-amd64_Packages"
    index.write_text("")
    os.utime(index, (0, 0))
    assert not packages.lists_are_old(tmp_path)
    assert packages.lists_are_old(tmp_path, now=time.time() + packages.LISTS_OLD_S + 60)


def test_only_what_is_missing_is_named_in_the_order_asked() -> None:
    probes = {"venv": lambda: False, "cc": lambda: True, "headers": lambda: False}
    assert packages.missing(["headers", "cc", "venv"], probes) == ["headers", "venv"]


def fake_program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_qemu_is_found_by_the_machines_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert packages.find_qemu("qemu-mine") == ""
    fake_program(tmp_path, "qemu-system-aarch64", "")
    assert packages.find_qemu(machine="aarch64") == str(tmp_path / "qemu-system-aarch64")
    assert packages.find_qemu(str(tmp_path / "qemu-system-aarch64")) == str(tmp_path / "qemu-system-aarch64")


def test_a_compiler_without_the_c_librarys_headers_is_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, "mycc", "exit 1")
    monkeypatch.setenv("CC", str(tmp_path / "mycc"))
    assert not packages.has_compiler()
    fake_program(tmp_path, "mycc", "exit 0")
    assert packages.has_compiler()
    monkeypatch.setenv("CC", str(tmp_path / "absent"))
    assert not packages.has_compiler()


def test_an_install_step_that_fails_shows_command_and_last_lines(tmp_path: Path) -> None:
    fake_program(tmp_path, "apt-get", "echo E: no such package; exit 100")
    with pytest.raises(LabError, match=r"status 100(?s:.*)apt-get install(?s:.*)E: no such package"):
        packages._install_step([str(tmp_path / "apt-get"), "install"], print)


def test_one_broken_source_does_not_stop_the_installation(tmp_path: Path) -> None:
    fake_program(tmp_path, "apt-get", "echo E: one source failed; exit 100")
    said: list[str] = []
    packages._install_step([str(tmp_path / "apt-get"), "update"], said.append)
    assert "E: one source failed" in said[0]


def test_a_python_that_is_not_the_distributions_cannot_be_mended_by_packages() -> None:
    with pytest.raises(MissingError, match=r"/opt/python is not the distribution's and lacks: venv"):
        packages.check_possible(["venv", "cc"], "debian", (), "/opt/python")
    packages.check_possible(["cc"], "debian", (), "/opt/python")
    packages.check_possible(["venv", "cc"], "debian", (), "/usr")


def test_an_unknown_distribution_says_what_is_missing() -> None:
    with pytest.raises(MissingError, match=r"missing: cc; .*by hand"):
        packages.check_possible(["cc"], "", (), "/usr")


def test_who_may_not_install_gets_the_administrators_command_and_exit_code_2() -> None:
    with pytest.raises(MissingError) as caught:
        packages.check_possible(["cc", "venv"], "debian", None, "/usr")
    assert caught.value.command == packages.admin_command(["cc", "venv"], "debian")
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith("missing on this machine: cc, venv\n  run: sudo apt-get update && ")


def bootstrap(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "bench.host.packages", *words]
    env = {**os.environ, **environment}
    return subprocess.run(argv, capture_output=True, text=True, cwd=HERE, env=env, timeout=60)


def test_a_dry_run_says_its_commands_and_runs_none(tmp_path: Path) -> None:
    if packages.family() not in ("debian", "ubuntu"):
        pytest.skip("needs an apt distribution")
    done = bootstrap(["bootstrap", "--dry-run"], CC=str(tmp_path / "absent"))
    assert done.returncode == 0, done.stderr
    assert "missing on this machine: cc" in done.stderr
    assert "would run: " in done.stderr
    assert done.stderr.rstrip().endswith("gcc libc6-dev")


def test_wrong_words_are_wrong_use() -> None:
    assert bootstrap(["everything"]).returncode == 2
    assert bootstrap([]).returncode == 2
