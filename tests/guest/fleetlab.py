"""Lab hosts in namespaces, a hosts.yaml that names them, and `bench` as people use it, with a home of its own."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forked import Bench
from nethosts import NetHost, net_hosts

from bench.wire.cache import cache_folder

# Whole boots with little in them: a lab of three hosts shares two cores here.
SHORT = (
    *("--set", "workloads.0.touch=20%", "--set", "workloads.0.drain_min_s=1"),
    *("--set", "workloads.0.settle_min_s=4.5", "--set", "workloads.0.settle_window_s=2.5"),
    *("--set", "workloads.0.window_s=4.5", "--set", "parallel=1"),
    # What else runs on this machine must not keep a guest from being started.
    *(word for limit in ("busy", "load", "pressure", "swap") for word in ("--set", f"quiet.{limit}=null")),
)


class Fleet:
    """The hosts, and a working folder whose hosts.yaml has them all. `home`: of the user who runs `bench`."""

    def __init__(self, hosts: Sequence[NetHost], folder: Path) -> None:
        self.hosts = hosts
        self.cwd = folder / "cwd"
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True)
        self.cwd.mkdir()
        self.accept(*hosts)
        self.write_hosts()

    def accept(self, *hosts: NetHost) -> None:
        """Their keys, and no others, are known."""
        (self.home / ".ssh/known_hosts").write_text("".join(host.known_hosts for host in hosts))

    def write_hosts(self, **changes: Mapping[str, Any]) -> None:
        """hosts.yaml; changes: keys of single hosts, by name."""
        entries = [
            {"name": host.name, "address": host.address, "user": host.user, "identity": str(host.identity)}
            | {"accel": "tcg"}
            | dict(changes.get(host.name, {}))
            for host in self.hosts
        ]
        (self.cwd / "hosts.yaml").write_text(json.dumps({"hosts": entries}, indent=1))

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.home),
            # Image and bundle are built once for all tests.
            "BENCH_CACHE": str(cache_folder()),
            "SSH_AUTH_SOCK": "",
        }

    def start(self, *argv: str) -> Bench:
        return Bench(*argv, cwd=self.cwd, env=self.environment)

    def bench(self, *argv: str, deadline_s: float = 400) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        process = self.start(*argv)
        out, err = process.communicate(timeout=deadline_s)
        return process.wait(), out, err

    def boots(self, run: str) -> list[dict[str, Any]]:
        return self.lines(run, "boots.jsonl")

    def events(self, run: str, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.lines(run, "events.jsonl") if event["event"] == kind]

    def lines(self, run: str, name: str) -> list[dict[str, Any]]:
        path = self.cwd / run / name
        whole = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in whole]


@contextlib.contextmanager
def fleet(count: int, folder: Path) -> Iterator[Fleet]:
    """So many hosts with this machine's guest kernels; gone at the end of the block."""
    with net_hosts(count, folder, cache_folder() / "kernels") as hosts:
        yield Fleet(hosts, folder)


def qemus(host: NetHost) -> list[str]:
    """Guests that run on a host; `qemu-system-… --version` is none."""
    return [line for line in host.processes() if "qemu-system" in line.split()[0] and " -kernel " in line]


def left_on(host: NetHost) -> dict[str, Any]:
    """What a bench may have left on a host; all of it is empty or as before. The cache alone may stay."""
    home = ["find", "/root", "-mindepth", "1", "-maxdepth", "1", "!", "-name", ".cache"]
    return {
        "processes": [line for line in host.processes() if not line.startswith("sshd:") and "sshd -D" not in line],
        "locks": host.run(["ls", "/run/lock"]).stdout.decode().split(),
        "temporary": host.run(["ls", "-A", "/tmp"]).stdout.decode().split(),
        "state": host.run([*home, "!", "-name", ".local"]).stdout.decode().split(),
        "journal": host.run(["find", "/root/.local", "-type", "f"]).stdout.decode().split(),
        # Not /proc/swaps: it is the machine's, and other tests run beside these.
        "swaps": host.run(["find", "/root/.cache", "-name", "*.swap"]).stdout.decode().split(),
        "mounts": host.run(["cat", "/proc/self/mounts"]).stdout,
        "settings": settings(),
    }


def settings() -> dict[str, str]:
    """Settings of this machine's kernel that a bench could touch."""
    found = {}
    for pattern in (
        "sys/kernel/mm/transparent_hugepage/*enabled",
        "sys/kernel/mm/ksm/run",
        "proc/sys/vm/swappiness",
        "proc/sys/vm/compaction_proactiveness",
        "proc/sys/vm/nr_hugepages",
        "proc/sys/kernel/*watchdog",
        "sys/devices/system/cpu/cpu*/cpuidle/state*/disable",
    ):
        for path in Path("/").glob(pattern):
            with contextlib.suppress(OSError):
                found[str(path)] = path.read_text()
    return found
