"""Real SSH servers for tests: sshd as a child process on 127.0.0.1, with keys, files and a home of its own."""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ADDRESS = "127.0.0.1"
READY_S = 15.0
# OpenSSH wants it for its separated processes when root starts it; the package's service makes it at boot. It stays: a
# test in another environment, run beside this one, may have a server that needs it.
SEPARATION = Path("/run/sshd")


def program(name: str) -> str:
    """Its path. A test that needs it fails where it is missing, and says what to install."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not found:
        package = "openssh-server" if name == "sshd" else "openssh-client"
        pytest.fail(f"{name} is missing: apt-get install {package}  (or: dnf install {package})")
    return found


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair: path and path.pub. A new one, but of RSA, which takes long, always the same."""
    private, public = _rsa() if kind == "rsa" else _pair(kind, passphrase)
    path.touch(mode=0o600)
    path.write_bytes(private)
    path.with_suffix(".pub").write_bytes(public)
    return path


def _pair(kind: str, passphrase: str = "") -> tuple[bytes, bytes]:
    size = ["-b", "2048"] if kind == "rsa" else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        subprocess.run([program("ssh-keygen"), "-q", "-t", kind, *size, "-N", passphrase, "-f", str(path)], check=True)
        return path.read_bytes(), path.with_suffix(".pub").read_bytes()


@functools.cache
def _rsa() -> tuple[bytes, bytes]:
    return _pair("rsa")


def fingerprint(key: Path) -> str:
    """What ssh-keygen says."""
    words = subprocess.run([program("ssh-keygen"), "-lf", str(key)], check=True, capture_output=True, text=True).stdout
    return words.split()[1]


def _settings(pam: bool) -> list[str]:
    return [
        "PidFile none",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        f"UsePAM {'yes' if pam else 'no'}",
        "PrintMotd no",
        "LogLevel VERBOSE",
        "AllowTcpForwarding yes",
    ]


def needs_pam() -> bool:
    """Without PAM, sshd lets nobody in whose password is locked, not even with a key."""
    try:
        lines = Path("/etc/shadow").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{getpass.getuser()}:!") for line in lines)


class Sshd:
    """A server that is not running yet. kinds: the types of its host keys. accepts: public keys that are let in.

    address: where it listens. settings: more lines of sshd_config(5).
    """

    def __init__(
        self,
        folder: Path,
        accepts: Sequence[Path],
        kinds: Sequence[str] = ("ed25519",),
        settings: Sequence[str] = (),
        address: str = ADDRESS,
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.settings = settings
        self.address = address
        self.kinds = kinds
        self.accept(accepts)
        for kind in kinds:
            make_key(self.host_key(kind), kind)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.bind((address, 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def host_key(self, kind: str = "ed25519") -> Path:
        return self.folder / f"host_{kind}"

    def known(self, kind: str = "ed25519") -> str:
        """Its line for known_hosts."""
        key = self.host_key(kind).with_suffix(".pub").read_text().split()[:2]
        return f"[{self.address}]:{self.port} {' '.join(key)}\n"

    def accept(self, keys: Sequence[Path]) -> None:
        (self.folder / "authorized").write_text("".join(key.with_suffix(".pub").read_text() for key in keys))

    def start(self) -> None:
        lines = [f"Port {self.port}", f"AuthorizedKeysFile {self.folder}/authorized", *_settings(needs_pam())]
        lines += [f"ListenAddress {self.address}", *self.settings]
        lines += [f"HostKey {self.host_key(kind)}" for kind in self.kinds]
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program("sshd"), "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + READY_S
        while "Server listening on" not in self.log():
            assert self.process.poll() is None, f"sshd did not start:\n{self.log()}"
            assert time.monotonic() < deadline, f"sshd does not listen:\n{self.log()}"
            time.sleep(0.02)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def sessions(self) -> list[int]:
        """The server's processes for connections: not the listener, not what they run."""
        assert self.process is not None
        return [pid for pid in descendants(self.process.pid) if _name(pid).startswith("sshd")]

    def ran(self) -> list[int]:
        """What was started over this server and still runs, wherever its parents went."""
        mark = f"{self.address} {self.port}\0"
        return [pid for pid in _pids() if mark in _read(pid, "environ") and not _name(pid).startswith("sshd")]

    def signal_sessions(self, number: signal.Signals) -> None:
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Ends the server, its connections and what runs over them."""
        if self.process is None:
            return
        for pid in [*descendants(self.process.pid), *self.ran(), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _name(pid: int) -> str:
    return _read(pid, "comm").strip()


def descendants(pid: int) -> list[int]:
    """Its children and theirs."""
    parents = {child: _read(child, "stat").rpartition(") ")[2].split() for child in _pids()}
    found = [pid]
    for parent in found:
        found += [child for child, fields in parents.items() if fields[1:2] == [str(parent)]]
    return found[1:]


@dataclass
class SshLab:
    """A home with one key, and servers that let it in."""

    folder: Path
    home: Path
    identity: Path
    servers: list[Sshd]

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh/known_hosts"

    def server(
        self,
        name: str = "sshd",
        kinds: Sequence[str] = ("ed25519",),
        known: bool = True,
        settings: Sequence[str] = (),
        address: str = ADDRESS,
    ) -> Sshd:
        """A running server. known: whether the user's known_hosts has its first key. The rest: as of Sshd."""
        server = Sshd(self.folder / name, [self.identity], kinds, settings, address)
        self.servers.append(server)
        server.start()
        if known:
            with self.known_hosts.open("a") as file:
                file.write(server.known(kinds[0]))
        return server


@contextlib.contextmanager
def ssh_lab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshLab]:
    """$HOME in `folder`, no agent; servers are gone at the end."""
    if os.geteuid() == 0:
        SEPARATION.mkdir(mode=0o755, exist_ok=True)
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    lab = SshLab(folder, home, make_key(folder / "id_test"), [])
    try:
        yield lab
    finally:
        for server in lab.servers:
            server.stop()
