"""One end of an SSH connection, as messages name it: a host, or a gateway on the way to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import LabError

SSH_PORT = 22


@dataclass(frozen=True)
class Peer:
    """Where a connection goes to, after ~/.ssh/config was applied.

    host: the name in hosts.yaml. gateway: whether this is a gateway of it. via: the gateways before it, as
    "user@address:port", or "" for none. identity: the key file to log in with, or "".
    """

    host: str
    address: str
    port: int
    user: str
    identity: str = ""
    via: str = ""
    gateway: bool = False

    def __str__(self) -> str:
        place = self.address if self.port == SSH_PORT else f"{self.address} port {self.port}"
        return f"the gateway {place}" if self.gateway else place

    @property
    def known_as(self) -> str:
        """Its name in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        return self.address.lower() if self.port == SSH_PORT else f"[{self.address.lower()}]:{self.port}"

    @property
    def hop(self) -> str:
        """As `ssh -J` wants it."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.user}@{address}:{self.port}"

    def command(self, program: str = "ssh", last: Sequence[str] = ("true",)) -> list[str]:
        """The same connection with OpenSSH, for the user to try. program: ssh or ssh-copy-id."""
        jump = [] if not self.via else ["-J", self.via] if program == "ssh" else ["-o", f"ProxyJump={self.via}"]
        identity = ["-i", self.identity] if self.identity else []
        return [program, "-p", str(self.port), *identity, *jump, f"{self.user}@{self.address}", *last]

    def error(self, message: str) -> LabError:
        """A LabError of this host that shows the equivalent OpenSSH command."""
        return LabError(self.host, message, self.command())
