"""The road over SSH, with a real sshd at its far end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from host_side import gone_within
from sshlab import ADDRESS, Sshd, SshLab, fingerprint, make_key, program, ssh_lab

from bench.controller.fleet import SshTransport, transport_for
from bench.controller.inventory import Host
from bench.controller.push import push
from bench.controller.sshchannel import KEPT_LOG_BYTES, SshConversation
from bench.controller.transport import LocalTransport
from bench.errors import LabError

PYTHON = sys.executable
SESAME = "open sesame"
# A process that waits for its input to close, as the host side does.
WAITS = ["sh", "-c", "echo $$; cat > /dev/null"]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshLab]:
    before = set(threading.enumerate())
    with ssh_lab(tmp_path, monkeypatch) as made:
        yield made
        left = [pid for server in made.servers if server.process for pid in server.ran() if not gone_within(pid, 5)]
    assert left == []
    assert set(threading.enumerate()) <= before


@pytest.fixture
def opened() -> Iterator[list[SshTransport]]:
    made: list[SshTransport] = []
    yield made
    for transport in made:
        transport.close()


@pytest.fixture
def server(lab: SshLab) -> Sshd:
    return lab.server()


class Connector:
    """Makes transports to a server as hosts.yaml would describe it; they are closed at the end."""

    def __init__(self, lab: SshLab, opened: list[SshTransport]) -> None:
        self.lab = lab
        self.opened = opened

    def __call__(self, server: Sshd, **changes: Any) -> SshTransport:
        given = {"address": ADDRESS, "port": server.port, "identity": str(self.lab.identity)} | changes
        self.opened.append(SshTransport("lab1", **given))
        return self.opened[-1]

    def open(self, server: Sshd, **changes: Any) -> SshTransport:
        transport = self(server, **changes)
        transport.open()
        return transport

    def refused(self, server: Sshd, **changes: Any) -> LabError:
        transport = self(server, **changes)
        with pytest.raises(LabError) as caught:
            transport.open()
        assert not transport.connected
        assert caught.value.host == "lab1"
        return caught.value


@pytest.fixture
def to(lab: SshLab, opened: list[SshTransport]) -> Connector:
    return Connector(lab, opened)


# What a conversation carries.


def test_lines_come_while_the_process_still_runs_and_answers_go_back(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(["sh", "-c", "echo ready; read word; echo got $word; exit 3"])
    lines = talk.lines()
    assert next(lines) == b"ready\n"
    talk.send(b"this\n")
    assert list(lines) == [b"got this\n"]
    assert talk.end(5) == 3


def test_megabytes_of_any_bytes_go_both_ways_and_end_with_the_input(to: Connector, server: Sshd) -> None:
    sent = bytes(range(256)) * 4096 * 5
    talk = to.open(server).start(["cat"])

    def feed() -> None:
        talk.send(sent)
        talk.close_input()

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert b"".join(talk.lines()) == sent
    feeder.join()
    assert talk.end(5) == 0


def test_a_line_of_several_megabytes_is_one_line_and_the_last_needs_no_newline(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start([PYTHON, "-c", "print('x' * 6_000_000); print('y', end='')"])
    lines = list(talk.lines())
    assert [len(line) for line in lines] == [6_000_001, 1]
    assert talk.end(5) == 0


def test_lines_may_be_read_in_portions(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(["printf", "1\\n2\\n3"])
    assert next(talk.lines()) == b"1\n"
    assert list(talk.lines()) == [b"2\n", b"3"]


def test_arguments_arrive_as_they_are(to: Connector, server: Sshd) -> None:
    words = ["a b", "$HOME", "'", '"', "*", ";", "", "é\n", "a!b", "\\", "a\\'", "~", "\udcff"]
    talk = to.open(server).start([PYTHON, "-c", "import sys; print(ascii(sys.argv[1:]))", *words])
    assert list(talk.lines()) == [ascii(words).encode() + b"\n"]


def test_stderr_is_kept_apart_and_whole_when_the_lines_have_ended(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(["sh", "-c", "echo out; echo 'no \\377 UTF-8' >&2; exit 7"])
    assert list(talk.lines()) == [b"out\n"]
    assert talk.log == "no \ufffd UTF-8\n"
    assert talk.end(5) == 7


def test_much_on_stderr_blocks_nothing_and_its_end_is_kept(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(
        [PYTHON, "-c", "import sys; sys.stderr.write('x' * 6_000_000 + 'last words'); print('done')"]
    )
    assert list(talk.lines()) == [b"done\n"]
    assert len(talk.log) == KEPT_LOG_BYTES
    assert talk.log.endswith("last words")


def test_two_conversations_go_over_one_connection_at_the_same_time(to: Connector, server: Sshd) -> None:
    transport = to.open(server)
    keeper, boot = transport.start(WAITS), transport.start(["echo", "booted"])
    assert list(boot.lines()) == [b"booted\n"]
    assert boot.end(5) == 0
    assert gone_within(int(next(keeper.lines())), 0) is False
    assert keeper.end(5) == 0
    assert len(server.sessions()) in (1, 2)  # of one connection: a user that is not root has two processes


def test_a_missing_python_is_exit_status_127_with_the_shells_words(to: Connector, server: Sshd) -> None:
    transport = to.open(server, python="/nowhere/python3")
    talk = transport.start([transport.python, "-c", "pass"])
    assert list(talk.lines()) == []
    assert talk.end(5) == 127
    assert "/nowhere/python3" in talk.log


def test_a_process_ended_by_a_signal_has_no_status(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(["sh", "-c", "kill -9 $$"])
    assert list(talk.lines()) == []
    assert talk.end(5) in (None, 128 + signal.SIGKILL)  # the latter from a login shell that stays beside it


def test_input_closed_by_another_thread_ends_a_send_that_nobody_reads(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(["sleep", "1"])
    timer = threading.Timer(0.3, talk.close_input)
    timer.start()
    with pytest.raises(OSError, match="stdin is closed"):
        talk.send(bytes(50_000_000))
    talk.close_input()
    with pytest.raises(OSError, match="stdin is closed"):
        talk.send(b"more")


def test_a_send_to_a_process_that_is_gone_is_an_os_error(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(["true"])
    assert list(talk.lines()) == []
    talk.end(5)
    with pytest.raises(OSError, match="closed"):
        talk.send(b"hello\n")


def test_a_process_that_does_not_end_is_waited_for_no_longer_than_told(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start(["sh", "-c", "while echo noise; do sleep 0.1; done"])
    next(talk.lines())
    before = time.monotonic()
    assert talk.end(0.5) is None
    assert time.monotonic() - before < 5


# The login shell.


def as_login_shell(command: str) -> tuple[str, ...]:
    """Settings of a server whose users have another login shell than they have."""
    return (f"ForceCommand {command}",)


@pytest.mark.parametrize("noise", ["printf '\\n* no newline: '", "seq 30000; echo warned >&2"])
def test_what_the_shells_start_files_print_is_no_output_of_the_program(to: Connector, lab: SshLab, noise: str) -> None:
    (lab.home / ".bashrc").write_text(noise + "\n")
    # As for a user whose login shell is bash: it reads .bashrc when it finds itself run by sshd, not by another shell.
    shell = as_login_shell(f'SHLVL=0 HOME={lab.home} exec bash -c "$SSH_ORIGINAL_COMMAND"')
    transport = to.open(lab.server(settings=shell), python=PYTHON)
    assert list(transport.start(["echo", "out"]).lines()) == [b"out\n"]
    file = lab.folder / "guest-1.cpio"
    file.write_bytes(b"content")
    stored = push(transport, [file], str(lab.folder / "a cache's é"))
    assert Path(stored.path(file)).read_bytes() == b"content"


@pytest.mark.parametrize("instead", ["echo This account is closed.; exit 1", "echo This account is closed. >&2"])
def test_a_host_that_runs_something_else_says_what_that_said(to: Connector, lab: SshLab, instead: str) -> None:
    transport = to.open(lab.server(settings=as_login_shell(instead)))
    with pytest.raises(LabError, match="its login shell does not run what it is told") as caught:
        transport.start(WAITS)
    assert caught.value.evidence == ("This account is closed.",)


def test_a_host_that_waits_for_something_else_is_not_waited_for(
    to: Connector, lab: SshLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for a loaded machine to have printed what it asks; the far side never ends by itself.
    monkeypatch.setattr("bench.controller.fleet.SHELL_S", 5)
    got = lab.folder / "got"
    transport = to.open(lab.server(settings=as_login_shell(f"echo Choose 1 or 2:; cat > {got}")))
    with pytest.raises(LabError) as caught:
        transport.start(WAITS).send(b"rm -r everything\n")
    assert caught.value.evidence == ("Choose 1 or 2:",)
    assert got.read_bytes() == b""


def test_a_line_without_an_end_is_not_kept_for_ever(to: Connector, server: Sshd) -> None:
    talk = to.open(server).start([PYTHON, "-c", "print('short'); print('x' * 3_000_000); print('late')"])
    assert isinstance(talk, SshConversation)
    talk.line_bytes = 1_000_000
    assert list(talk.lines()) == [b"short\n"]
    assert "more than 1000000 bytes without a newline" in talk.log
    talk.end(5)


# Beats.


def test_a_beaten_conversation_gets_newlines_after_its_request_while_the_caller_only_reads(
    to: Connector, server: Sshd
) -> None:
    talk = to.open(server, heartbeat_s=0.1).start(["head", "-n", "4"], beat=True)
    talk.send(b"request\n")
    assert list(talk.lines()) == [b"request\n", b"\n", b"\n", b"\n"]


def test_no_beat_comes_before_the_request_nor_into_a_conversation_that_wants_none(to: Connector, server: Sshd) -> None:
    transport = to.open(server, heartbeat_s=0.05)
    patient, plain = transport.start(["head", "-n", "2"], beat=True), transport.start(["cat"])
    plain.send(b"file ")
    time.sleep(0.5)  # several beats
    plain.send(b"contents")
    plain.close_input()
    assert list(plain.lines()) == [b"file contents"]
    patient.send(b"request\n")
    assert list(patient.lines()) == [b"request\n", b"\n"]


def test_beats_never_come_into_the_middle_of_a_send(to: Connector, server: Sshd) -> None:
    request = b"x" * 4_000_000 + b"\n"
    count = "import sys; print(*(len(line) for line in sys.stdin.buffer if line != b'\\n'))"
    talk = to.open(server, heartbeat_s=0.002).start([PYTHON, "-c", count], beat=True)
    for _ in range(3):
        talk.send(request)
    talk.close_input()
    assert list(talk.lines()) == [b"4000001 4000001 4000001\n"]


# Which host it is.


def test_an_unknown_key_is_refused_with_its_fingerprint_and_the_command_that_accepts_it(
    to: Connector, lab: SshLab
) -> None:
    server = lab.server(known=False)
    error = str(to.refused(server))
    shown = fingerprint(server.host_key())
    assert f"ssh-ed25519 {shown}" in error
    assert f"ssh-keyscan -t ed25519 -p {server.port} {ADDRESS} >> ~/.ssh/known_hosts" in error
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in error
    assert f"fingerprint: {shown}" in error
    assert server.log().count("Accepted") == 0


def test_the_command_that_is_shown_accepts_the_key(to: Connector, lab: SshLab) -> None:
    server = lab.server(known=False)
    line = next(line for line in str(to.refused(server)).splitlines() if "ssh-keyscan" in line)
    scan = line.partition("accept it:")[2].partition(">>")[0].split()
    lab.known_hosts.write_bytes(subprocess.run([program(scan[0]), *scan[1:]], check=True, capture_output=True).stdout)
    assert to.open(server).connected


def test_a_changed_key_is_refused_with_both_fingerprints(to: Connector, lab: SshLab) -> None:
    server, other = lab.server(known=False), make_key(lab.folder / "other")
    lab.known_hosts.write_text(server.known().replace(_public(server.host_key()), _public(other)))
    error = str(to.refused(server))
    assert f"it shows  ssh-ed25519 {fingerprint(server.host_key())}" in error
    assert f"known is  ssh-ed25519 {fingerprint(other)}" in error
    assert f"Only if you know why it changed, forget the old one:  ssh-keygen -R '[{ADDRESS}]:{server.port}'" in error


def _public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().split()[1]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_host_with_several_keys_is_known_by_any_of_them(to: Connector, lab: SshLab, kind: str) -> None:
    server = lab.server(kinds=("ed25519", "ecdsa", "rsa"), known=False)
    lab.known_hosts.write_text(server.known(kind))
    assert to.open(server).connected


def test_names_in_known_hosts_may_be_hashed(to: Connector, lab: SshLab, server: Sshd) -> None:
    subprocess.run([program("ssh-keygen"), "-q", "-H", "-f", str(lab.known_hosts)], check=True, capture_output=True)
    assert ADDRESS not in lab.known_hosts.read_text()
    assert to.open(server).connected


def test_a_line_of_known_hosts_that_cannot_be_read_proves_nothing_and_harms_nothing(
    to: Connector, lab: SshLab, server: Sshd
) -> None:
    good = lab.known_hosts.read_bytes()
    name = f"[{ADDRESS}]:{server.port}".encode()
    lab.known_hosts.write_bytes(b"\xff\n|1|x\n" + name + b" ssh-ed25519 !!!\n" + name + b"\n" + good)
    assert to.open(server).connected
    lab.known_hosts.write_bytes(name + b" ssh-ed25519 !!!\n")
    assert "is not known" in str(to.refused(server))


def test_a_revoked_key_is_refused_even_where_it_is_known(to: Connector, lab: SshLab, server: Sshd) -> None:
    lab.known_hosts.write_text(lab.known_hosts.read_text() + f"@revoked * {' '.join(server.known().split()[1:])}\n")
    assert "marked as revoked" in str(to.refused(server))


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_fingerprint_names_the_one_key_that_counts_whatever_known_hosts_says(
    to: Connector, lab: SshLab, kind: str
) -> None:
    server = lab.server(kinds=("ed25519", "ecdsa", "rsa"), known=False)
    stale = make_key(lab.folder / "stale")
    lab.known_hosts.write_text(server.known().replace(_public(server.host_key()), _public(stale)))
    assert to.open(server, fingerprint=fingerprint(server.host_key(kind))).connected


def test_a_wrong_fingerprint_is_refused_though_known_hosts_has_the_key(to: Connector, lab: SshLab) -> None:
    server = lab.server(kinds=("ed25519", "ecdsa"))
    error = str(to.refused(server, fingerprint=fingerprint(lab.identity)))
    assert f"no key of it has the fingerprint {fingerprint(lab.identity)}" in error
    assert f"ssh-ed25519 {fingerprint(server.host_key())}" in error
    assert f"ecdsa-sha2-nistp256 {fingerprint(server.host_key('ecdsa'))}" in error
    assert server.log().count("Accepted") == 0


# Who logs in.


def test_a_refused_login_says_who_and_what_was_tried_and_what_to_do(to: Connector, lab: SshLab, server: Sshd) -> None:
    stranger = make_key(lab.folder / "stranger")
    error = to.refused(server, identity=str(stranger), user="nobody")
    assert "user nobody is not let in" in str(error)
    assert f"key {stranger}: refused" in str(error)
    assert "no key in an SSH agent" in str(error)
    assert f"ssh-copy-id -p {server.port} -i {stranger} nobody@{ADDRESS}" in str(error)
    assert error.command == ("ssh", "-p", str(server.port), "-i", str(stranger), f"nobody@{ADDRESS}", "true")


def test_without_an_identity_the_users_own_keys_are_tried(to: Connector, lab: SshLab, server: Sshd) -> None:
    own = make_key(lab.home / ".ssh/id_rsa", "rsa")
    assert f"key {own}: refused" in str(to.refused(server, identity=""))
    server.accept([own])
    assert to.open(server, identity="").connected


def test_with_an_identity_the_users_own_keys_are_not_tried(to: Connector, lab: SshLab, server: Sshd) -> None:
    own = make_key(lab.home / ".ssh/id_ed25519")
    server.accept([own])
    assert str(own) not in str(to.refused(server))


def test_an_identity_that_is_not_there_is_named(to: Connector, lab: SshLab, server: Sshd) -> None:
    assert "identity /nowhere/key cannot be read: No such file" in str(to.refused(server, identity="/nowhere/key"))


def test_an_encrypted_key_asks_for_the_agent_and_for_no_password(to: Connector, lab: SshLab, server: Sshd) -> None:
    locked = make_key(lab.folder / "locked", passphrase=SESAME)
    server.accept([locked])
    error = str(to.refused(server, identity=str(locked)))
    assert f"key {locked} is encrypted" in error
    assert f"ssh-add {locked}" in error


def test_a_key_in_the_agent_lets_in(to: Connector, lab: SshLab, server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = make_key(lab.folder / "locked", passphrase=SESAME)
    server.accept([locked])
    address = lab.folder / "agent"
    agent = subprocess.Popen([program("ssh-agent"), "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not address.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
        answer = lab.folder / "answer"
        answer.write_text(f"#!/bin/sh\necho {SESAME}\n")
        answer.chmod(0o700)
        monkeypatch.setenv("SSH_ASKPASS", str(answer))
        monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
        subprocess.run([program("ssh-add"), str(locked)], check=True, capture_output=True)
        assert to.open(server, identity=str(locked)).connected
    finally:
        agent.terminate()
        agent.wait()


# The way there.


def test_a_port_that_nobody_listens_on_is_refused_with_the_command_to_try(to: Connector, server: Sshd) -> None:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
        error = to.refused(server, port=port)
    assert f"{ADDRESS} port {port}: Connection refused" in str(error)
    assert error.command[:3] == ("ssh", "-p", str(port))


def test_a_name_that_means_nothing_is_said_to_be_one(to: Connector, server: Sshd) -> None:
    assert "nowhere.invalid" in str(to.refused(server, address="nowhere.invalid"))
    assert "cannot be resolved" in str(to.refused(server, address="nowhere.invalid"))


def test_something_that_is_no_ssh_server_is_no_host(to: Connector, server: Sshd) -> None:
    with socket.create_server((ADDRESS, 0)) as listener:

        def hang_up() -> None:
            peer, _ = listener.accept()
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        error = to.refused(server, port=listener.getsockname()[1])
        thread.join()
    assert "SSH" in str(error)
    assert "HTTP/1.1 400 Bad Request" in str(error)


def test_a_server_that_is_asked_by_too_many_at_once_is_asked_again(
    to: Connector, lab: SshLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.controller.fleet.BUSY_AFTER_S", (0.1,) * 40)
    server = lab.server(settings=("MaxStartups 1:100:1",))
    with socket.create_connection((ADDRESS, server.port)) as other:
        other.recv(1)  # it is being served, and does not log in
        timer = threading.Timer(0.3, other.close)
        timer.start()
        assert to.open(server).connected
        timer.join()
    assert "MaxStartups" in server.log()


def test_a_server_that_stays_too_busy_is_given_up(to: Connector, lab: SshLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.controller.fleet.BUSY_AFTER_S", (0.01, 0.01))
    server = lab.server(settings=("MaxStartups 1:100:1",))
    with socket.create_connection((ADDRESS, server.port)) as other:
        other.recv(1)
        to.refused(server)
    assert server.log().count("drop connection") == 3


def test_an_address_may_be_of_version_6(to: Connector, lab: SshLab) -> None:
    server, gateway = lab.server(address="::1"), lab.server("gateway", address="::1")
    (lab.home / ".ssh/config").write_text(f"Host gate\n  HostName ::1\n  Port {gateway.port}\n")
    assert to.open(server, address="::1", gateway="gate").connected
    assert "Accepted publickey" in gateway.log()


def test_a_host_alias_of_the_ssh_configuration_is_honoured(to: Connector, lab: SshLab, server: Sshd) -> None:
    (lab.home / ".ssh/config").write_text(
        f"Host rack7\n  HostName {ADDRESS}\n  Port {server.port}\n  IdentityFile {lab.identity}\n"
        "  IdentityFile ~/.ssh/not_here\n"
    )
    assert to.open(server, address="rack7", port=None, identity="").connected


def test_a_host_is_reached_through_a_gateway(to: Connector, lab: SshLab, server: Sshd) -> None:
    gateway = lab.server("gateway")
    transport = to.open(server, gateway=f"{ADDRESS}:{gateway.port}")
    talk = transport.start(["sh", "-c", "echo $SSH_CONNECTION"])
    assert next(talk.lines()).split()[3] == str(server.port).encode()
    assert "Accepted publickey" in gateway.log()
    talk.end(5)
    transport.close()
    assert all(gone_within(pid, 5) for pid in gateway.sessions())


def test_a_jump_host_of_the_ssh_configuration_is_a_gateway_too(to: Connector, lab: SshLab, server: Sshd) -> None:
    gateway = lab.server("gateway", known=False)
    # A jump host with the host's own address would be taken for the host itself by Fabric.
    (lab.home / ".ssh/config").write_text(f"Host rack7\n  HostName {ADDRESS}\n  ProxyJump localhost:{gateway.port}\n")
    assert f"the gateway localhost port {gateway.port}: its key is not known" in str(
        to.refused(server, address="rack7")
    )
    lab.known_hosts.write_text(lab.known_hosts.read_text() + gateway.known().replace(ADDRESS, "localhost"))
    assert to.open(server, address="rack7").connected


def test_the_gateways_key_is_verified_whatever_the_hosts_fingerprint_is(
    to: Connector, lab: SshLab, server: Sshd
) -> None:
    gateway = lab.server("gateway", known=False)
    error = str(to.refused(server, gateway=f"{ADDRESS}:{gateway.port}", fingerprint=fingerprint(server.host_key())))
    assert f"the gateway {ADDRESS} port {gateway.port}: its key is not known" in error
    assert "fingerprint:" not in error


def test_a_gateway_that_cannot_reach_the_host_says_so(to: Connector, lab: SshLab, server: Sshd) -> None:
    gateway = lab.server("gateway")
    server.stop()
    error = to.refused(server, gateway=f"{ADDRESS}:{gateway.port}")
    assert "refused" in str(error)
    assert "-J" in error.command


# How it ends.


def test_a_connection_whose_server_is_killed_ends_the_lines_at_once(to: Connector, server: Sshd) -> None:
    transport = to.open(server)
    talk = transport.start(WAITS)
    lines = talk.lines()
    next(lines)
    before = time.monotonic()
    server.signal_sessions(signal.SIGKILL)
    assert list(lines) == []
    assert time.monotonic() - before < 3
    assert not transport.connected
    with pytest.raises(OSError, match=r"gone|closed"):
        talk.send(b"hello\n")
    assert talk.end(1) is None
    with pytest.raises(LabError, match="there is no connection"):
        transport.start(["true"])


def test_a_lost_connection_can_be_opened_again(to: Connector, server: Sshd) -> None:
    transport = to.open(server)
    talk = transport.start(WAITS)
    server.signal_sessions(signal.SIGKILL)
    list(talk.lines())
    transport.open()
    assert list(transport.start(["echo", "back"]).lines()) == [b"back\n"]


@pytest.mark.parametrize("falls_silent", ["host", "host behind a gateway", "gateway"])
def test_a_connection_that_falls_silent_ends_the_lines_in_time(
    to: Connector, lab: SshLab, server: Sshd, falls_silent: str
) -> None:
    gateway = lab.server("gateway")
    way = f"{ADDRESS}:{gateway.port}" if "gateway" in falls_silent else ""
    transport = to.open(server, gateway=way, heartbeat_s=0.4, silence_s=1.5)
    talk = transport.start(WAITS)
    lines = talk.lines()
    next(lines)
    silent = gateway if falls_silent == "gateway" else server
    silent.signal_sessions(signal.SIGSTOP)
    before = time.monotonic()
    assert list(lines) == []
    assert 1 < time.monotonic() - before < 5
    assert not transport.connected
    silent.signal_sessions(signal.SIGCONT)


def test_a_quiet_process_on_a_host_that_lives_is_no_silence(to: Connector, server: Sshd) -> None:
    transport = to.open(server, heartbeat_s=0.2, silence_s=0.8)
    assert list(transport.start(["sleep", "1.6"]).lines()) == []
    assert transport.connected


def test_a_send_into_a_silent_connection_ends_in_time(to: Connector, server: Sshd) -> None:
    talk = to.open(server, heartbeat_s=0.4, silence_s=1.5).start(["cat"])
    talk.send(b"hello\n")
    assert next(talk.lines()) == b"hello\n"
    server.signal_sessions(signal.SIGSTOP)
    before = time.monotonic()
    with pytest.raises(OSError, match=r"gone|closed"):
        talk.send(bytes(100_000_000))
    assert time.monotonic() - before < 6
    server.signal_sessions(signal.SIGCONT)


def test_closing_ends_the_processes_that_wait_for_their_input(to: Connector, server: Sshd) -> None:
    transport = to.open(server)
    talk = transport.start(WAITS)
    pid = int(next(talk.lines()))
    transport.close()
    assert not transport.connected
    assert list(talk.lines()) == []
    assert gone_within(pid, 5)


def test_opening_twice_connects_once(to: Connector, server: Sshd) -> None:
    to.open(server).open()
    assert server.log().count("Accepted publickey") == 1


def test_the_controllers_own_input_and_output_are_not_touched(lab: SshLab, server: Sshd) -> None:
    """An encrypted key in a program of its own: it must not ask, nor print what paramiko logs."""
    locked = make_key(lab.folder / "locked", passphrase=SESAME)
    script = (
        "import sys\nfrom bench.controller.fleet import SshTransport\nfrom bench.errors import LabError\n"
        "for identity in sys.argv[1:]:\n"
        f"  try: SshTransport('lab1', {ADDRESS!r}, port={server.port}, user='nobody', identity=identity).open()\n"
        "  except LabError: print('refused')\n"
    )
    argv = [PYTHON, "-c", script, str(locked), str(lab.identity)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(argv, cwd=root, input="never\n", capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("refused\nrefused\n", "")


def test_a_host_of_the_file_gets_the_transport_that_its_address_says(server: Sshd, lab: SshLab) -> None:
    local = transport_for(Host("here", python="/usr/bin/python3"))
    assert isinstance(local, LocalTransport)
    assert (local.name, local.python) == ("here", "/usr/bin/python3")
    far = transport_for(Host("lab1", address=ADDRESS, port=server.port, identity=str(lab.identity)))
    assert (far.name, far.python, far.heartbeat_s) == ("lab1", "python3", 5.0)
    far.open()
    assert far.connected
    far.close()
