"""What `bench bisect` is asked for: the options, held against repository, plan and hosts before anything is built."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.verdict import default_margin
from bench.commands.labs import choose
from bench.controller import gittree
from bench.controller.bisecting import Asked
from bench.controller.plan import Cell, Options, Plan, load_plan, precheck, resolve
from bench.controller.yamlfile import valid_names
from bench.errors import InputError
from bench.wire.metrics import METRICS, metrics_of

DEFAULT_ARM = "reporting"


@dataclass(frozen=True)
class Request:
    """The options as they were typed."""

    repo: Path
    good: str
    bad: str
    metric: str
    build: str
    kernel: str | None = None
    qemu: str | None = None
    modules: str | None = None
    plan: str = "quick"
    workload: str | None = None
    arm: str | None = None
    host: str | None = None
    hosts_file: Path | None = None
    variant: str | None = None
    sets: tuple[str, ...] = ()
    blocks: int = 3
    most_blocks: int = 15
    seed: int | None = None


def asked_of(request: Request) -> Asked:
    """The same with every name found. Raises InputError for what is wrong, and says what would be right."""
    repo = gittree.top_of(request.repo)
    good, bad = (
        gittree.commit_of(repo, revision, option)
        for option, revision in (("--good", request.good), ("--bad", request.bad))
    )
    gittree.check_order(repo, good, bad)
    kind, file = _product(request)
    host = _host(request, kind)
    plan_name = _whole(request.plan)
    plan = _plan(request, plan_name)
    cell, arm = _cell(request, plan), _arm(request, plan)
    interest = plan.metrics.get(request.metric)
    return Asked(
        repo=str(repo),
        good=good,
        bad=bad,
        metric=request.metric,
        margin=default_margin(METRICS[request.metric]) if interest is None else interest.margin,
        build=_words(request.build),
        kind=kind,
        file=file,
        modules=request.modules or "",
        plan=plan_name,
        workload=cell.name,
        arm=arm,
        host=host,
        hosts_file=str(request.hosts_file.absolute()) if request.hosts_file else "",
        folder=str(Path.cwd()),
        variant=request.variant or "",
        sets=request.sets,
        blocks=request.blocks,
        most_blocks=request.most_blocks,
        seed=request.seed,
    )


def _product(request: Request) -> tuple[str, str]:
    """kernel or qemu, and the path of what the build makes."""
    given = [(kind, path) for kind in ("kernel", "qemu") if (path := getattr(request, kind)) is not None]
    if len(given) != 1:
        raise InputError(
            "--kernel, --qemu: name one of them: what the build makes, from the top of the tree, as in "
            "--kernel arch/x86/boot/bzImage or --qemu build/qemu-system-x86_64"
        )
    ((kind, path),) = given
    if request.modules is not None and kind != "kernel":
        raise InputError("--modules: goes with --kernel; leave it out")
    for option, inside in ((kind, path), ("modules", request.modules)):
        if inside is not None and (not inside or Path(inside).is_absolute() or ".." in Path(inside).parts):
            right = "name it from the top of the tree: every commit is built in a checkout of its own"
            raise InputError(f"--{option} {inside}: no path inside the tree; {right}")
    return kind, path


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise InputError(f"--build {command!r}: {error}; write a command with its arguments in quotes") from error
    if not words:
        raise InputError("--build: is empty; write a command with its arguments, as in --build 'make -j8 bzImage'")
    return words


def _whole(plan: str) -> str:
    """A plan's file by its whole path: steps run elsewhere."""
    return str(Path(plan).absolute()) if "/" in plan or plan.endswith((".yaml", ".yml")) else plan


def _host(request: Request, kind: str) -> str:
    """The one host to measure on; a QEMU of this machine's must be there too."""
    hosts = choose([request.host] if request.host else (), (), request.hosts_file)
    if len(hosts) != 1:
        names = ", ".join(host.name for host in hosts)
        raise InputError(f"--host: name the one to measure on; valid: {names}")
    (host,) = hosts
    if kind == "qemu" and host.address != "local":
        raise InputError(
            f"--qemu: host {host.name} is another machine ({host.address}), where the QEMU that is built here is not; "
            "bisect on that machine itself, with a host whose address is local"
        )
    return host.name


def _plan(request: Request, name: str) -> Plan:
    file, options = load_plan(name), Options(variant=request.variant, sets=request.sets, seed=request.seed)
    precheck(file, options)
    plan = resolve(file, "auto", options)
    if plan.change is not None:
        raise InputError(f"--plan {request.plan}: it has a change: of its own, and a bisection makes one; leave it out")
    if request.blocks < max(2, plan.min_blocks):
        least = max(2, plan.min_blocks)
        raise InputError(f"--blocks {request.blocks}: a verdict needs {least} (min_blocks of the plan); write {least}")
    if request.most_blocks < request.blocks:
        raise InputError(f"--most-blocks {request.most_blocks}: fewer than --blocks {request.blocks}; write more")
    return plan


def _cell(request: Request, plan: Plan) -> Cell:
    """The workload to measure: the one that was named, or the only one that gives the metric."""
    names = [cell.name for cell in plan.cells]
    if request.workload is not None and request.workload not in names:
        wrong = f"unknown workload {request.workload!r}; {valid_names(request.workload, names)}"
        raise InputError(f"--workload: {wrong}")
    cells = [cell for cell in plan.cells if request.workload in (None, cell.name)]
    given = list(dict.fromkeys(metric.name for cell in cells for metric in metrics_of(cell.workload)))
    sided = [name for name in given if METRICS[name].direction != "none" and METRICS[name].kind != "exact"]
    if request.metric not in sided:
        what = "no workload of this plan gives it" if request.metric in METRICS else "unknown metric"
        what = "neither more nor less of it is worse" if request.metric in given else what
        raise InputError(f"--metric {request.metric}: {what}; {valid_names(request.metric, sided)}")
    fitting = [cell for cell in cells if request.metric in {metric.name for metric in metrics_of(cell.workload)}]
    if len(fitting) > 1:
        several = ", ".join(cell.name for cell in fitting)
        raise InputError(f"--workload: name the one to measure, for several give {request.metric}; valid: {several}")
    return fitting[0]


def _arm(request: Request, plan: Plan) -> str:
    """The arm to measure: the one that was named, `reporting`, or the plan's last one."""
    names = [arm.name for arm in plan.arms if arm.name not in plan.same_as]
    if request.arm is None:
        return DEFAULT_ARM if DEFAULT_ARM in names else names[-1]
    if request.arm not in names:
        raise InputError(f"--arm: unknown arm {request.arm!r}; {valid_names(request.arm, names)}")
    return request.arm
