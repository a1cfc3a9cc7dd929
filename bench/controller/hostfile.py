"""The form of hosts.yaml: its keys and what each may hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bench.controller.quantities import (
    Cpus,
    HostPath,
    KernelPath,
    ModulesPath,
    Name,
    Size,
    is_plain,
    text_schema,
)
from bench.controller.yamlfile import Strict

# Keys of a host that is reached over SSH.
REMOTE_ONLY = ("user", "port", "identity", "gateway", "fingerprint")
# Keys that would hold what must not stand in a file that is shared.
SECRET = re.compile(r"pass(w|phrase|code|$)|secret|token|credential", re.IGNORECASE)
NO_SECRETS = "no secrets in this file; use the SSH agent, or a key without a passphrase (identity: its path)"

# No text here may begin with "-": it would be an option to a program that it is given to.
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]*"
_ADDRESS = r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*"
# An IPv6 address stands bare and has no port here: Fabric does not know brackets.
_GATEWAY = (
    r"([A-Za-z0-9_][A-Za-z0-9_.+\\-]*@)?([A-Za-z0-9_][A-Za-z0-9_.-]*(?P<port>:[0-9]{1,5})?"
    r"|[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9_.-]+)?)"
)
_FINGERPRINT = r"SHA256:[A-Za-z0-9+/]{43}"
_PYTHON = r"(/[A-Za-z0-9_./+-]*)?[A-Za-z0-9_.+-]*[A-Za-z0-9_+]"
_SCRATCH = r"(/.*|~/.+)"


def _address(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^:]+:[0-9]+", value):
        host, _, port = value.partition(":")
        raise ValueError(f"{value!r} has a port in it; write address: {host} and port: {port}")
    if isinstance(value, str) and "@" in value:
        user, _, host = value.rpartition("@")
        raise ValueError(f"{value!r} has a user in it; write address: {host} and user: {user}")
    if not isinstance(value, str) or not re.fullmatch(_ADDRESS, value):
        raise ValueError(f"{value!r} is no address; write local, a host name or an IP address, as in lab-1.example.org")
    return value


def _user(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_USER, value):
        raise ValueError(f"{value!r} is no user name; write the login name on the host, as in bench")
    return value


def _identity(value: Any) -> str:
    if isinstance(value, str) and ("PRIVATE KEY" in value or "\n" in value.strip()):
        # What is shown here ends in logs: the value is not repeated.
        raise ValueError(f"a private key itself; {NO_SECRETS}")
    if not isinstance(value, str) or not value.strip() or not is_plain(value):
        raise ValueError(f"{value!r} is no path; write that of a private key on this machine, as in ~/.ssh/id_ed25519")
    if value.endswith(".pub"):
        raise ValueError(f"{value!r} is a public key; name the private one, as in {value.removesuffix('.pub')}")
    try:
        return str(Path(value).expanduser().absolute())
    except RuntimeError:
        raise ValueError(f"{value!r}: there is no such user here; write the path from the root") from None


def _gateway(value: Any) -> str:
    match = re.fullmatch(_GATEWAY, value) if isinstance(value, str) else None
    if match is None or not 1 <= int((match["port"] or ":22")[1:]) <= 65535:
        raise ValueError(f"{value!r} is no gateway; write [user@]host[:port], as in me@gate.example.org:22")
    return match.string


def _fingerprint(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_FINGERPRINT, value):
        raise ValueError(
            f"{value!r} is no fingerprint; write what ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub shows on the "
            "host: SHA256: and 43 characters"
        )
    return value


def _python(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_PYTHON, value):
        raise ValueError(f"{value!r} is no interpreter; write a name or a path on the host, as in /usr/bin/python3.11")
    return value


def _scratch(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_SCRATCH, value) or not is_plain(value):
        raise ValueError(f"{value!r} is no folder on the host; write it from the root or from ~, as in /var/tmp/bench")
    return value


def _each_once(value: list[str]) -> list[str]:
    twice = next((name for name in value if value.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is written twice; keep one")
    return value


Address = Annotated[str, BeforeValidator(_address), text_schema(_ADDRESS)]
User = Annotated[str, BeforeValidator(_user), text_schema(_USER)]
Identity = Annotated[str, BeforeValidator(_identity), text_schema(".+")]
Gateway = Annotated[str, BeforeValidator(_gateway), text_schema(_GATEWAY.replace("?P<port>", ""))]
Fingerprint = Annotated[str, BeforeValidator(_fingerprint), text_schema(_FINGERPRINT)]
Python = Annotated[str, BeforeValidator(_python), text_schema(_PYTHON)]
Scratch = Annotated[str, BeforeValidator(_scratch), text_schema(_SCRATCH)]


class DefaultsModel(Strict):
    """`defaults:` of hosts.yaml: what holds for every host that does not say otherwise."""

    address: Address = Field(default="local", description="local, or a host name or IP address for SSH")
    user: User = Field(default="", description="the login name on the host, as in bench")
    port: int | None = Field(default=None, ge=1, le=65535, description="the port of SSH there, as in 22")
    identity: Identity = Field(
        default="", description="the path of a private key on this machine, as in ~/.ssh/id_ed25519"
    )
    gateway: Gateway = Field(
        default="", description="the machine on the way as [user@]host[:port], as in me@gate.example.org"
    )
    fingerprint: Fingerprint = Field(
        default="", description="the host key as ssh-keygen -l shows it: SHA256: and 43 characters"
    )
    become: Literal["sudo", "none"] = Field(
        default="none", description="sudo where sudo -n may be used on the host, or none"
    )
    python: Python = Field(default="", description="the Python on the host, as in /usr/bin/python3.11")
    qemu: HostPath = Field(default="", description="the path of QEMU, as in /usr/bin/qemu-system-x86_64")
    kernel: KernelPath = Field(
        default="", description="the path of a guest kernel, as in /boot/vmlinuz-6.1.0, or push: and a file here"
    )
    modules: ModulesPath = Field(
        default="", description="the path of its modules, as in /lib/modules/6.1.0, or push: and a folder here"
    )
    accel: Literal["auto", "kvm", "tcg"] = Field(default="auto", description="auto, kvm or tcg")
    memory: Size | None = Field(default=None, gt=0, description="the memory that guests may use, as in 16G")
    guest_cpus: Cpus = Field(default=(), description="the CPUs that guests run on, as in 2-7,10")
    sampler_cpus: Cpus = Field(default=(), description="the CPUs that measure, none of guest_cpus, as in 0-1")
    numa_node: int | None = Field(
        default=None, ge=0, description="the NUMA node of guest memory, a whole number from 0 on, as in 0"
    )
    scratch: Scratch = Field(
        default="", description="the folder on the host for what the suite keeps there, as in /var/tmp/bench"
    )
    tags: Annotated[list[Name], AfterValidator(_each_once)] = Field(
        default=[], description="a list of names to pick hosts by, as in [bare-metal, epyc]"
    )


class HostModel(DefaultsModel):
    """One entry of `hosts:`."""

    name: Name = Field(description="a name for this host, as in lab-1")


class InventoryModel(Strict):
    """hosts.yaml: the machines that run guests."""

    hosts: list[Any] = Field(min_length=1, description="a list of hosts, as in hosts: [{name: local}]")
    defaults: dict[str, Any] = Field(default={}, description="a mapping with what all hosts share, as in accel: auto")
