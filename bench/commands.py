"""What the commands do, in the order of the data: files, the host's answers, plan, jobs, run, verdict.

With `bench.cli` this is the composition root: the only place that may import every part.
"""

from __future__ import annotations

import datetime as dt
import platform
import random
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.controller import doctor as doctor_page
from bench.controller.bundle import build_bundle
from bench.controller.image import build_image
from bench.controller.inventory import Host, hosts_text, load_inventory
from bench.controller.plan import Options, Plan, arm_error, check_memory, dump_plan, load_plan, precheck, resolve
from bench.controller.progress import LineProgress, clock
from bench.controller.schedule import estimate_s, schedule
from bench.controller.session import LocalSession
from bench.controller.store import SCHEMA, RunFolder, check_destination
from bench.errors import InputError, Interrupted, LabError
from bench.host.qemu import qemu_argv
from bench.wire.cache import cache_folder
from bench.wire.codec import from_json, to_json
from bench.wire.finding import Finding
from bench.wire.job import Arm, Job, Paths

RESULTS = Path("results")
_PACKAGES = ("fpr-bench", "pyperf", "numpy", "scipy", "pandas", "qemu.qmp", "cffi")


@dataclass(frozen=True)
class Lab:
    """One host that has answered what a guest would run with there (the reply to `resolve`)."""

    host: Host
    session: LocalSession
    answer: Mapping[str, Any]

    @property
    def paths(self) -> Paths:
        return from_json(Paths, self.answer["paths"])

    @property
    def accel(self) -> str:
        return str(self.answer["accel"])


def run(
    plan: str,
    hosts: Sequence[str],
    hosts_file: Path | None,
    arms: Sequence[str],
    workloads: Sequence[str],
    variant: str | None,
    sets: Sequence[str],
    blocks: int | None,
    seed: int | None,
    out: Path | None,
    dry_run: bool,
) -> None:
    """`bench run`: checks everything that can be checked before the first boot, then boots."""
    options = Options(variant, tuple(sets), tuple(arms), tuple(workloads), blocks, seed)
    inventory = load_inventory(hosts_file)
    host = _only(inventory.select(hosts))
    plan_file = load_plan(plan)
    precheck(plan_file, options)
    wish = resolve(plan_file, "auto", options)
    destination = out or _new_folder(wish.name)
    check_destination(destination)
    lab = open_lab(host, host.accel if wish.accel == "auto" else wish.accel)
    resolved = resolve(plan_file, lab.accel, options)
    check_memory(resolved, host, int(lab.answer["available_bytes"]))
    _check_arms(lab, resolved)
    number = resolved.seed if resolved.seed is not None else random.SystemRandom().randrange(2**31)
    jobs = schedule(resolved, host, lab.paths, lab.accel, number)
    if dry_run:
        return _show(jobs)
    _say_what(resolved, lab, jobs)
    folder = RunFolder.create(
        destination,
        _run_facts(resolved, lab, jobs, number),
        dump_plan(replace(resolved, seed=number)),
        hosts_text(host),
    )
    return _execute(folder, lab.session, resolved, jobs)


def resume(path: Path) -> None:
    """`bench run --resume`: the same plan, host, seed and files; only what is missing is booted."""
    folder = RunFolder.existing(path)
    facts = folder.run
    host = load_inventory(path / "hosts.yaml").select([facts["host"]])[0]
    plan = resolve(load_plan(str(path / "plan.yaml")), facts["accel"])
    session = LocalSession(host.name, build_bundle(cache_folder()))
    paths = from_json(Paths, facts["paths"])
    image = build_image(cache_folder())
    if image.name != Path(paths.image).name:
        raise InputError(
            f"{path}: its guests ran the image {Path(paths.image).name}, this version builds {image.name}; "
            "resume with the version that began the run, or start a new run"
        )
    jobs = schedule(plan, host, replace(paths, image=str(image)), facts["accel"], facts["seed"])
    _execute(folder, session, plan, jobs)


def open_lab(host: Host, accel: str) -> Lab:
    """Builds image and bundle, and asks the host what a guest would run with; accel: "auto", "kvm" or "tcg"."""
    cache = cache_folder()
    _say("building the guest image and the host bundle")
    image = build_image(cache)
    session = LocalSession(host.name, build_bundle(cache))
    _say(f"asking {host.name} for QEMU, guest kernel and accelerator")
    return Lab(host, session, _ask(session, host, "resolve", accel=accel, image=str(image)))


def _ask(session: LocalSession, host: Host, what: str, **args: str) -> dict[str, Any]:
    """The host's answer about the files of its entry. A wrong one is shown at its line of hosts.yaml."""
    try:
        return session.ask(what, **args, **_files(host))
    except InputError as error:
        raise host.error(error.key, str(error)) if error.key else error from error


def _files(named: Host | Arm) -> dict[str, str]:
    """The files that a host's or an arm's entry names; "" for the host's own."""
    return {"qemu": named.qemu, "kernel": named.kernel, "modules": named.modules}


def prepare(hosts: Sequence[str], hosts_file: Path | None, *, dry_run: bool) -> None:
    """`bench prepare`: the host side installs what it lacks; prints what is there now."""
    for host in load_inventory(hosts_file).select(hosts):
        session = LocalSession(host.name, build_bundle(cache_folder()))
        _say(f"{host.name}: looking for QEMU and a guest kernel")
        answer = session.ask("prepare", dry_run=dry_run, kernel=host.kernel, modules=host.modules)
        sys.stderr.write(session.log)
        kernel = answer["kernel"]
        installed = ", ".join(answer["installed"]) or "nothing"
        verb = "would be installed" if dry_run else "installed"
        print(f"{host.name}: {verb}: {installed}; guest kernel: {kernel['image'] if kernel else 'would be fetched'}")
        if not dry_run:
            _say(f"{host.name}: guest image {build_image(cache_folder()).name}")


def doctor(hosts: Sequence[str], hosts_file: Path | None, *, as_json: bool) -> int:
    """`bench doctor`: findings of every host; answers the exit code."""
    import json

    reports = {}
    for host in load_inventory(hosts_file).select(hosts):
        cache = cache_folder()
        image = build_image(cache)
        session = LocalSession(host.name, build_bundle(cache))
        _say(f"{host.name}: examining, booting canary guests")
        answer = _ask(session, host, "doctor", accel=host.accel, image=str(image))
        reports[host.name] = [from_json(Finding, finding) for finding in answer["findings"]]
    if as_json:
        print(json.dumps(doctor_page.as_json(reports), indent=1))
    else:
        doctor_page.render(reports, sys.stdout)
    return doctor_page.exit_code(reports)


def report(path: Path) -> Path:
    """`bench report`: analysis and page anew, from the run's own files."""
    from bench.controller.run import conclude
    from reports.page import render

    folder = RunFolder.existing(path)
    conclude(folder)
    page = render(folder.path)
    folder.seal()
    return page


def _execute(folder: RunFolder, session: LocalSession, plan: Plan, jobs: Sequence[Job]) -> None:
    """Boots what is missing; whatever ends it, what was measured is analysed and on disk before the exit."""
    from bench.controller.run import Runner, verify_outcome

    progress = LineProgress(jobs, estimate_s, sys.stderr)
    progress.skip([boot["boot"] for boot in folder.boots() if boot["status"] != "failed"])
    windows = {cell.name: float(cell.params["window_s"]) for cell in plan.cells}
    try:
        Runner(session, folder, progress, plan.retries, windows).run(jobs)
    except KeyboardInterrupt:
        _finish(folder)
        raise Interrupted(f"interrupted; finish it with: bench run --resume {shlex.quote(str(folder.path))}") from None
    except LabError:
        # What stopped the run (a full disk) may stop this too; the first cause is the one to tell.
        with suppress(LabError):
            _finish(folder)
        raise
    verify_outcome(_finish(folder), session.name)


def _finish(folder: RunFolder) -> dict[str, Any]:
    """Analysis, page, manifest; the verdict on stderr and the folder as stdout's last line."""
    from bench.analysis.tables import verdict_table
    from bench.controller.run import conclude
    from reports.page import render

    _say("comparing the arms and rendering the report")
    try:
        analysis = conclude(folder)
        page = render(folder.path)
        folder.seal()
    except OSError as error:
        advice = "every finished boot is in boots.jsonl; `bench report RUN` makes the report once there is room"
        raise LabError(
            "controller", f"{folder.path}: the report cannot be written: {error.strerror}; {advice}"
        ) from error
    print(verdict_table(analysis), file=sys.stderr)
    print(f"report: {page}", file=sys.stderr)
    print(folder.path, flush=True)
    return analysis


def _check_arms(lab: Lab, plan: Plan) -> None:
    """Every arm's own kernel or QEMU is looked at on the host before anything boots."""
    for arm in plan.arms:
        if not any(_files(arm).values()):
            continue
        try:
            lab.session.ask("resolve", accel="tcg", image=lab.paths.image, **_files(arm))
        except InputError as error:
            raise arm_error(plan, arm.name, error.key, str(error)) if error.key else error from error


def _show(jobs: Sequence[Job]) -> None:
    for job in jobs:
        argv = qemu_argv(job, "PRIVATE", "INITRD")
        print(f"# {job.boot}: {len(job.phases)} phases, about {clock(estimate_s(job))}, job {job.id}")
        print(shlex.join(argv))


def _say_what(plan: Plan, lab: Lab, jobs: Sequence[Job]) -> None:
    total = clock(sum(map(estimate_s, jobs)))
    _say(f"plan {plan.name}{f' ({plan.variant})' if plan.variant else ''}: {len(jobs)} boots, about {total}")
    kvm = lab.answer["kvm"]
    if lab.accel == "tcg":
        reason = f": {kvm['reason']}" if kvm else " as asked for"
        _say(f"guests run under software emulation (TCG){reason}; times are those of an emulated CPU")


def _run_facts(plan: Plan, lab: Lab, jobs: Sequence[Job], seed: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "plan": plan.name,
        "question": plan.question,
        "variant": plan.variant,
        "seed": seed,
        "host": lab.host.name,
        "accel": lab.accel,
        "kvm": lab.answer["kvm"],
        "reference": plan.reference,
        "arms": [arm.name for arm in plan.arms],
        "cells": [cell.name for cell in plan.cells],
        "blocks": plan.blocks,
        "min_blocks": plan.min_blocks,
        "metrics": to_json(plan.metrics),
        "paths": to_json(lab.paths),
        "guest_kernel": lab.answer["guest_kernel"],
        "qemu_version": lab.answer["qemu_version"],
        "host_facts": lab.answer["host_facts"],
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "command": sys.argv,
        "schedule": [job.boot for job in jobs],
    }


def _only(hosts: Sequence[Host]) -> Host:
    if len(hosts) != 1:
        names = ", ".join(host.name for host in hosts)
        raise InputError(f"--host: one host a run, but {len(hosts)} were chosen ({names}); name one with --host")
    return hosts[0]


def _new_folder(name: str) -> Path:
    return RESULTS / f"{dt.datetime.now(dt.UTC).strftime('%Y%m%d-%H%M%S')}-{name}"


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
