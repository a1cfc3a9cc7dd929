"""One host made ready: connected, with everything on it that a guest needs, and asked what it would run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.controller.inventory import Host
from bench.controller.push import Stored, push
from bench.controller.session import Session
from bench.controller.stopping import Stopping
from bench.controller.transport import Transport
from bench.errors import InputError
from bench.wire.codec import from_json
from bench.wire.job import Paths

Connect = Callable[[Host], Transport]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Cargo:
    """What every host gets: the host side, the guest image, and the kernels that are named as `push:` files.

    named: from the name as written ("push:./bzImage") to the file here that is carried. programs: those in the image,
    with path and sha256 here.
    """

    bundle: Path
    image: Path
    named: Mapping[str, Path]
    programs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.bundle, self.image, *self.named.values())))


@dataclass(frozen=True)
class Lab:
    """A host with its files in place. Use `open_lab`; close it."""

    host: Host
    transport: Transport
    session: Session
    stored: Stored
    cargo: Cargo

    @property
    def image(self) -> str:
        """The guest image on the host."""
        return self.stored.path(self.cargo.image)

    def path(self, named: str) -> str:
        """A path of a file as the host knows it: what was pushed lies in its cache."""
        return self.stored.path(self.cargo.named[named]) if named in self.cargo.named else named

    def ask(self, what: str, named: Any = None, **args: Any) -> dict[str, Any]:
        """The host's answer; `named` (the host, or an arm) says which files. A mistake is shown where it was made."""
        files = self.files(named or self.host)
        try:
            return self.session.ask(what, **args, **files)
        except InputError as error:
            if named is None and error.key:
                raise self.host.error(error.key, str(error)) from error
            raise

    def files(self, named: Any) -> dict[str, str]:
        """The files that a host's or an arm's entry names, as paths on the host; "" for the host's own."""
        return {key: self.path(getattr(named, key)) for key in ("qemu", "kernel", "modules")}

    def resolve(self, accel: str, named: Any = None) -> dict[str, Any]:
        """What a guest would run with there: paths, accelerator, versions. accel: "auto", "kvm" or "tcg".

        named: as of `ask`.
        """
        return self.ask("resolve", named, accel=accel, **self.places)

    @property
    def places(self) -> dict[str, Any]:
        """The guest image on the host, and where threads, memory and files go there, as its entry has them."""
        host = self.host
        return {
            "image": self.image,
            "guest_cpus": list(host.guest_cpus),
            "sampler_cpus": list(host.sampler_cpus),
            "numa_node": host.numa_node,
            "scratch": self.stored.cache if host.scratch else "",
        }

    @property
    def connected(self) -> bool:
        return self.transport.connected

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_lab(
    host: Host, cargo: Cargo, connect: Connect, say: Say = lambda _text: None, stopping: Stopping | None = None
) -> Lab:
    """Connects, and pushes what is missing. stopping: ends this, and what is done there later.

    Raises LabError; Interrupted after a stop.
    """
    stopping = stopping or Stopping()
    transport = connect(host)

    def sending(name: str, size: int) -> None:
        say(f"sending {name}, {size} bytes")

    try:
        transport.open()
        stored = push(transport, cargo.files, host.scratch, sending, stopping)
        session = Session(transport, stored.path(cargo.bundle), stored.cache, stopping)
        return Lab(host, transport, session, stored, cargo)
    except BaseException:
        transport.close()
        raise


def paths_of(answer: Mapping[str, Any]) -> Paths:
    """The files in the reply to `resolve`."""
    return from_json(Paths, answer["paths"])
