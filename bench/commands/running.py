"""`bench run`: from options and files to a run folder, and to the end of it on every host."""

from __future__ import annotations

import datetime as dt
import json
import platform
import random
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.commands.execute import Going, execute
from bench.commands.labs import Labs, all_failed, check_twins, choose
from bench.commands.saying import say
from bench.commands.survey import Question, Survey, ask_for_means, cargo_of, jobs_of, same_accel, survey
from bench.controller.fleet import transport_for
from bench.controller.gatefile import gate_facts
from bench.controller.inventory import Host, hosts_text, load_inventory
from bench.controller.lab import Cargo, Connect
from bench.controller.plan import Options, Plan, dump_plan, load_plan, precheck, resolve
from bench.controller.progress import clock
from bench.controller.run import statuses
from bench.controller.schedule import estimate_s
from bench.controller.stops import asked_for, unfinished
from bench.controller.store import SCHEMA, RunFolder, check_destination
from bench.errors import InputError
from bench.host.qemu import qemu_argv
from bench.wire.codec import to_json
from bench.wire.job import Job

RESULTS = Path("results")
_PACKAGES = ("fpr-bench", "fabric", "paramiko", "pyperf", "numpy", "scipy", "pandas", "qemu.qmp", "cffi")


@dataclass(frozen=True)
class How:
    """The options of `bench run` that say where and how, not what. parallel None: as the plan says.

    connect: the road to a host.
    """

    hosts: Sequence[str] = ()
    tags: Sequence[str] = ()
    hosts_file: Path | None = None
    out: Path | None = None
    parallel: int | None = None
    wait: bool = False
    dry_run: bool = False
    as_json: bool = False
    connect: Connect = transport_for


def run(plan_name: str, options: Options, how: How) -> None:
    """Checks everything that can be checked before the first boot, then boots."""
    hosts = choose(how.hosts, how.tags, how.hosts_file)
    plan_file = load_plan(plan_name)
    precheck(plan_file, options)
    wish = resolve(plan_file, "auto", options)
    destination = how.out or new_folder(wish.name)
    check_destination(destination)
    labs = Labs(hosts, how.parallel or wish.parallel, how.connect)
    check_twins(hosts, labs.parallel, wait=how.wait)
    cargo = cargo_of(wish, hosts)
    found = survey(labs, cargo, Question(plan_file, options, wish.accel), hosts, wait=how.wait)
    found.check_some()
    plan = resolve(plan_file, found.accel, options)
    seed = plan.seed if plan.seed is not None else random.SystemRandom().randrange(2**31)
    jobs = {host.name: jobs_of(plan, host, found, found.accel, seed) for host in hosts}
    if how.dry_run:
        return _show_all(found, jobs, as_json=how.as_json)
    _say_what(plan, found, jobs)
    facts = _run_facts(plan, found.accel, cargo, hosts, seed, jobs)
    folder = RunFolder.create(destination, facts, dump_plan(replace(plan, seed=seed)), hosts_text(hosts))
    _note_hosts(folder, found)
    labs.parallel = how.parallel or plan.parallel
    return execute(Going(folder, labs, cargo, plan, jobs, found.failed, how.wait, how.as_json))


def resume(path: Path, how: How) -> None:
    """The same plan, hosts, seed and files; only what is missing is booted, and only on the hosts where it is."""
    folder = RunFolder.existing(path)
    facts = folder.run
    if "hosts" not in facts:
        raise InputError(f"{path}: this run was begun by an older version, which alone can resume it; start a new run")
    hosts = load_inventory(path / "hosts.yaml").hosts
    plan_file = load_plan(str(path / "plan.yaml"))
    plan = resolve(plan_file, facts["accel"])
    known = Survey({host.name: answer for host in hosts if (answer := folder.host(host.name)) is not None}, {})
    jobs = {host.name: jobs_of(plan, host, known, facts["accel"], facts["seed"]) for host in hosts}
    asked = {name: asked_for(folder, name, mine, plan.retries) for name, mine in jobs.items()}
    left = {name: len(unfinished(mine, statuses(folder, name), plan.retries)) for name, mine in asked.items()}
    busy = [host for host in hosts if left[host.name]]
    labs = Labs(hosts, how.parallel or plan.parallel, how.connect)
    check_twins(busy, labs.parallel, wait=how.wait)
    found, cargo = Survey({}, {}), None
    if busy:
        cargo = cargo_of(plan, hosts)
        _check_same(path, facts, cargo, [known.answers[host.name] for host in busy if host.name in known.answers])
        new = [host for host in busy if host.name not in known.answers]
        ready = {host.name: known.answers[host.name] for host in busy if host not in new}
        changed = ask_for_means(labs, cargo, plan, ready, wait=how.wait)
        late = _late(labs, cargo, Question(plan_file, Options(), facts["accel"]), new, how)
        found = Survey(late.answers, {**late.failed, **changed})
        found.say_failed()
        _note_hosts(folder, found)
        jobs |= {host.name: jobs_of(plan, host, found, facts["accel"], facts["seed"]) for host in new}
    folder.append_event("", "resumed", boots=sum(left.values()))
    return execute(Going(folder, labs, cargo, plan, jobs, found.failed, how.wait, how.as_json))


def _late(labs: Labs, cargo: Cargo, question: Question, new: Sequence[Host], how: How) -> Survey:
    """The hosts that never answered when the run began."""
    if not new:
        return Survey({}, {})
    return same_accel(survey(labs, cargo, question, new, wait=how.wait), question.accel)


def _check_same(path: Path, facts: Mapping[str, Any], cargo: Cargo, answers: Sequence[Mapping[str, Any]]) -> None:
    """Raises InputError where boots that are still missing would be of other guests than those that are there."""
    if cargo.image.name != facts["image"]:
        raise InputError(
            f"{path}: its guests ran the image {facts['image']}, this version builds {cargo.image.name}; "
            "resume with the version that began the run, or start a new run"
        )
    for answer in answers:
        for named, there in answer["pushed"].items():
            if named in cargo.named and cargo.named[named].name != there.rpartition("/")[2]:
                raise InputError(f"{path}: {named} has changed since the run began; put it back, or start a new run")


def _note_hosts(folder: RunFolder, found: Survey) -> None:
    """hosts/<name>.json of those that answered."""
    for name, answer in found.answers.items():
        folder.write_json(f"hosts/{name}.json", answer)


def _show_all(found: Survey, jobs: Mapping[str, Sequence[Job]], *, as_json: bool) -> None:
    """What would be booted on the hosts that answered. Raises what the others failed of."""
    for name in found.answers:
        for job in jobs[name]:
            _show(job, qemu_argv(job, "PRIVATE", "INITRD"), as_json=as_json)
    sys.stdout.flush()
    if found.failed:
        raise all_failed(list(found.failed.items()), len(jobs))


def _show(job: Job, argv: Sequence[str], *, as_json: bool) -> None:
    seconds = estimate_s(job)
    if as_json:
        facts = {"host": job.host, "boot": job.boot, "job": job.id, "phases": len(job.phases), "estimate_s": seconds}
        print(json.dumps({"event": "job", **facts, "argv": list(argv)}))
    else:
        print(f"# {job.boot}: {len(job.phases)} phases, about {clock(seconds)}, job {job.id}")
        print(shlex.join(argv))


def _say_what(plan: Plan, found: Survey, jobs: Mapping[str, Sequence[Job]]) -> None:
    count = sum(len(mine) for mine in jobs.values())
    longest = clock(max(sum(map(estimate_s, mine)) for mine in jobs.values()))
    where = f" on {len(jobs)} hosts, about {longest} each" if len(jobs) > 1 else f", about {longest}"
    most = "at most " if plan.looks or plan.budget_s is not None else ""
    say(f"plan {plan.name}{f' ({plan.variant})' if plan.variant else ''}: {most}{count} boots{where}")
    if plan.looks:
        say(f"a cell is decided as soon as it can be, after {', '.join(map(str, plan.looks))} blocks")
    if found.accel == "tcg":
        reasons = {kvm["reason"] for answer in found.answers.values() if (kvm := answer["kvm"])}
        why = f": {'; '.join(sorted(reasons))}" if reasons else " as asked for"
        say(f"guests run under software emulation (TCG){why}; times are those of an emulated CPU")


def _run_facts(
    plan: Plan, accel: str, cargo: Cargo, hosts: Sequence[Host], seed: int, jobs: Mapping[str, Sequence[Job]]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "plan": plan.name,
        "question": plan.question,
        "variant": plan.variant,
        "seed": seed,
        "hosts": [host.name for host in hosts],
        "accel": accel,
        "reference": plan.reference,
        "arms": [arm.name for arm in plan.arms],
        "against": plan.against,
        "same_as": plan.same_as,
        "change": _change_facts(plan),
        "cells": [cell.name for cell in plan.cells],
        "cell_arms": {cell.name: [arm.name for arm in plan.arms_of(cell)] for cell in plan.cells if cell.arms},
        "blocks": plan.blocks,
        **({"looks": list(plan.looks)} if plan.looks else {}),
        **({"looks_left_out": list(plan.looks_left_out)} if plan.looks_left_out else {}),
        **({"budget_s": plan.budget_s} if plan.budget_s is not None else {}),
        "min_blocks": plan.min_blocks,
        "metrics": to_json(plan.metrics),
        **({"gate": gate_facts(plan.gate)} if plan.gate else {}),
        "pareto": [list(pair) for pair in plan.pareto],
        "tune": list(plan.tune),
        "quiet": to_json(plan.quiet),
        "image": cargo.image.name,
        "bundle": cargo.bundle.name,
        "programs": to_json(cargo.programs),
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "command": sys.argv,
        "schedule": [job.boot for mine in jobs.values() for job in mine],
    }


def _change_facts(plan: Plan) -> dict[str, Any] | None:
    """The two sides, and the arms as they were before each was copied: who is compared with whom among them."""
    if plan.change is None or plan.written is None:
        return None
    own = plan.written
    arms = {"arms": [arm.name for arm in own.arms], "reference": own.reference}
    return {**to_json(plan.change), **arms, "against": own.against, "same_as": own.same_as}


def new_folder(name: str) -> Path:
    """Where a run goes that nobody has named a folder for."""
    return RESULTS / f"{dt.datetime.now(dt.UTC).strftime('%Y%m%d-%H%M%S')}-{name}"
