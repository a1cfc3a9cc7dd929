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
from bench.host import package_names, package_probes, packages

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
    assert package_names.family(write_os_release(tmp_path, text)) == expected


def test_without_os_release_the_family_is_unknown(tmp_path: Path) -> None:
    assert package_names.family(tmp_path) == ""


def test_every_family_names_packages_for_every_need() -> None:
    fetched = {"kernel", "kernel-standard"}
    needs = {*package_names.CONTROLLER, *package_names.HOST, *package_names.TESTS, *fetched}
    assert {family: set(table) for family, table in package_names.NAMES.items()} == dict.fromkeys(
        package_names.NAMES, needs
    )
    assert set(package_probes.PROBES) == needs - fetched


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
    needs = [*package_names.CONTROLLER, *package_names.HOST, "kernel"]
    assert (
        package_names.names(needs, kind, "3.12", machine)
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
    assert package_probes.missing(["headers", "cc", "venv"], probes) == ["headers", "venv"]


def fake_program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def test_qemu_is_found_by_the_machines_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert package_probes.find_qemu("qemu-mine") == ""
    fake_program(tmp_path, "qemu-system-aarch64", "")
    assert package_probes.find_qemu(machine="aarch64") == str(tmp_path / "qemu-system-aarch64")
    assert package_probes.find_qemu(str(tmp_path / "qemu-system-aarch64")) == str(tmp_path / "qemu-system-aarch64")


def test_a_compiler_without_the_c_librarys_headers_is_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, "mycc", "exit 1")
    monkeypatch.setenv("CC", str(tmp_path / "mycc"))
    assert not package_probes.has_compiler()
    fake_program(tmp_path, "mycc", "exit 0")
    assert package_probes.has_compiler()
    monkeypatch.setenv("CC", str(tmp_path / "absent"))
    assert not package_probes.has_compiler()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("debian", "openssh-server openssh-client iproute2 util-linux redis-tools xz-utils chromium chromium-driver"),
        ("fedora", "openssh-server openssh-clients iproute util-linux redis xz chromium chromedriver"),
    ],
)
def test_what_the_tests_need_has_a_name_in_both_families(kind: str, expected: str) -> None:
    *found, fonts = package_names.names(package_names.TESTS, kind)
    assert found == expected.split()
    assert "dejavu" in fonts


def test_a_program_for_administrators_is_found_although_it_is_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, "sshd", "")
    monkeypatch.setenv("PATH", "/nowhere")
    assert package_probes.find_program("sshd", [str(tmp_path)]) == str(tmp_path / "sshd")
    assert package_probes.find_program("no-such-program") == ""


def test_a_server_that_systemd_would_start_is_masked_meanwhile_and_disabled_afterwards(tmp_path: Path) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    steps = packages.commands(["sshd"], "debian", prefix=("sudo", "-n"), update=True, root=tmp_path)
    words = [" ".join(argv[2:5]) for argv in steps]
    assert words == [
        "systemctl mask --runtime",
        "apt-get update -qq",
        "env DEBIAN_FRONTEND=noninteractive apt-get",
        "systemctl unmask --runtime",
        "systemctl disable ssh.service",
    ]
    assert steps[0][-2:] == steps[3][-2:] == steps[4][-2:] == ["ssh.service", "ssh.socket"]
    assert packages.admin_command(["sshd"], "debian", tmp_path).endswith(
        "openssh-server && sudo systemctl disable --now ssh.service ssh.socket"
    )


def test_without_systemd_there_is_no_server_to_keep_from_starting(tmp_path: Path) -> None:
    assert len(packages.commands(["sshd"], "debian", root=tmp_path)) == 1
    assert "systemctl" not in packages.admin_command(["sshd"], "debian", tmp_path)


class Machine:
    """A Debian whose programs are all fakes in one folder; every call of one is a line in the file `calls`."""

    def __init__(self, folder: Path) -> None:
        self.root = write_os_release(folder, "ID=debian\n")
        self.programs = folder / "programs"
        self.programs.mkdir()
        (self.programs / "env").symlink_to("/usr/bin/env")
        self._calls = folder / "calls"

    def has(self, name: str, body: str = "") -> None:
        fake_program(self.programs, name, f'echo "{name} $*" >> {self._calls}\n{body}')

    def has_fresh_lists(self) -> None:
        (self.root / "var/lib/apt/lists").mkdir(parents=True)
        (self.root / "var/lib/apt/lists/x_Packages").write_text("")

    @property
    def qemu(self) -> Path:
        return self.programs / f"qemu-system-{os.uname().machine}"

    @property
    def installs_qemu(self) -> str:
        """What an apt-get does that installs it."""
        return f'case "$*" in *install*) echo "#!/bin/sh" > {self.qemu}; /bin/chmod 755 {self.qemu};; esac'

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.programs))
    return made


@pytest.fixture
def root_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def plain_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("root_user")
def test_what_is_missing_is_installed_once_and_then_nothing_is_to_be_done(machine: Machine) -> None:
    machine.has("apt-get", machine.installs_qemu)
    said: list[str] = []
    assert packages.install(["qemu"], "none", say=said.append, root=machine.root) == ["qemu"]
    assert [line.split()[:2] for line in machine.calls] == [["apt-get", "update"], ["apt-get", "install"]]
    assert said[0] == "missing on this machine: qemu"
    assert said[1] == "running: apt-get update -qq"
    assert packages.install(["qemu"], "none", say=said.append, root=machine.root) == []
    assert packages.plan_of(["qemu"], "none", machine.root)["commands"] == []
    assert len(machine.calls) == 2


@pytest.mark.usefixtures("root_user")
def test_the_plan_is_exactly_what_is_then_run(machine: Machine) -> None:
    machine.has("apt-get", machine.installs_qemu)
    plan = packages.plan_of(["qemu"], "none", machine.root)
    assert (plan["missing"], plan["blocked"], machine.calls) == (["qemu"], "", [])
    said: list[str] = []
    packages.install(["qemu"], "none", say=said.append, root=machine.root)
    assert said[1:] == ["running: " + shlex.join(argv) for argv in plan["commands"]]


@pytest.mark.usefixtures("root_user")
def test_an_installation_that_fails_shows_command_and_last_lines_and_no_host(machine: Machine) -> None:
    machine.has_fresh_lists()
    machine.has("apt-get", "echo E: no such package; exit 100")
    with pytest.raises(LabError, match="status 100") as caught:
        packages.install(["qemu"], "none", say=lambda _: None, root=machine.root)
    assert (caught.value.host, caught.value.evidence) == ("", ("E: no such package",))
    assert "apt-get" in caught.value.command


@pytest.mark.usefixtures("root_user")
def test_an_installation_that_installs_nothing_is_an_error(machine: Machine) -> None:
    machine.has("apt-get")
    with pytest.raises(LabError, match="still missing after the installation: qemu"):
        packages.install(["qemu"], "none", say=lambda _: None, root=machine.root)


@pytest.mark.usefixtures("root_user")
def test_one_broken_source_does_not_stop_the_installation(machine: Machine) -> None:
    machine.has(
        "apt-get", f'case "$*" in *update*) echo E: one source failed; exit 100;; esac; {machine.installs_qemu}'
    )
    said: list[str] = []
    packages.install(["qemu"], "none", say=said.append, root=machine.root)
    assert any("E: one source failed" in text for text in said)


@pytest.mark.usefixtures("root_user")
def test_what_was_masked_is_unmasked_also_when_the_installation_fails(machine: Machine) -> None:
    machine.has_fresh_lists()
    (machine.root / "run/systemd/system").mkdir(parents=True)
    machine.has("apt-get", "exit 100")
    machine.has("systemctl")
    steps = packages.commands(["sshd"], "debian", root=machine.root)
    with pytest.raises(LabError):
        packages._run_all(steps, lambda _: None)
    assert [" ".join(line.split()[:2]) for line in machine.calls] == [
        "systemctl mask",
        "apt-get install",
        "systemctl unmask",
    ]


@pytest.mark.usefixtures("plain_user")
def test_sudo_is_used_where_it_is_allowed_and_asks_for_no_password(machine: Machine) -> None:
    machine.has_fresh_lists()
    machine.has("sudo", 'shift; [ "$1" = true ] || exec "$@"')
    machine.has("apt-get", machine.installs_qemu)
    packages.install(["qemu"], "sudo", say=lambda _: None, root=machine.root)
    assert [line.split()[:3] for line in machine.calls] == [
        ["sudo", "-n", "true"],
        ["sudo", "-n", "env"],
        ["apt-get", "install", "-y"],
    ]


@pytest.mark.usefixtures("plain_user")
@pytest.mark.parametrize(
    ("become", "sudo", "reason"),
    [
        ("none", "exit 0", "become: none forbids sudo"),
        ("sudo", "exit 1", "sudo -n asks for a password or refuses"),
        ("sudo", None, "there is no sudo"),
    ],
)
def test_who_may_not_install_gets_the_administrators_command_and_exit_code_2(
    machine: Machine, become: str, sudo: str | None, reason: str
) -> None:
    machine.has("apt-get")
    if sudo is not None:
        machine.has("sudo", sudo)
    plan = packages.plan_of(["qemu"], become, machine.root)
    assert plan["commands"] == []
    assert plan["admin"] == packages.admin_command(["qemu"], "debian", machine.root)
    with pytest.raises(MissingError) as caught:
        packages.install(["qemu"], become, root=machine.root)
    assert (caught.value.command, caught.value.exit_code) == (plan["admin"], 2)
    assert caught.value.message == f"missing: qemu; this user is not root, and {reason}"
    assert [line for line in machine.calls if "apt-get" in line] == []


@pytest.mark.usefixtures("plain_user")
def test_forbidden_sudo_is_not_even_tried(machine: Machine) -> None:
    machine.has("sudo")
    assert packages.root_prefix("none") is None
    assert machine.calls == []


def test_a_way_to_become_root_that_is_none_is_a_bug() -> None:
    with pytest.raises(ValueError, match="become 'su': one of sudo, none"):
        packages.root_prefix("su")


def test_a_python_that_is_not_the_distributions_cannot_be_mended_by_packages() -> None:
    reason, cure = packages.no_package_for(["venv", "cc"], "debian", "/opt/python")
    assert reason == "the Python in /opt/python is not the distribution's and lacks: venv"
    assert "PYTHON=/usr/bin/python3" in cure
    assert packages.no_package_for(["cc"], "debian", "/opt/python") == ("", "")
    assert packages.no_package_for(["venv", "cc"], "debian", "/usr") == ("", "")


def test_an_unknown_distribution_says_what_is_missing(machine: Machine) -> None:
    write_os_release(machine.root, "ID=arch\n")
    with pytest.raises(MissingError, match=r"missing: qemu; .*by hand") as caught:
        packages.install(["qemu"], "none", root=machine.root)
    assert caught.value.command == ""


@pytest.mark.usefixtures("root_user")
def test_lists_are_renewed_only_where_they_are_old_and_it_is_allowed(machine: Machine) -> None:
    machine.has("apt-get")
    assert packages.renewal("none", machine.root) == [["apt-get", "update", "-qq"]]
    machine.has_fresh_lists()
    assert packages.renewal("none", machine.root) == []


@pytest.mark.usefixtures("plain_user")
def test_lists_stay_old_where_this_user_may_not_renew_them(machine: Machine) -> None:
    machine.has("apt-get")
    packages.renew_lists("none", root=machine.root)
    assert machine.calls == []


def bootstrap(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "bench.host.packages", *words]
    env = {**os.environ, **environment}
    return subprocess.run(argv, capture_output=True, text=True, cwd=HERE, env=env, timeout=60)


def test_a_dry_run_says_its_commands_and_runs_none(tmp_path: Path) -> None:
    if package_names.family() not in ("debian", "ubuntu"):
        pytest.skip("needs an apt distribution")
    done = bootstrap(["bootstrap", "--dry-run"], CC=str(tmp_path / "absent"))
    assert done.returncode == 0, done.stderr
    assert "missing on this machine: cc" in done.stderr
    assert "would run: " in done.stderr
    assert done.stderr.rstrip().endswith("gcc libc6-dev")


def test_on_a_machine_that_has_all_that_tests_need_nothing_is_said() -> None:
    if package_probes.missing(package_names.TESTS):
        pytest.skip("something is missing here")
    done = bootstrap(["tests"], PATH="/usr/bin:/bin")
    assert (done.returncode, done.stderr) == (0, "")


def test_wrong_words_are_wrong_use() -> None:
    assert bootstrap(["everything"]).returncode == 2
    assert bootstrap([]).returncode == 2
