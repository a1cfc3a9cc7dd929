"""Whether a host is the one that is meant: its key against known_hosts, or against a fingerprint in hosts.yaml.

Fabric accepts every key and reads no known_hosts; paramiko's own check prefers one key type of those that are known and
knows neither patterns nor revoked keys. So both are replaced: paramiko's client gets no known keys and this as its
policy. The files are read as sshd(8) describes them, SSH_KNOWN_HOSTS FILE FORMAT.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.controller.sshpeer import Peer
from bench.errors import LabError

USER_FILE = Path("~/.ssh/known_hosts")
SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")


class OfferedKey(Protocol):
    """What is used of a paramiko.PKey."""

    def get_name(self) -> str:
        """The type, as in ssh-ed25519."""

    def asbytes(self) -> bytes:
        """The public key, as in known_hosts but not in base64."""


class OtherKeyError(Exception):
    """The host offered a key that is not the one of the fingerprint; one of another type may be."""


@dataclass(frozen=True)
class KnownKey:
    """A line of known_hosts that speaks of a host. kind: its key type."""

    kind: str
    blob: bytes
    revoked: bool
    source: str


def fingerprint_of(blob: bytes) -> str:
    """SHA256 of a public key as OpenSSH writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def known_keys(name: str, files: Sequence[Path]) -> list[KnownKey]:
    """The keys that known_hosts files have under this name; a file that is not there has none.

    A line that cannot be read proves nothing and is passed over, as OpenSSH does. Raises OSError.
    """
    found = []
    for path in files:
        try:
            text = path.expanduser().read_text(errors="replace")
        except FileNotFoundError:
            continue
        found += [key for line in text.splitlines() if (key := _known(line.split(), name, str(path)))]
    return found


def _known(fields: list[str], name: str, source: str) -> KnownKey | None:
    revoked = fields[:1] == ["@revoked"]
    if revoked:
        fields = fields[1:]
    # What is left with a mark is a certificate authority, which paramiko does not support.
    if len(fields) < 3 or fields[0][0] in "#@" or not _named(fields[0].split(","), name):
        return None
    try:
        return KnownKey(fields[1], base64.b64decode(fields[2], validate=True), revoked, source)
    except binascii.Error:
        return None


def _named(patterns: Sequence[str], name: str) -> bool:
    if any(pattern.startswith("!") and _fits(pattern[1:], name) for pattern in patterns):
        return False
    return any(_fits(pattern, name) for pattern in patterns)


def _fits(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _hash_fits(pattern, name)
    # Brackets stand for themselves here.
    return fnmatch.fnmatchcase(name, pattern.lower().replace("[", "[[]"))


def _hash_fits(pattern: str, name: str) -> bool:
    """|1|salt|HMAC-SHA1 of the name, both in base64."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in pattern[3:].split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _kind(algorithm: str) -> str:
    """The key type that a host key algorithm signs with: RSA keys have two."""
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def _short(kind: str) -> str:
    """A key type as ssh-keyscan and the files in /etc/ssh call it: ed25519, ecdsa, rsa."""
    return "ecdsa" if kind.startswith("ecdsa-") else kind.removeprefix("ssh-")


class HostKeys:
    """The policy for one peer, as paramiko.SSHClient wants it.

    With a fingerprint only that key is accepted, and known_hosts is not asked. A connection offers one key, of the type
    that both sides prefer; so `OtherKeyError` asks for one more connection, in which `algorithms` has another offered.
    """

    def __init__(self, peer: Peer, fingerprint: str = "", files: Sequence[Path] = (USER_FILE, SYSTEM_FILE)) -> None:
        self._peer = peer
        self._fingerprint = fingerprint.rstrip("=")
        self._known: list[KnownKey] = []
        if not fingerprint:
            try:
                self._known = known_keys(peer.known_as, files)
            except OSError as error:
                message = f"{error.filename} cannot be read: {error.strerror}; without it no host is known"
                raise LabError(peer.host, message) from error
        self.refused: dict[str, str] = {}

    def algorithms(self, usual: Sequence[str]) -> list[str]:
        """The host key algorithms to negotiate, in order: known types first, refused ones not at all."""
        left = [algorithm for algorithm in usual if _kind(algorithm) not in self.refused]
        known = {key.kind for key in self._known if not key.revoked}
        return sorted(left, key=lambda algorithm: _kind(algorithm) not in known)

    def missing_host_key(self, _client: object, _name: str, key: OfferedKey) -> None:
        """Returns when the key is the right one. Raises LabError, or OtherKeyError."""
        kind, blob = key.get_name(), key.asbytes()
        if self._fingerprint:
            if fingerprint_of(blob) != self._fingerprint:
                self.refused[kind] = fingerprint_of(blob)
                raise OtherKeyError
            return
        same = [known for known in self._known if known.blob == blob]
        if any(known.revoked for known in same):
            raise self._error(f"its key is marked as revoked in {same[0].source}; connect to no host that shows it")
        if not same:
            known = [known for known in self._known if not known.revoked]
            raise self._changed(kind, blob, known) if known else self._unknown(kind, blob)

    def not_offered(self) -> LabError:
        """Of all keys that the peer has, none has the fingerprint."""
        shown = "\n".join(f"    {kind} {text}" for kind, text in self.refused.items())
        return self._error(
            f"no key of it has the fingerprint {self._fingerprint} of hosts.yaml; it shows\n{shown}\n"
            "  Either the fingerprint is wrong, or this is another machine.\n"
            "  The right ones, shown on the host itself: for key in /etc/ssh/ssh_host_*_key.pub; do"
            " ssh-keygen -lf $key; done"
        )

    def _unknown(self, kind: str, blob: bytes) -> LabError:
        text, short = fingerprint_of(blob), _short(kind)
        scan = f"ssh-keyscan -t {short} -p {self._peer.port} {self._peer.address}"
        if self._peer.via:
            # It can be reached from the last gateway only.
            *before, last = self._peer.via.split(",")
            scan = " ".join(["ssh", *(["-J", ",".join(before)] if before else []), f"ssh://{last}", scan])
        pin = "" if self._peer.gateway else f"\n  or, in hosts.yaml, as this host's own:  fingerprint: {text}"
        return self._error(
            f"its key is not known: {kind} {text}\n"
            f"  The host's own, shown on it:  ssh-keygen -lf /etc/ssh/ssh_host_{short}_key.pub\n"
            f"  If that is the same, accept it:  {scan} >> {USER_FILE}{pin}"
        )

    def _changed(self, kind: str, blob: bytes, known: Sequence[KnownKey]) -> LabError:
        expected = next((key for key in known if key.kind == kind), known[0])
        return self._error(
            "its key is not the known one. Another machine may answer in its place.\n"
            f"    it shows  {kind} {fingerprint_of(blob)}\n"
            f"    known is  {expected.kind} {fingerprint_of(expected.blob)}  ({expected.source})\n"
            "  Only if you know why it changed, forget the old one:"
            f"  ssh-keygen -R '{self._peer.known_as}' -f {expected.source}"
        )

    def _error(self, message: str) -> LabError:
        return LabError(self._peer.host, f"{self._peer}: {message}")
