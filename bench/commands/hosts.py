"""`bench prepare`, `bench doctor` and `bench tune`: what is done to hosts apart from runs, on all of them at once."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.commands.labs import PARALLEL, Labs, all_failed, choose, parted, raise_wrong_use
from bench.commands.saying import say, tell
from bench.controller import doctor as doctor_page
from bench.controller import settings as settings_page
from bench.controller.cargo import build_cargo
from bench.controller.fleet import transport_for
from bench.controller.inventory import Host
from bench.controller.lab import Cargo, Connect
from bench.controller.yamlfile import valid_names
from bench.errors import BenchError, InputError, Interrupted, LabError
from bench.wire.cache import cache_folder
from bench.wire.codec import from_json
from bench.wire.finding import Finding
from bench.wire.setting import NAMES, Setting
from bench.wire.units import printable

Answers = Mapping[str, "dict[str, Any] | BenchError"]


@dataclass(frozen=True)
class Which:
    """The hosts that a command names. connect: the road to a host."""

    hosts: Sequence[str] = ()
    tags: Sequence[str] = ()
    hosts_file: Path | None = None
    parallel: int | None = None
    connect: Connect = transport_for

    def labs(self) -> Labs:
        hosts = choose(self.hosts, self.tags, self.hosts_file)
        return Labs(hosts, self.parallel or PARALLEL, self.connect)


def prepare(which: Which, *, dry_run: bool, yes: bool, named: Sequence[str] = ()) -> None:
    """Says on every host what is missing and how it would be installed, asks, and does it.

    named: kernels and QEMUs that are wanted beside the host's own (bench.wire.named).
    """
    labs = which.labs()
    cargo = build_cargo(cache_folder(), labs.hosts)
    planned = _ask_all(labs, cargo, "prepare", dry_run=True, extra=list(named))
    raise_wrong_use(list(planned.values()))
    to_do = _say_plans(planned)
    if dry_run or not to_do:
        return _end_of_prepare(planned)
    if not yes:
        _confirm(len(to_do))
    hosts = [host for host in labs.hosts if host.name in to_do]
    done = _ask_all(labs, cargo, "prepare", hosts, dry_run=False, extra=list(named))
    for name, answer in parted(done)[0].items():
        installed = ", ".join(answer["installed"]) or "nothing"
        print(f"{name}: installed: {installed}; guest kernel: {answer['kernel']['image']}")
        print("".join(f"{name}: {printable(line)}\n" for line in answer["there"]), end="")
    sys.stdout.flush()
    return _end_of_prepare({**planned, **done})


def _say_plans(planned: Answers) -> list[str]:
    """Says what would be done where; the names of the hosts where something would be."""
    to_do = []
    for name, answer in planned.items():
        if isinstance(answer, BenchError):
            # Before anything is agreed to; the end says it again.
            say(f"goes on without it: {answer}")
            continue
        for line in answer["lacks"]:
            say(f"{name}: skipped: {printable(line)}")
        print("".join(f"{name}: {printable(line)}\n" for line in answer["there"]), end="")
        steps = [shlex.join(argv) for argv in answer["commands"]] + ([answer["fetch"]] if answer["fetch"] else [])
        steps += answer["extra"]
        if answer["blocked"]:
            why = f" ({answer['reason']})" if answer["reason"] not in ("", answer["blocked"]) else ""
            print(f"{name}: missing: {', '.join(answer['missing'])}; this user cannot install it{why}:")
            print(f"  {answer['blocked']}")
        elif steps:
            to_do.append(name)
            print(f"{name}: missing: {', '.join(answer['missing']) or 'what is wanted by name'}; would run:")
            print("".join(f"  {step}\n" for step in steps), end="")
        else:
            print(f"{name}: nothing is missing; guest kernel: {answer['kernel']['image']}")
    sys.stdout.flush()
    return to_do


def _confirm(count: int) -> None:
    if not sys.stdin.isatty():
        raise InputError("bench prepare: nobody is there to be asked; say --yes, or --dry-run to see what it would do")
    if not click.confirm(f"Do this on {count} host{'s' if count > 1 else ''}?", err=True):
        raise Interrupted("nothing was installed")


def _end_of_prepare(answers: Answers) -> None:
    told, failed = parted(answers)
    blocked = [name for name, answer in told.items() if answer["blocked"]]
    if failed:
        raise all_failed(list(failed.items()), len(answers))
    not_had = [(name, line) for name, answer in told.items() for line in answer["failed"]]
    if not_had:
        raise LabError(
            ", ".join(dict.fromkeys(name for name, _ in not_had)),
            "not everything that is wanted by name could be had; arms that name it are skipped",
            evidence=[line for _, text in not_had for line in text.splitlines()],
        )
    if blocked:
        raise InputError(f"bench prepare: {', '.join(blocked)}: an administrator has to run the commands above")


def doctor(which: Which, *, as_json: bool, everything: bool) -> int:
    """Findings of every host; answers the exit code."""
    labs = which.labs()
    cargo = build_cargo(cache_folder(), labs.hosts)
    say(f"examining {', '.join(host.name for host in labs.hosts)}; canary guests boot there")
    answers = _ask_all(labs, cargo, "doctor")
    if not any(isinstance(answer, dict) for answer in answers.values()):
        raise_wrong_use(list(answers.values()))
    reports: dict[str, Sequence[Finding] | BenchError] = {
        name: answer
        if isinstance(answer, BenchError)
        else [from_json(Finding, finding) for finding in answer["findings"]]
        for name, answer in answers.items()
    }
    if as_json:
        print(json.dumps(doctor_page.as_json(reports), indent=1, ensure_ascii=False))
    else:
        doctor_page.render(reports, sys.stdout, everything=everything)
    return doctor_page.exit_code(reports)


def tune(which: Which, action: str, names: Sequence[str], *, as_json: bool) -> None:
    """`bench tune show|apply|restore`. What could not be touched is said, and is no failure."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InputError("\n".join(f"--only: unknown setting {name!r}; {valid_names(name, NAMES)}" for name in unknown))
    labs = which.labs()
    cargo = build_cargo(cache_folder(), labs.hosts)
    answers = _ask_all(labs, cargo, "tune", action=action, names=list(names))
    raise_wrong_use(list(answers.values()))
    told, failed = parted(answers)
    if as_json:
        print(json.dumps(settings_page.as_json(told, failed), indent=1, ensure_ascii=False))
    else:
        for name, answer in told.items():
            rows = [from_json(Setting, setting) for setting in answer["settings"]]
            for line in answer["problems"]:
                say(f"{name}: {line}")
            sys.stdout.write(settings_page.text(name, action, rows, answer["journal"], answer["second_opinion"]))
    sys.stdout.flush()
    if failed:
        raise all_failed(list(failed.items()), len(answers))


def _ask_all(
    labs: Labs, cargo: Cargo, what: str, hosts: Sequence[Host] | None = None, **args: Any
) -> dict[str, dict[str, Any] | BenchError]:
    """The answer of every host, or why there is none."""

    def work(host: Host) -> dict[str, Any]:
        with labs.open(host, cargo) as lab:
            try:
                return lab.ask(what, **args, become=host.become, accel=host.accel, **lab.places)
            finally:
                tell("".join(f"{host.name}: {line}\n" for line in lab.session.log.splitlines()))

    return labs.each(work, hosts)
