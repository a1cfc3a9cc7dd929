"""What goes wrong with lab hosts, over real sshds: each has its message, says what to do, and has its exit code."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleetlab import SHORT, Fleet, fleet, left_on, qemus
from nethosts import NetHost
from sshlab import fingerprint, make_key
from waiting import wait_for

from bench.controller.cargo import build_cargo
from bench.controller.fleet import SshTransport
from bench.controller.inventory import Host
from bench.controller.keeper import Keeper
from bench.controller.lab import open_lab
from bench.errors import LabError
from bench.wire.cache import cache_folder
from bench.wire.job import Hold

pytestmark = [pytest.mark.guest, pytest.mark.fleet]

RUN = ("run", "quick", "--blocks", "1", "--out", "out", *SHORT)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(2, tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture
def host(lab: Fleet) -> Iterator[NetHost]:
    """lab1, as it was before at the end of each test."""
    before = left_on(lab.hosts[0])
    lab.accept(*lab.hosts)
    lab.write_hosts()
    yield lab.hosts[0]
    assert left_on(lab.hosts[0]) == before


def refused(lab: Fleet, *argv: str) -> tuple[int, str]:
    """Exit code and stderr of a run that must not have begun."""
    code, _, err = lab.bench(*(argv or (*RUN, "--host", "lab1")), deadline_s=90)
    assert not (lab.cwd / "out").exists(), err
    return code, err


def other_key(host: NetHost, folder: Path) -> str:
    """A known_hosts line for the host with a key that is not its own."""
    kind, text = make_key(folder / "other").with_suffix(".pub").read_text().split()[:2]
    return f"{host.address} {kind} {text}\n"


def test_a_changed_key_is_refused_with_both_fingerprints(lab: Fleet, host: NetHost, tmp_path: Path) -> None:
    (lab.home / ".ssh/known_hosts").write_text(other_key(host, tmp_path))
    code, err = refused(lab)
    assert code == 5
    assert "host lab1: " in err
    assert host.fingerprint in err
    assert fingerprint(tmp_path / "other") in err
    assert "ssh-keygen -R" in err


def test_an_unknown_key_is_refused_with_the_command_that_accepts_it(lab: Fleet, host: NetHost) -> None:
    lab.accept()
    code, err = refused(lab)
    assert code == 5
    assert host.fingerprint in err
    (command,) = [line for line in err.splitlines() if "ssh-keyscan" in line]
    scan = command[command.index("ssh-keyscan") :].split(">>")[0].split()
    found = subprocess.run(scan, check=True, capture_output=True, text=True).stdout
    (lab.home / ".ssh/known_hosts").write_text(found)
    code, out, err = lab.bench("tune", "show", "lab1", "--only", "ksm")
    assert (code, "ksm" in out) == (0, True), err


def test_a_fingerprint_in_hosts_yaml_is_as_good_as_known_hosts(lab: Fleet, host: NetHost) -> None:
    lab.accept()
    lab.write_hosts(lab1={"fingerprint": host.fingerprint})
    code, out, err = lab.bench("tune", "show", "lab1", "--only", "ksm")
    assert (code, "ksm" in out) == (0, True), err


def test_a_refused_login_names_the_user_the_key_and_what_to_do(lab: Fleet, host: NetHost, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    lab.write_hosts(lab1={"identity": str(stranger)})
    code, err = refused(lab)
    assert code == 5
    assert "root" in err
    assert str(stranger) in err
    assert "ssh-copy-id" in err


@pytest.fixture
def mounted(host: NetHost) -> Iterator[Callable[..., None]]:
    """Mounts on the host, gone afterwards."""
    places: list[str] = []

    def mount(*words: str) -> None:
        done = host.run(["mount", *words])
        assert done.returncode == 0, done.stderr
        places.append(words[-1])

    yield mount
    for place in places:
        host.run(["umount", place])
        host.run(["rmdir", place])


def test_a_missing_qemu_is_said_with_the_command_that_installs_it(
    lab: Fleet, host: NetHost, mounted: Callable[..., None]
) -> None:
    mounted("--bind", "/dev/null", "/usr/bin/qemu-system-x86_64")
    code, err = refused(lab)
    assert (code, "host lab1: QEMU is not installed" in err, "bench prepare" in err) == (2, True, True), err


def test_a_full_scratch_disk_is_said_with_what_is_needed_and_what_is_there(
    lab: Fleet, host: NetHost, mounted: Callable[..., None]
) -> None:
    assert host.run(["mkdir", "/tmp/small"]).returncode == 0
    mounted("-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", "/tmp/small")
    lab.write_hosts(lab1={"scratch": "/tmp/small"})
    code, err = refused(lab)
    assert code == 5
    assert "No space left on device" in err
    assert "scratch: in hosts.yaml" in err


@pytest.fixture
def busy(lab: Fleet, host: NetHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    """Somebody else's bench has lab1."""
    monkeypatch.setenv("HOME", str(lab.home))
    entry = Host(name="lab1", address=host.address, user=host.user, identity=str(host.identity))

    def connect(chosen: Host) -> SshTransport:
        return SshTransport(chosen.name, chosen.address, user=chosen.user, identity=chosen.identity)

    with open_lab(entry, build_cargo(cache_folder()), connect) as other:
        keeper = other.session.hold(Hold("nightly", "ann@desk"), lambda _: None)
        yield keeper
        keeper.release(10)


@pytest.mark.usefixtures("busy")
def test_a_host_on_which_a_bench_runs_names_its_holder(lab: Fleet) -> None:
    code, err = refused(lab)
    assert code == 5
    assert "held by ann@desk for run nightly since" in err
    assert "--wait" in err


def test_a_run_that_waits_begins_when_the_host_is_free(lab: Fleet, busy: Keeper) -> None:
    process = lab.start(*RUN, "--host", "lab1", "--wait", "--dry-run")
    line = next(line for line in process.stderr if "waiting for lab1" in line)
    assert "held by ann@desk" in line
    assert process.poll() is None
    busy.release(10)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "qemu-system" in out) == (0, True), err


def test_one_bad_host_does_not_keep_the_others_from_their_results(
    lab: Fleet, host: NetHost, mounted: Callable[..., None]
) -> None:
    """QEMU is missing on lab1; lab2 is measured, the run says 5, and lab1's boots are listed.

    The guest kernel and its modules are carried to the hosts.
    """
    mounted("--bind", "/dev/null", "/usr/bin/qemu-system-x86_64")
    (kernel,) = (cache_folder() / "kernels").glob("*/boot/vmlinuz-*")
    modules = kernel.parents[1] / "lib/modules" / kernel.name.partition("-")[2]
    arm = json.dumps({"name": "carried", "kernel": f"push:{kernel}", "modules": f"push:{modules}"})
    plan = ("--set", f"arms=[{arm}]", "--set", "reference=carried", "--set", "parallel=2")
    code, out, err = lab.bench(*RUN, *plan, "--out", "partial")
    assert code == 5, err
    (boot,) = lab.boots("partial")
    assert (boot["status"], boot["guest"]["kernel"]) == ("ok", kernel.name.partition("-")[2])
    (path,) = [boot["argv"][at + 1] for at, word in enumerate(boot["argv"]) if word == "-kernel"]
    assert re.fullmatch(r"/root/\.cache/fpr-bench/kernel-[0-9a-f]{16}", path)
    assert out.splitlines()[-1] == "partial"
    assert {boot["host"] for boot in lab.boots("partial")} == {"lab2"}
    (lost,) = lab.events("partial", "lost")
    assert (lost["host"], len(lost["unfinished"])) == ("lab1", 1)
    assert "QEMU is not installed" in lost["reason"]
    assert [line for machine in lab.hosts for line in qemus(machine)] == []


def test_a_power_cut_is_noticed_and_the_host_is_lost(lab: Fleet) -> None:
    """Nothing comes over the wire any more, not even the end of the connection."""
    process = lab.start(*RUN, "--host", "lab2", "--out", "cut")
    wait_for(lambda: qemus(lab.hosts[1]), 90, "a guest on lab2")
    lab.hosts[1].power_off()
    _, err = process.communicate(timeout=90)
    lab.hosts[1].power_on()
    assert process.returncode == 5, err
    assert "host lab2: " in err
    assert len(lab.events("cut", "lost")) == 1


def test_ctrl_c_ends_the_guests_of_every_host_and_gives_the_hosts_back(lab: Fleet) -> None:
    process = lab.start(*RUN[:-2], "--set", "parallel=2", "--out", "stopped")
    for machine in lab.hosts:
        wait_for(functools.partial(qemus, machine), 90, f"a guest on {machine.name}")
    os.kill(process.pid, 2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "bench run --resume stopped" in err
    for machine in lab.hosts:
        left = left_on(machine)
        assert left["processes"] == left["locks"] == left["temporary"] == [], machine.name


def test_no_host_at_all_is_one_error_with_every_reason(lab: Fleet) -> None:
    lab.accept()
    lab.write_hosts()
    code, err = refused(lab, *RUN)
    lab.accept(*lab.hosts)
    assert code == 5
    assert "no host can be used" in err
    assert "host lab1:" in err
    assert "host lab2:" in err


def test_the_second_connection_sends_no_byte_of_bundle_or_image(lab: Fleet, host: NetHost) -> None:
    entry = Host(name="lab1", address=host.address, user=host.user, identity=str(host.identity))

    def connect(chosen: Host) -> SshTransport:
        return SshTransport(
            chosen.name, chosen.address, user=chosen.user, identity=chosen.identity, fingerprint=host.fingerprint
        )

    for file in (host.home / ".cache/fpr-bench").glob("[fg]*"):
        file.unlink()
    cargo = build_cargo(cache_folder())
    with open_lab(entry, cargo, connect) as first:
        assert first.stored.sent == (cargo.bundle.name, cargo.image.name)
        assert first.stored.sent_bytes == cargo.bundle.stat().st_size + cargo.image.stat().st_size
    with open_lab(entry, cargo, connect) as second:
        assert (second.stored.sent, second.stored.sent_bytes) == ((), 0)


def test_a_wrong_port_is_no_hang(lab: Fleet, host: NetHost) -> None:
    with pytest.raises(LabError, match="refused"):
        SshTransport("lab1", host.address, port=1, user=host.user, identity=str(host.identity)).open()
