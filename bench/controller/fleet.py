"""The road to a host over SSH: one connection a host, Fabric's; a channel of it for every process.

Of ~/.ssh/config, HostName, User, Port, IdentityFile, ProxyJump and ProxyCommand count (Fabric reads it). Added here:
host keys are verified (hostkeys.py), nothing is ever asked (login.py), a connection that died silently is noticed
(sshchannel.py), and every failure is a LabError that says what to do.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import fabric
import paramiko

from bench.controller.hostkeys import HostKeys, OtherKeyError
from bench.controller.inventory import Host
from bench.controller.login import Login
from bench.controller.sshchannel import GONE, JOIN_S, Pulse, SshConversation, WatchedSocket
from bench.controller.sshcommand import command_line
from bench.controller.sshpeer import Peer
from bench.controller.transport import Conversation, LocalTransport, Transport
from bench.errors import LabError, last_lines

# TCP connect, banner, key exchange, each key, each channel: so long at most.
CONNECT_S = 10
# What a login shell may take for its own files (a home on a slow NFS, an environment that is activated there).
SHELL_S = 30.0
# A server that was asked by too many at once (MaxStartups of sshd_config(5)) hangs up; each of many tries again at a
# moment of its own, up to half as much later or sooner.
BUSY_AFTER_S = (0.5, 1.0, 2.0, 4.0, 8.0)
HEARTBEAT_S = 5.0
SILENCE_S = 15.0
# Beats and pings come at this share of heartbeat_s, so that one that is late is not missed.
BEATS_PER_HEARTBEAT = 2
PYTHON = "python3"

# What fails is raised; paramiko would print it with tracebacks as well, where nobody configured logging.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def transport_for(host: Host) -> Transport:
    """The road to a host of hosts.yaml. Not connected yet; raises nothing."""
    if host.address == "local":
        return LocalTransport(host.name, host.python)
    return SshTransport(
        host.name,
        host.address,
        user=host.user,
        port=host.port,
        identity=host.identity,
        gateway=host.gateway,
        fingerprint=host.fingerprint,
        python=host.python,
    )


class SshTransport:
    """bench.controller.transport.Transport over SSH.

    gateway: "[user@]host[:port]". fingerprint: "SHA256:…" of its key; "" asks known_hosts, as always for gateways.
    identity: then only this key and the agent's are tried. silence_s: a connection over which nothing came for so long,
    though the host was asked, is closed.
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        user: str = "",
        port: int | None = None,
        identity: str = "",
        gateway: str = "",
        fingerprint: str = "",
        python: str = "",
        heartbeat_s: float = HEARTBEAT_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.name = name
        self.python = python or PYTHON
        self.heartbeat_s = heartbeat_s
        self._silence_s = silence_s
        self._wanted = {"host": address, "user": user or None, "port": port}
        self._identity, self._gateway, self._fingerprint = identity, gateway, fingerprint
        self._changing = threading.RLock()
        self._hops: list[_Hop] = []
        self._pulse: Pulse | None = None

    def open(self) -> None:
        """Connects, once; raises LabError. A connection that was lost is made anew."""
        with self._changing:
            if self.connected:
                return
            self.close()
            self._hops = self._way()
            try:
                for hop in self._hops:
                    hop.open()
            except BaseException:
                self.close()
                raise
            self._watch()

    def start(self, argv: Sequence[str], *, beat: bool = False) -> Conversation:
        """Runs a program. Raises LabError: no connection, it drops now, the login shell runs something else."""
        with self._changing:
            if not (self.connected and self._pulse):
                raise LabError(self.name, "there is no connection to it", argv)
            hop, pulse = self._hops[-1], self._pulse
        try:
            channel = hop.transport.open_session(timeout=CONNECT_S)
            channel.exec_command(command_line(argv))
        except (*GONE, UnicodeError) as error:
            raise LabError(self.name, f"the program cannot be started over SSH: {_words(error)}", argv) from error
        conversation = SshConversation(channel, beat and self.heartbeat_s > 0)
        said = conversation.begin(SHELL_S)
        if said is not None:
            conversation.end(0)
            raise self._not_begun(said, conversation.log, argv)
        pulse.add(conversation)
        return conversation

    def _not_begun(self, said: bytes, log: str, argv: Sequence[str]) -> LabError:
        lines = last_lines("\n".join((*said.decode(errors="replace").splitlines(), *log.splitlines())))
        message = (
            f"its login shell does not run what it is told (waited for at most {SHELL_S:g} s); it must be a shell, "
            "with no forced command and nothing in its start files that takes its place or waits for input"
        )
        return LabError(self.name, message if self.connected else "the connection was lost", argv[:1], lines)

    @property
    def connected(self) -> bool:
        hops = self._hops
        return bool(hops) and all(hop.active for hop in hops)

    def close(self) -> None:
        """Ends the connection, those to its gateways, and whatever runs over them."""
        with self._changing:
            hops, pulse = self._hops, self._pulse
            self._hops, self._pulse = [], None
        if pulse:
            pulse.stop()
        for hop in reversed(hops):
            hop.close()
        if pulse:
            pulse.join(JOIN_S)

    def _watch(self) -> None:
        for hop in self._hops:
            hop.watch(self._silence_s)
        interval_s = (self.heartbeat_s or HEARTBEAT_S) / BEATS_PER_HEARTBEAT
        self._pulse = Pulse(self._hops[-1].transport, interval_s)
        self._pulse.start()

    def _way(self) -> list[_Hop]:
        """The gateways in their order, then the host itself. Nothing is connected."""
        try:
            # Of the files that configure Fabric, only those of OpenSSH count.
            config = fabric.Config(lazy=True)
            config.load_ssh_config()
            gateway = fabric.Connection(self._gateway, config=config) if self._gateway else None
            connection = fabric.Connection(**self._wanted, gateway=gateway, config=config, forward_agent=False)
        except (paramiko.SSHException, ValueError, OSError, KeyError) as error:
            message = f"gateway:, address: or ~/.ssh/config cannot be used: {_words(error)}"
            raise LabError(self.name, message) from error
        connections = [connection]
        while isinstance(connections[0].gateway, fabric.Connection):
            connections.insert(0, connections[0].gateway)
        hops: list[_Hop] = []
        for item in connections:
            target = item is connection
            via = ",".join(str(hop.peer.hop) for hop in hops)
            peer = Peer(self.name, item.host, int(item.port), item.user, self._identity, via, not target)
            hops.append(_Hop(item, peer, self._fingerprint if target else ""))
        return hops


class _Hop:
    """A connection to one SSH server: the host, or a gateway."""

    def __init__(self, connection: fabric.Connection, peer: Peer, fingerprint: str) -> None:
        self.peer = peer
        self._connection = connection
        self._keys = HostKeys(peer, fingerprint)
        self._socket: WatchedSocket | None = None
        configured = connection.ssh_config.get("identityfile", [])
        alone = bool(peer.identity) and not peer.gateway
        login = Login(peer, () if alone else configured, defaults=not peer.identity)
        connection.client.set_missing_host_key_policy(self._keys)
        connection.connect_timeout = CONNECT_S
        connection.connect_kwargs = {
            "banner_timeout": CONNECT_S,
            "auth_timeout": CONNECT_S,
            "channel_timeout": CONNECT_S,
            "transport_factory": self._transport,
            "auth_strategy": login,
        }

    @property
    def transport(self) -> paramiko.Transport:
        found: paramiko.Transport = self._connection.transport
        return found

    @property
    def active(self) -> bool:
        return bool(self._connection.is_connected)

    def watch(self, silence_s: float) -> None:
        if self._socket:
            self._socket.watch(silence_s)

    def open(self) -> None:
        """Raises LabError. Connects again as long as the host may have a key of another type that is the right one,
        and a few times where it was too busy."""
        pauses = iter(BUSY_AFTER_S)
        while True:
            try:
                self._connection.open()
            except OtherKeyError:
                self.close()
            except paramiko.ssh_exception.IncompatiblePeer as error:
                if self._keys.refused:
                    raise self._keys.not_offered() from None
                raise self.peer.error(f"{self.peer}: {_words(error)}") from error
            except (*GONE, UnicodeError) as error:
                pause = next(pauses, None) if self._was_busy(error) else None
                if pause is None:
                    raise self.peer.error(f"{self.peer}: {_words(error)}{self._opening()}") from error
                self.close()
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all come back at once
            else:
                return

    def _was_busy(self, error: BaseException) -> bool:
        """Whether the server hung up before it said who it is, which is how OpenSSH refuses when it is busy."""
        if self._socket is None or isinstance(error, LabError):
            return False
        hung_up = "banner" in str(error) or isinstance(error, (EOFError, ConnectionResetError))
        return hung_up and (not self._socket.opening or b"MaxStartups" in self._socket.opening)

    def _opening(self) -> str:
        """What a server that does not speak SSH said instead."""
        said = self._socket.opening.partition(b"\n")[0].strip() if self._socket else b""
        return "" if not said or said.startswith(b"SSH-") else f"; it says {said.decode(errors='replace')!r}"

    def close(self) -> None:
        """Also what a failed attempt left."""
        transport = self._connection.client.get_transport()
        with suppress(*GONE):
            self._connection.client.close()
        if transport is not None:
            # Its handshake's timer would hold up the end of the program.
            transport.packetizer.complete_handshake()
            if transport.ident is not None:
                transport.join(JOIN_S)
        if self._socket:
            self._socket.close()

    def _transport(self, sock: Any, **options: Any) -> paramiko.Transport:
        """What paramiko's client calls for a new transport over a connected socket."""
        watched: Any = WatchedSocket(sock)
        self._socket = watched
        transport = paramiko.Transport(watched, **options)
        transport.handshake_timeout = CONNECT_S
        security = transport.get_security_options()
        security.key_types = self._keys.algorithms(security.key_types)
        return transport


def _words(error: BaseException) -> str:
    """What an error of the network means."""
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {error.strerror}"
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        reasons = {place[0]: _words(why) for place, why in error.errors.items()}
        return (
            "; ".join(f"{place}: {why}" for place, why in reasons.items()) if len(reasons) > 1 else reasons.popitem()[1]
        )
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_S} s"
    if isinstance(error, paramiko.ChannelException):
        return f"refused: {error.text}"
    if isinstance(error, EOFError):
        return "the connection was closed by the other side"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
