"""Files carried to a host by content: what is there already is not sent again, what arrives is verified there.

The far end is bench/host/receive.py, which goes over the same pipe before the files do: a host needs only Python.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.controller.stopping import Stopping
from bench.controller.transport import Conversation, Transport
from bench.errors import Interrupted, LabError, last_lines
from bench.host import receive

# So many of each kind stay in a host's cache, the most recently used.
KEPT = 3
CHUNK_BYTES = 1 << 18
DEADLINE_S = 10.0
_TO_DO = {
    "disk": "free some space there, or name another folder (scratch: in hosts.yaml)",
    "permission": "name a folder that this user owns (scratch: in hosts.yaml)",
    "clean": "what that Python prints at its start (a wrapper, sitecustomize) must not be on stdout",
    "python": "install Python 3.9 or later there, or name one (python: in hosts.yaml)",
}


@dataclass(frozen=True)
class Stored:
    """What a host has now. cache: its folder. sent: names that went over the wire, sent_bytes all of their bytes."""

    cache: str
    python: str
    sent: tuple[str, ...]
    sent_bytes: int

    def path(self, file: Path) -> str:
        """Where this file lies on the host."""
        return f"{self.cache}/{file.name}"


def push(
    transport: Transport,
    files: Sequence[Path],
    scratch: str = "",
    sending: Callable[[str, int], None] | None = None,
    stopping: Stopping | None = None,
) -> Stored:
    """Makes sure that the host has these files, under their own names. scratch: its folder, "" for the usual one.

    sending: told of each file that has to go, with its size, before it goes. stopping: ends this too. Raises LabError:
    no Python, no room, a broken connection; Interrupted after a stop.
    """
    stopping = stopping or Stopping()
    if stopping.asked:
        raise Interrupted(f"host {transport.name}: stopped")
    source = Path(receive.__file__).read_bytes()
    argv = [transport.python, "-c", receive.LOADER, str(len(source)), *([scratch] if scratch else [])]
    running = transport.start(argv)
    stopping.begun(running, DEADLINE_S)
    try:
        return _converse(_Talk(transport, running, argv), source, files, sending or (lambda _name, _size: None))
    except LabError as error:
        if stopping.asked:
            raise Interrupted(f"host {transport.name}: stopped") from error
        raise
    finally:
        running.end(DEADLINE_S)
        stopping.ended()


@dataclass
class _Talk:
    transport: Transport
    running: Conversation
    argv: Sequence[str]

    def send(self, data: bytes) -> None:
        try:
            self.running.send(data)
        except OSError:
            # The reason comes up as an answer, or on stderr.
            return

    def answer(self, lines: Iterator[bytes]) -> dict[str, Any]:
        """The next answer. Raises LabError for an error there, and for none at all."""
        line = next(lines, b"")
        try:
            told = json.loads(line)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise self.silent(line)
        if "error" in told:
            hint = _TO_DO.get(told.get("kind", ""), "")
            raise LabError(self.transport.name, "; ".join(filter(None, (str(told["error"]), hint))))
        return told

    def silent(self, said: bytes) -> LabError:
        """What to raise when something else than the receiver answers, or nothing does."""
        status = self.running.end(DEADLINE_S)
        log = [*said.decode(errors="replace").splitlines(), *last_lines(self.running.log)]
        if said and self.transport.connected and status not in (126, 127):
            what = f"something else than the receiver of files answers; {_TO_DO['clean']}"
            return LabError(self.transport.name, what, self.argv[:1], log)
        if status in (126, 127):
            return LabError(self.transport.name, f"{self.transport.python} does not run; {_TO_DO['python']}", (), log)
        what = "the connection was lost" if not self.transport.connected else "the receiver of files ended"
        return LabError(self.transport.name, f"{what} before everything was there", self.argv[:1], log)


def _converse(talk: _Talk, source: bytes, files: Sequence[Path], sending: Callable[[str, int], None]) -> Stored:
    named = {file.name: file for file in files}
    wanted = [{"name": name, "sha256": _sha256(file), "size": file.stat().st_size} for name, file in named.items()]
    talk.send(source + json.dumps({"files": wanted, "keep": KEPT}).encode() + b"\n")
    lines = talk.running.lines()
    there = talk.answer(lines)
    missing = _checked(talk, there, named)
    sent = 0
    for name in missing:
        sending(name, named[name].stat().st_size)
        with named[name].open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                talk.send(chunk)
                sent += len(chunk)
    talk.answer(lines)
    return Stored(there["cache"], there["python"], missing, sent)


def _checked(talk: _Talk, there: dict[str, Any], named: Mapping[str, Path]) -> tuple[str, ...]:
    """The names of what is missing there. Raises LabError for an answer that the receiver of files does not give."""
    cache, python, missing = there.get("cache"), there.get("python"), there.get("missing")
    paths = isinstance(cache, str) and cache.startswith("/") and cache.isprintable() and isinstance(python, str)
    if not (paths and isinstance(missing, list) and all(name in named for name in missing)):
        raise talk.silent(json.dumps(there).encode())
    return tuple(missing)


def _sha256(file: Path) -> str:
    status = file.stat()
    return _digest(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(file: Path, _size: int, _mtime_ns: int) -> str:
    """Hashed once for all hosts."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
