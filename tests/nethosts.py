"""Lab hosts for tests, on one machine: each in namespaces of its own, reached over a virtual wire by a real sshd.

A host has its own network, processes, name, mounts (/tmp, /run with /run/lock, /dev/shm, and the home with ~/.cache);
its end is the end of all its processes, as with a power cut. It shares the kernel with this machine: /sys, /dev/kvm,
the memory, and every other folder. No host reaches another. Needs root. Nothing stays, even when the tests are killed:
the first process of each namespace reads a pipe of ours, and what is mounted is mounted in there only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sshlab import READY_S, descendants, fingerprint, make_key, needs_pam, program

NETWORK = "10.77"
USER = "root"
HOME = "/root"
KERNELS = "/run/kernels"
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": HOME, "LC_ALL": "C"}
# $1 the host's folder, $2 kernels to show or "", $3 its name. SIGCHLD ignored: the first process buries orphans.
FIRST_PROCESS = f"""
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/sshd /run/host {KERNELS} "$1/home"
chmod 1777 /run/lock
if [ -n "$2" ]; then
    mkdir -p "$1/home/.cache/fpr-bench/kernels"
    for place in {KERNELS} "$1/home/.cache/fpr-bench/kernels"; do
        mount --bind "$2" "$place"
        mount -o remount,bind,ro "$place"
    done
fi
mount --rbind "$1" /run/host
mount --rbind "$1/home" {HOME}
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
hostname "$3"
ip link set lo up
trap '' CHLD
echo ready
exec cat > /dev/null
"""
SSHD = """
ListenAddress {address}
Port 22
HostKey /run/host/host_key
AuthorizedKeysFile /run/host/authorized
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM {pam}
PrintMotd no
LogLevel VERBOSE
"""


def _ip(*words: str) -> str:
    return subprocess.run([program("ip"), *words], check=True, capture_output=True, text=True).stdout


def _free_numbers(count: int) -> list[int]:
    """Third bytes of addresses that nobody here uses."""
    used = {
        address["local"].split(".")[2]
        for link in json.loads(_ip("-j", "-4", "addr"))
        for address in link["addr_info"]
        if address["local"].startswith(f"{NETWORK}.")
    }
    start = os.getpid() % 250
    numbers = [(start + step) % 250 for step in range(250)]
    return [number for number in numbers if str(number) not in used][:count]


class NetHost:
    """A lab host. identity: the key file that it lets in. known_hosts: its line. kernels: where its kernels are."""

    user = USER
    kernels = KERNELS

    def __init__(self, name: str, number: int, folder: Path, identity: Path, shown: Path | None) -> None:
        self.name = name
        self.identity = identity
        self.folder = folder
        self.address = f"{NETWORK}.{number}.2"
        self._number = number
        self._link = f"fpr{os.getpid()}-{number}"
        self._shown = shown
        self._holder: subprocess.Popen[bytes] | None = None
        self._machine: subprocess.Popen[bytes] | None = None
        self._sshd: subprocess.Popen[bytes] | None = None
        self._first = 0
        (folder / "home").mkdir(parents=True)
        key = make_key(folder / "host_key")
        self.fingerprint = fingerprint(key)
        self.known_hosts = f"{self.address} {' '.join(key.with_suffix('.pub').read_text().split()[:2])}\n"
        (folder / "authorized").write_text(identity.with_suffix(".pub").read_text())
        pam = "yes" if needs_pam() else "no"
        (folder / "sshd_config").write_text(SSHD.format(address=self.address, pam=pam))

    @property
    def home(self) -> Path:
        """Its home, as seen from here."""
        return self.folder / "home"

    def log(self) -> str:
        """What its sshd said."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def plug_in(self) -> None:
        """The wire: a network that exists as long as this host, whether it has power or not."""
        self._holder = subprocess.Popen(
            [program("unshare"), "--net", "sh", "-c", "echo ready; exec cat > /dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        _wait_ready(self._holder)
        inside = str(self._holder.pid)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", inside)
        _ip("addr", "add", f"{NETWORK}.{self._number}.1/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        self._in_network("ip", "addr", "add", f"{self.address}/30", "dev", "eth0")

    def power_on(self) -> None:
        """Starts it with an empty /tmp and /run, its home as it was, and sshd."""
        assert self._holder is not None
        assert self._machine is None, f"{self.name} has power"
        self._in_network("ip", "link", "set", "eth0", "up")
        script = ["sh", "-c", FIRST_PROCESS, "sh", str(self.folder), str(self._shown or ""), self.name]
        self._machine = subprocess.Popen(
            [
                *(program("nsenter"), f"--net=/proc/{self._holder.pid}/ns/net"),
                *(program("unshare"), "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc", *script),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=CLEAN,
        )
        _wait_ready(self._machine)
        (self._first,) = descendants(self._machine.pid)
        self.start_sshd()

    def power_off(self) -> None:
        """A power cut: nothing more goes over the wire, no connection is closed, all its processes are gone."""
        if self._machine is None:
            return
        self._in_network("ip", "link", "set", "eth0", "down")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._first, signal.SIGKILL)
        for process in (self._machine, self._sshd):
            if process is not None:
                process.wait()
                _close(process)
        self._machine = self._sshd = None

    def start_sshd(self) -> None:
        """Returns when it listens."""
        with (self.folder / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen(
                [*self._inside(), program("sshd"), "-D", "-e", "-f", "/run/host/sshd_config"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=CLEAN,
            )
        deadline = time.monotonic() + READY_S
        while True:
            try:
                socket.create_connection((self.address, 22), timeout=1).close()
                return
            except OSError:
                assert self._sshd.poll() is None, f"sshd of {self.name} did not start:\n{self.log()}"
                assert time.monotonic() < deadline, f"sshd of {self.name} does not answer:\n{self.log()}"
                time.sleep(0.05)

    def stop_sshd(self) -> None:
        """Its listener and its connections end; what they run goes on, without them."""
        for pid in self._pids():
            if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                os.kill(pid, signal.SIGKILL)
        if self._sshd is not None:
            self._sshd.wait()
        self._sshd = None

    def processes(self) -> list[str]:
        """Command lines of what runs on it, without its first process; nothing when it has no power."""
        words = (_command_line(pid) for pid in self._pids())
        return [line for line in words if line]

    def run(self, argv: Sequence[str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs a program on it as its user, not over SSH."""
        return subprocess.run([*self._inside(), *argv], input=stdin, capture_output=True, env=CLEAN, check=False)

    def unplug(self) -> None:
        """Removes it altogether; harmless in any state."""
        if self._holder is None:
            return
        self.power_off()
        subprocess.run([program("ip"), "link", "del", self._link], capture_output=True, check=False)
        self._holder.kill()
        self._holder.wait()
        _close(self._holder)
        self._holder = None

    def _pids(self) -> list[int]:
        """As this machine counts them."""
        if self._machine is None:
            return []
        own = Path(f"/proc/{self._first}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (entry / "ns/pid").readlink() == own and int(entry.name) != self._first:
                    found.append(int(entry.name))
        return found

    def _inside(self) -> list[str]:
        assert self._machine is not None, f"{self.name} has no power"
        kinds = ("--net", "--mount", "--uts", "--ipc", "--pid")
        return [program("nsenter"), f"--target={self._first}", *kinds, "--"]

    def _in_network(self, *argv: str) -> None:
        assert self._holder is not None
        net = f"--net=/proc/{self._holder.pid}/ns/net"
        subprocess.run([program("nsenter"), net, *argv], check=True, capture_output=True)


def _wait_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", "a lab host for tests could not be made (is this a container?)"


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace").strip()


@contextlib.contextmanager
def net_hosts(count: int, folder: Path, kernels: Path | None = None) -> Iterator[list[NetHost]]:
    """So many running lab hosts, called lab1, lab2, …; they are gone at the end of the block, whatever happened in it.

    kernels: a folder of guest kernels of this machine; each host has it, read-only, as its own
    ~/.cache/fpr-bench/kernels and at `NetHost.kernels`.
    """
    if os.geteuid() != 0:
        pytest.fail("lab hosts for tests are made of namespaces, for which root is needed: run these tests as root")
    identity = make_key(folder / "id_hosts")
    hosts: list[NetHost] = []
    try:
        for index, number in enumerate(_free_numbers(count), 1):
            hosts.append(NetHost(f"lab{index}", number, folder / f"lab{index}", identity, kernels))
            hosts[-1].plug_in()
            hosts[-1].power_on()
        yield hosts
    finally:
        for host in hosts:
            host.unplug()
