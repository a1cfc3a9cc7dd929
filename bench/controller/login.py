"""Who logs in to a host: with which keys, in which order, and what to do when none of them is let in.

paramiko's own way answers with the error of whichever key it tried last and may ask for a password; so this is given to
it as its authentication strategy (`auth_strategy`). Only public keys are tried, and nothing is ever asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko

from bench.controller.sshpeer import Peer
from bench.errors import LabError

DEFAULT_FILES = tuple(Path("~/.ssh") / f"id_{kind}" for kind in ("ed25519", "ecdsa", "rsa"))
KEY_CLASSES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


class Login:
    """One attempt to log in.

    configured: the IdentityFiles of ~/.ssh/config. defaults: whether ~/.ssh/id_* are tried, after the agent.
    """

    def __init__(self, peer: Peer, configured: Sequence[str], defaults: bool) -> None:
        self._peer = peer
        self._configured = [Path(name).expanduser() for name in configured]
        self._defaults = [name.expanduser() for name in DEFAULT_FILES] if defaults else []
        self._tried: list[str] = []
        self._encrypted: list[Path] = []

    def authenticate(self, transport: paramiko.Transport) -> None:
        """What paramiko calls. Raises LabError that tells every key tried, SSHException when the connection is gone."""
        agent = self._agent()
        try:
            seen: set[bytes] = set()
            for text, key in self._keys(agent):
                if key.asbytes() in seen:
                    continue
                seen.add(key.asbytes())
                if self._let_in(transport, text, key):
                    return
                if not transport.is_active():
                    self._tried.append("then the host hung up, as it does after too many keys (name one: identity:)")
                    break
        finally:
            agent.close()
        raise self._refused()

    def _agent(self) -> paramiko.Agent:
        try:
            return paramiko.Agent()
        except (paramiko.SSHException, OSError) as error:
            raise self._peer.error(f"the SSH agent at $SSH_AUTH_SOCK does not answer: {error}") from error

    def _keys(self, agent: paramiko.Agent) -> Iterator[tuple[str, paramiko.PKey]]:
        """(what to call it, key). A named identity first: hosts hang up after some wrong keys."""
        if self._peer.identity:
            yield from self._from_file(Path(self._peer.identity).expanduser(), named=True)
        for path in self._configured:
            yield from self._from_file(path)
        if not agent.get_keys():
            self._tried.append("no key in an SSH agent")
        for key in agent.get_keys():
            yield f"agent key {key.comment or key.get_name()}", key
        for path in self._defaults:
            yield from self._from_file(path)

    def _from_file(self, path: Path, named: bool = False) -> Iterator[tuple[str, paramiko.PKey]]:
        """The key in a file. One that is not there is no error unless hosts.yaml names it."""
        if not path.is_file() and not named:
            return
        key, problem = None, ""
        for kind in KEY_CLASSES:
            try:
                key = kind.from_private_key_file(str(path))
                break
            except paramiko.PasswordRequiredException:
                self._encrypted.append(path)
                problem = "is encrypted"
                break
            except OSError as error:
                raise LabError(self._peer.host, f"identity {path} cannot be read: {error.strerror}") from error
            except (paramiko.SSHException, ValueError) as error:
                problem = f"is no private key: {error}"
        if key:
            yield f"key {path}", key
        else:
            self._tried.append(f"key {path} {problem}")

    def _let_in(self, transport: paramiko.Transport, text: str, key: paramiko.PKey) -> bool:
        try:
            more = transport.auth_publickey(self._peer.user, key)
        except paramiko.BadAuthenticationType as error:
            self._tried.append(f"{text}: the host takes no keys, only {', '.join(error.allowed_types)}")
        except paramiko.AuthenticationException as error:
            self._tried.append(f"{text}: {'no answer' if 'timeout' in str(error) else 'refused'}")
        except paramiko.SSHException as error:
            self._tried.append(f"{text}: {error}")
        else:
            if not more:
                return True
            self._tried.append(f"{text}: accepted, but the host wants {' or '.join(more)} as well; allow keys alone")
        return False

    def _refused(self) -> LabError:
        tried = "\n".join(f"    {line}" for line in self._tried)
        hints = "".join(f"\n  Give it to the agent:  ssh-add {path}" for path in self._encrypted)
        if not self._encrypted:
            copy = " ".join(self._peer.command("ssh-copy-id", ()))
            hints = f"\n  Put your public key there:  {copy}\n  or name another user or key (user:, identity:)"
        return self._peer.error(f"{self._peer}: user {self._peer.user} is not let in; tried\n{tried}{hints}")
