"""hosts.yaml: the machines that run guests. Without the file there is one, the machine that the suite runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.controller.hostfile import NO_SECRETS, REMOTE_ONLY, SECRET, DefaultsModel, HostModel, InventoryModel
from bench.controller.overlay import overlay
from bench.controller.quantities import show_cpus
from bench.controller.yamlfile import Document, KeyPath, Place, Problem, check, raise_problems, read, valid_names
from bench.errors import InputError

DEFAULT_FILE = Path("hosts.yaml")
REMOTE_PYTHON = "python3"
_NOT_WRITTEN = ("memory_bytes", "document")


@dataclass(frozen=True)
class Host:
    """A machine that runs guests. Texts are "", numbers None and lists () where the suite, or SSH, shall choose.

    address: "local", or where SSH finds it. identity: a private key's path on this machine, ~ expanded. kernel and
    modules: paths on the host, or "push:/path" for those of this machine (`bench.controller.quantities.pushed`).
    python: "" for the one that runs, on address local only. guest_cpus, sampler_cpus: ascending, none in both.
    """

    name: str
    address: str = "local"
    user: str = ""
    port: int | None = None
    identity: str = ""
    gateway: str = ""
    fingerprint: str = ""
    become: str = "none"
    python: str = ""
    qemu: str = ""
    kernel: str = ""
    modules: str = ""
    accel: str = "auto"
    memory_bytes: int | None = None
    guest_cpus: tuple[int, ...] = ()
    sampler_cpus: tuple[int, ...] = ()
    numa_node: int | None = None
    scratch: str = ""
    tags: tuple[str, ...] = ()
    document: Document = field(default=Document({}, {}), compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.address != "local" and not self.python:
            object.__setattr__(self, "python", REMOTE_PYTHON)

    def error(self, key: str, message: str) -> InputError:
        """An InputError at this host's `key` in hosts.yaml, for what only the machine itself can tell."""
        return InputError(str(self.document.problem((key,), message)))


@dataclass(frozen=True)
class Inventory:
    """The hosts of a file, in its order. `source` is the file, or "" for the machine at hand without one."""

    hosts: tuple[Host, ...]
    source: str = ""

    def select(self, names: Sequence[str], tags: Sequence[str] = ()) -> tuple[Host, ...]:
        """The hosts with one of the names and one of the tags, in the file's order; no name or no tag: any.

        Raises InputError for a name or a tag that no host has, and when no host is left.
        """
        _must_be_known("--host", "host", names, [host.name for host in self.hosts])
        _must_be_known("--tag", "tag", tags, list(dict.fromkeys(tag for host in self.hosts for tag in host.tags)))
        named = [host for host in self.hosts if not names or host.name in names]
        chosen = tuple(host for host in named if not tags or set(tags) & set(host.tags))
        if not chosen:
            having = ", ".join(host.name for host in self.hosts if set(tags) & set(host.tags))
            raise InputError(
                f"--tag: no host of --host ({', '.join(names)}) has the tag {' or '.join(tags)}; with it: {having}"
            )
        return chosen


def _must_be_known(option: str, kind: str, given: Sequence[str], known: Sequence[str]) -> None:
    right = None if known else f"no host has one; write {kind}s: [{next(iter(given), '')}] to one in hosts.yaml"
    raise_problems(
        Problem(Place(option, 0), f"unknown {kind} {name!r}; {right or valid_names(name, known)}")
        for name in given
        if name not in known
    )


def hosts_text(hosts: Sequence[Host]) -> str:
    """A hosts.yaml with these hosts, each written out; what a run's folder keeps. It loads again to equal hosts."""
    return yaml.safe_dump({"hosts": [_entry(host) for host in hosts]}, sort_keys=False, allow_unicode=True)


def _entry(host: Host) -> dict[str, Any]:
    values = {item.name: getattr(host, item.name) for item in dataclasses.fields(host) if item.name not in _NOT_WRITTEN}
    values |= {"memory": host.memory_bytes, "tags": list(host.tags)}
    values |= {key: show_cpus(getattr(host, key)) for key in ("guest_cpus", "sampler_cpus")}
    return {key: value for key, value in values.items() if value not in ("", None, [])}


def load_inventory(path: Path | None = None) -> Inventory:
    """The hosts in `path`; without one those of ./hosts.yaml, or this machine alone when there is no such file.

    Raises InputError with every problem of the file.
    """
    if path is None and not DEFAULT_FILE.exists():
        return Inventory((Host("local", become="sudo", document=Document({}, {(): Place("this machine", 0)})),))
    source = path or DEFAULT_FILE
    document, secrets = _without_secrets(read(source))
    problems = [*check(document, InventoryModel)[1], *document.problems, *secrets]
    hosts, wrong = _hosts(document)
    raise_problems([*problems, *wrong])
    return Inventory(hosts, str(source))


def _without_secrets(document: Document) -> tuple[Document, list[Problem]]:
    """The document without keys that ask for a secret, each a problem that does not repeat it."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(item) for key, item in value.items() if not SECRET.search(key)}
        return [kept(item) for item in value] if isinstance(value, list) else value

    keys = [path for path in document.places if path and isinstance(path[-1], str) and SECRET.search(path[-1])]
    problems = [document.problem(path, NO_SECRETS) for path in keys]
    return dataclasses.replace(document, value=kept(document.value)), problems


def _hosts(document: Document) -> tuple[tuple[Host, ...], list[Problem]]:
    raw = document.value if isinstance(document.value, dict) else {}
    entries = raw["hosts"] if isinstance(raw.get("hosts"), list) else []
    problems: list[Problem] = []
    defaults = Document({}, {})
    if isinstance(raw.get("defaults"), dict):
        model, problems = check(document, DefaultsModel, ("defaults",))
        # Wrong defaults are reported once, where they stand, and not again for every host.
        defaults = document.sub(("defaults",)) if model else defaults
    hosts: list[Host] = []
    for index in range(len(entries)):
        own = document.sub(("hosts", index))
        merged = _merged(defaults, own)
        model, wrong = check(merged, HostModel)
        problems += wrong
        if model is None:
            continue
        host = _host(model, merged)
        problems += [*_against_itself(host, own), *_twins(host, hosts)]
        hosts.append(host)
    if all(host.address == "local" for host in hosts) and len(hosts) == len(entries):
        problems += [defaults.problem((key,), _IN_VAIN) for key in REMOTE_ONLY if key in defaults.value]
    return tuple(hosts), problems


_IN_VAIN = "only for hosts that are reached over SSH, and here is none; remove it, or give a host an address"


def _merged(defaults: Document, own: Document) -> Document:
    if not isinstance(own.value, dict):
        return own
    if own.value.get("address", defaults.value.get("address", "local")) == "local":
        # Defaults for SSH are for the others.
        value = {key: item for key, item in defaults.value.items() if key not in REMOTE_ONLY}
        defaults = dataclasses.replace(defaults, value=value)
    merged = overlay(defaults, own)
    return dataclasses.replace(merged, places={**merged.places, (): own.places[()]})


def _host(model: HostModel, document: Document) -> Host:
    values = model.model_dump(exclude={"memory", "tags"})
    return Host(**values, memory_bytes=model.memory, tags=tuple(model.tags), document=document)


def _against_itself(host: Host, own: Document) -> Iterable[Problem]:
    if host.address == "local":
        message = "only for a host that is reached over SSH; remove it, or write the host's name as its address"
        yield from (own.problem((key,), message) for key in REMOTE_ONLY if key in own.value)
    common = set(host.guest_cpus) & set(host.sampler_cpus)
    if common:
        path: KeyPath = ("guest_cpus",) if "sampler_cpus" not in own.value else ("sampler_cpus",)
        other = "sampler_cpus" if path == ("guest_cpus",) else "guest_cpus"
        cpus = show_cpus(tuple(common))
        yield host.document.problem(path, f"CPU {cpus} is in {other} too; give each CPU to one of the two")


def _twins(host: Host, others: Sequence[Host]) -> Iterable[Problem]:
    if any(host.name == other.name for other in others):
        yield host.document.problem(("name",), f"two hosts are called {host.name!r}; rename one")
