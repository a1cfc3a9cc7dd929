"""The lab hosts that the tests of several hosts run on: what each has for itself, and that nothing of them stays."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nethosts import NetHost, net_hosts
from waiting import wait_for

from bench.controller.fleet import SshTransport
from bench.errors import LabError

pytestmark = [pytest.mark.guest, pytest.mark.fleet]


def state() -> dict[str, object]:
    """Of this machine: what must be as before."""
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    return {
        "links": sorted(line.split(":")[1].strip() for line in links.splitlines()),
        "named": subprocess.run(["ip", "netns", "list"], check=True, capture_output=True).stdout,
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "name": os.uname().nodename,
        "run": sorted(path.name for path in Path("/run").iterdir()),
        "spaces": network_namespaces(),
    }


def network_namespaces() -> set[Path]:
    """Those that a process is in."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        with contextlib.suppress(OSError):
            found.add(link.readlink())
    return found


def stands(transport: SshTransport) -> bool:
    return transport.connected


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NetHost]]:
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "kernels/6.1").mkdir(parents=True)
    (folder / "kernels/6.1/vmlinuz").write_text("a kernel")
    with net_hosts(3, folder, folder / "kernels") as made:
        yield made


def over_ssh(host: NetHost) -> SshTransport:
    transport = SshTransport(
        host.name,
        host.address,
        user=host.user,
        identity=str(host.identity),
        fingerprint=host.fingerprint,
        heartbeat_s=0.5,
        silence_s=2.0,
    )
    transport.open()
    return transport


def says(host: NetHost, *argv: str) -> str:
    transport = over_ssh(host)
    try:
        talk = transport.start(argv)
        lines = b"".join(talk.lines()).decode().strip()
        assert talk.end(5) == 0, talk.log
        return lines
    finally:
        transport.close()


def test_each_host_has_its_own_name_and_address(hosts: list[NetHost]) -> None:
    assert [says(host, "hostname") for host in hosts] == ["lab1", "lab2", "lab3"]
    assert len({host.address for host in hosts}) == 3


def test_each_host_has_its_own_temporary_files_locks_and_home(hosts: list[NetHost]) -> None:
    first, second, _ = hosts
    for folder in ("/tmp", "/run/lock", "/dev/shm", "$HOME", "$HOME/.cache"):
        says(first, "sh", "-c", f"mkdir -p {folder} && touch {folder}/mark")
        assert says(first, "sh", "-c", f"ls {folder}").split().count("mark") == 1
        assert "mark" not in says(second, "sh", "-c", f"mkdir -p {folder}; ls {folder}").split()
    assert not any(Path(folder, "mark").exists() for folder in ("/tmp", "/run/lock", "/dev/shm", "/root"))


def test_the_kernels_of_this_machine_are_there_and_cannot_be_changed(hosts: list[NetHost]) -> None:
    for place in ("/root/.cache/fpr-bench/kernels", hosts[0].kernels):
        assert says(hosts[0], "cat", f"{place}/6.1/vmlinuz") == "a kernel"
        assert hosts[0].run(["touch", f"{place}/6.1/vmlinuz"]).returncode != 0


def test_each_host_sees_its_own_processes_only(hosts: list[NetHost]) -> None:
    first, second, _ = hosts
    transport = over_ssh(first)
    talk = transport.start(["sh", "-c", "echo ready; exec cat"])
    next(talk.lines())
    # The shell has said so before it becomes cat.
    wait_for(lambda: "cat" in first.processes(), 5, "cat")
    assert "cat" not in second.processes()
    assert b"pytest" not in first.run(["cat", "/proc/1/cmdline", "/proc/self/cmdline"]).stdout
    assert talk.end(5) == 0
    transport.close()


def test_a_program_is_run_on_the_host_with_input_and_status(hosts: list[NetHost]) -> None:
    done = hosts[0].run(["sh", "-c", "cat; hostname; exit 3"], b"in ")
    assert (done.returncode, done.stdout) == (3, b"in lab1\n")


def test_a_stopped_sshd_leaves_what_it_ran_and_can_be_started_again(hosts: list[NetHost]) -> None:
    host = hosts[1]
    transport = over_ssh(host)
    talk = transport.start(["sh", "-c", "echo ready; exec sleep 30"])
    lines = talk.lines()
    next(lines)
    # The shell has said so before it becomes sleep.
    wait_for(lambda: "sleep 30" in host.processes(), 5, "sleep")
    host.stop_sshd()
    assert list(lines) == []
    assert not stands(transport)
    assert host.processes() == ["sleep 30"]
    with pytest.raises(LabError, match="Connection refused"):
        over_ssh(host)
    host.start_sshd()
    assert says(host, "hostname") == "lab2"
    transport.close()


def test_a_power_cut_ends_everything_on_the_host_and_says_nothing(hosts: list[NetHost]) -> None:
    host = hosts[2]
    (host.home / "kept").write_text("on disk")
    host.run(["touch", "/tmp/lost"])
    transport = over_ssh(host)
    talk = transport.start(["sh", "-c", "echo ready; exec sleep 60"])
    lines = talk.lines()
    next(lines)
    host.power_off()
    before = time.monotonic()
    assert host.processes() == []
    assert stands(transport)
    assert list(lines) == []
    assert 1 < time.monotonic() - before < 10
    assert not stands(transport)
    transport.close()
    host.power_on()
    assert host.run(["cat", "/root/kept"]).stdout == b"on disk"
    assert host.run(["ls", "/tmp"]).stdout == b""
    assert says(host, "hostname") == "lab3"


def test_nothing_stays_of_them_not_even_when_a_test_fails(tmp_path: Path) -> None:
    def failing() -> None:
        with net_hosts(2, tmp_path) as made:
            made[0].run(["sh", "-c", "sleep 60 > /dev/null 2>&1 &"])
            assert "sleep 60" in made[0].processes()
            made[1].power_off()
            raise ZeroDivisionError

    before = state()
    with pytest.raises(ZeroDivisionError):
        failing()
    assert state() == before


def test_nothing_stays_of_them_when_the_tests_are_killed(tmp_path: Path) -> None:
    before = state()
    script = (
        "import sys, pathlib\nfrom nethosts import net_hosts\n"
        "with net_hosts(1, pathlib.Path(sys.argv[1])): print('ready', flush=True); sys.stdin.read()\n"
    )
    path = str(Path(__file__).resolve().parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"ready\n"
        assert state() != before
        tests.kill()
    deadline = time.monotonic() + 10
    while state() != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state() == before
