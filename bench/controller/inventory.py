"""hosts.yaml: the machines that run guests. For now there is one, the machine that the suite runs on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field

from bench.controller.overlay import overlay
from bench.controller.quantities import HostPath, Name, Size
from bench.controller.yamlfile import Document, Place, Problem, Strict, check, raise_problems, read, valid_names
from bench.errors import InputError

DEFAULT_FILE = Path("hosts.yaml")


def _address(value: str) -> str:
    if value != "local":
        raise ValueError(f"{value!r}: remote hosts are not supported yet; write local")
    return value


class DefaultsModel(Strict):
    """`defaults:` of hosts.yaml: what holds for every host that does not say otherwise."""

    address: Annotated[str, AfterValidator(_address)] = Field(default="local", description="local")
    qemu: HostPath = Field(default="", description="the path of QEMU, as in /usr/bin/qemu-system-x86_64")
    kernel: HostPath = Field(default="", description="the path of a guest kernel, as in /boot/vmlinuz-6.1.0")
    modules: HostPath = Field(default="", description="the path of its modules, as in /lib/modules/6.1.0")
    accel: Literal["auto", "kvm", "tcg"] = Field(default="auto", description="auto, kvm or tcg")
    memory: Size | None = Field(default=None, gt=0, description="the memory that guests may use, as in 16G")


class HostModel(DefaultsModel):
    """One entry of `hosts:`."""

    name: Name = Field(description="a name for this host, as in lab-1")


class InventoryModel(Strict):
    """The file."""

    hosts: list[Any] = Field(min_length=1, description="a list of hosts, as in hosts: [{name: local}]")
    defaults: dict[str, Any] = Field(default={}, description="a mapping with what all hosts share, as in accel: auto")


@dataclass(frozen=True)
class Host:
    """A machine that runs guests. Paths are "" and memory_bytes is None where the suite shall choose."""

    name: str
    address: str = "local"
    qemu: str = ""
    kernel: str = ""
    modules: str = ""
    accel: str = "auto"
    memory_bytes: int | None = None
    document: Document = field(default=Document({}, {}), compare=False, repr=False)

    def error(self, key: str, message: str) -> InputError:
        """An InputError at this host's `key` in hosts.yaml, for what only the machine itself can tell."""
        return InputError(str(self.document.problem((key,), message)))


@dataclass(frozen=True)
class Inventory:
    """The hosts of a file, in its order. `source` is the file, or "" for the machine at hand without one."""

    hosts: tuple[Host, ...]
    source: str = ""

    def select(self, names: Sequence[str]) -> tuple[Host, ...]:
        """The hosts called so, in the file's order; all when no name is given. Raises InputError."""
        known = [host.name for host in self.hosts]
        raise_problems(
            Problem(Place("--host", 0), f"unknown host {name!r}; {valid_names(name, known)}")
            for name in names
            if name not in known
        )
        return tuple(host for host in self.hosts if not names or host.name in names)


def hosts_text(host: Host) -> str:
    """A hosts.yaml with this one host, everything written out; what a run's folder keeps."""
    entry = {"name": host.name, "address": host.address, "accel": host.accel}
    entry |= {key: value for key in ("qemu", "kernel", "modules") if (value := getattr(host, key))}
    memory = {} if host.memory_bytes is None else {"memory": host.memory_bytes}
    return yaml.safe_dump({"hosts": [entry | memory]}, sort_keys=False, allow_unicode=True)


def load_inventory(path: Path | None = None) -> Inventory:
    """The hosts in `path`; without one those of ./hosts.yaml, or this machine alone when there is no such file.

    Raises InputError with every problem of the file.
    """
    if path is None and not DEFAULT_FILE.exists():
        return Inventory((Host("local", document=Document({}, {(): Place("this machine", 0)})),))
    source = path or DEFAULT_FILE
    document = read(source)
    problems = [*check(document, InventoryModel)[1], *document.problems]
    hosts, wrong = _hosts(document)
    raise_problems([*problems, *wrong])
    return Inventory(hosts, str(source))


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
    for index, entry in enumerate(entries):
        own = document.sub(("hosts", index))
        merged = overlay(defaults, own) if isinstance(entry, dict) else own
        merged = dataclasses.replace(merged, places={**merged.places, (): own.places[()]})
        host, wrong = check(merged, HostModel)
        problems += wrong
        if host and any(host.name == other.name for other in hosts):
            problems.append(merged.problem(("name",), f"two hosts are called {host.name!r}; rename one"))
        if host:
            hosts.append(_host(host, merged))
    return tuple(hosts), problems


def _host(model: HostModel, document: Document) -> Host:
    return Host(
        **model.model_dump(exclude={"memory"}),
        memory_bytes=model.memory,
        document=document,
    )
