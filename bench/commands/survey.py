"""Before a run: every host is reached, and asked what its guests would run with. Nothing has been begun yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.commands.labs import Labs, all_failed, owner, parted, raise_wrong_use
from bench.commands.saying import say
from bench.controller.cargo import build_cargo
from bench.controller.inventory import Host
from bench.controller.lab import Cargo, Lab, paths_of
from bench.controller.means import check_means, means_args
from bench.controller.plan import Options, Plan, PlanFile, arm_error, check_cpus, check_memory, plan_error, resolve
from bench.controller.programs import NoProgramError
from bench.controller.schedule import schedule
from bench.controller.yamlfile import KeyPath
from bench.errors import BenchError, InputError, LabError, MissingError
from bench.host import package_names
from bench.wire.cache import cache_folder
from bench.wire.codec import to_json
from bench.wire.holder import held_by, taken_from
from bench.wire.job import Hold, Job, Paths
from bench.wire.named import name_of
from bench.wire.record import Held, Waiting
from bench.wire.units import printable

# What of a host's answer is about the files of a guest.
OF_FILES = ("paths", "qemu_version", "guest_kernel")


@dataclass(frozen=True)
class Question:
    """What the hosts are asked for: the plan, and an accelerator ("auto" for the host's own wish)."""

    plan: PlanFile
    options: Options
    accel: str = "auto"


@dataclass(frozen=True)
class Survey:
    """The hosts that answered (the content of their hosts/<name>.json), and why the others did not."""

    answers: Mapping[str, dict[str, Any]]
    failed: Mapping[str, BenchError]

    @property
    def accel(self) -> str:
        """The one accelerator of all. Raises InputError where hosts differ: their figures could not stand together."""
        found: dict[str, list[str]] = {}
        for name, answer in self.answers.items():
            found.setdefault(answer["accel"], []).append(name)
        if len(found) > 1:
            split = "; ".join(f"{accel}: {', '.join(names)}" for accel, names in sorted(found.items()))
            raise InputError(
                f"--host: these hosts differ in their accelerator ({split}) and cannot share a run; choose by --host "
                "or --tag, or set accel: tcg"
            )
        return next(iter(found))

    def check_some(self) -> None:
        """Raises what all hosts failed of when none is left, says what the others failed of."""
        if not self.answers:
            raise all_failed(list(self.failed.items()), len(self.failed))
        self.say_failed()

    def say_failed(self) -> None:
        for error in self.failed.values():
            say(f"goes on without it: {error}")

    def paths(self, host: str) -> Paths:
        """The files of a host; empty ones where it did not answer, which are good enough to name its boots."""
        return paths_of(self.answers[host]) if host in self.answers else Paths("", "", "", "")


def cargo_of(plan: Plan | None, hosts: Sequence[Host]) -> Cargo:
    """Bundle, image, and what hosts and arms name as `push:` files."""
    say("building the guest image and the host bundle")
    if plan is None:
        return build_cargo(cache_folder(), hosts)
    try:
        return build_cargo(cache_folder(), [*hosts, *plan.arms], plan.programs)
    except NoProgramError as missing:
        place: KeyPath = ("programs", plan.programs.index(missing.program))
        raise plan_error(plan, place, f"{missing}{_mending(missing.program.path)}") from missing


def _mending(program: str) -> str:
    """How a program is had on this machine, where that is known."""
    kind, need = package_names.family(), package_names.PROGRAMS.get(program)
    if not need or not kind:
        return "; install it, or name its path"
    return f"; run: sudo {package_names.MANAGERS[kind]} install {' '.join(package_names.names([need], kind))}"


def survey(labs: Labs, cargo: Cargo, question: Question, hosts: Sequence[Host], *, wait: bool) -> Survey:
    """Asks all hosts at once. Raises InputError for what is wrong in the files."""

    def work(host: Host) -> dict[str, Any]:
        say(f"asking {host.name} for QEMU, guest kernel and accelerator")
        with labs.open(host, cargo) as lab:
            return _examine(lab, question, wait=wait)

    answers = labs.each(work, hosts)
    raise_wrong_use(list(answers.values()))
    return Survey(*parted(answers))


def _examine(lab: Lab, question: Question, *, wait: bool) -> dict[str, Any]:
    """One host: held meanwhile, because canary guests boot; then measured against the plan."""
    host = lab.host
    with _held(lab, wait=wait) as held:
        answer = lab.resolve(host.accel if question.accel == "auto" else question.accel)
        plan = resolve(question.plan, answer["accel"], question.options)
        check_memory(plan, host, int(answer["available_bytes"]))
        check_cpus(plan, host)
        _check_means(lab, plan, _means_args(plan, host, answer))
        arms = _arms(lab, plan)
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    pushed = {named: lab.path(named) for named in lab.cargo.named}
    found = {name: to_json(getattr(held, name)) for name in ("taken_over", "recovered", "removed")}
    named = {"name": host.name, "address": host.address}
    return {**named, **answer, "arms": arms, "pushed": pushed, **found, "when": when}


@contextmanager
def _held(lab: Lab, *, wait: bool) -> Iterator[Held]:
    """The host is held inside, and nobody else measures there."""

    def waiting(record: Waiting) -> None:
        say(f"waiting for {lab.host.name}: {held_by(record.holder)}")

    keeper = lab.session.hold(Hold("survey", owner(), (), wait=wait, become=lab.host.become), waiting)
    try:
        _tell(lab.host, keeper.held)
        yield keeper.held
    finally:
        keeper.release()


def ask_for_means(
    labs: Labs, cargo: Cargo, plan: Plan, answers: Mapping[str, dict[str, Any]], *, wait: bool
) -> dict[str, BenchError]:
    """Asks hosts that answered a survey before whether their guests in groups can still be run; why others cannot say.

    answers: of that survey. A host that has no such guests is not asked. Raises InputError for what has to be mended.
    """
    args = {host.name: _means_args(plan, host, answers[host.name]) for host in labs.hosts if host.name in answers}

    def work(host: Host) -> None:
        say(f"asking {host.name} again for what guests in groups need")
        with labs.open(host, cargo) as lab, _held(lab, wait=wait):
            _check_means(lab, plan, args[host.name])

    found = labs.each(work, [host for host in labs.hosts if args.get(host.name) is not None])
    raise_wrong_use(list(found.values()))
    return parted(found)[1]


def _means_args(plan: Plan, host: Host, answer: Mapping[str, Any]) -> dict[str, Any] | None:
    # Blocks differ in the order of their boots only.
    jobs = schedule(replace(plan, blocks=1), host, paths_of(answer), answer["accel"], 0)
    return means_args(plan, host, jobs)


def _check_means(lab: Lab, plan: Plan, args: Mapping[str, Any] | None) -> None:
    """Raises InputError where guests in groups cannot be run there, or could take the host down."""
    if args is not None:
        check_means(plan, lab.host, lab.session.ask("means", **args)["problems"])


def _tell(host: Host, held: Held) -> None:
    """What a bench that died on this host had left: it is put right by now, and the run to come finds nothing."""
    if held.taken_over:
        say(f"{host.name}: {taken_from(held.taken_over)}")
    for line in held.removed:
        say(f"{host.name}: {printable(line)}")
    for setting in held.recovered:
        say(f"{host.name}: a run that died had changed {setting.file}: {setting.state}, now {printable(setting.now)}")


def _arms(lab: Lab, plan: Plan) -> dict[str, dict[str, Any]]:
    """What the host says to every arm's own kernel or QEMU, looked at before anything boots; by the arm's name.

    The keys of an answer that tell of files; or `lacks` and why, where an arm names what this host does not have.
    """
    found: dict[str, dict[str, Any]] = {}
    for arm in plan.arms:
        if any((arm.qemu, arm.kernel, arm.modules)):
            try:
                answer = lab.resolve("tcg", arm)
                found[arm.name] = {key: answer[key] for key in OF_FILES}
            except InputError as error:
                raise arm_error(plan, arm.name, error.key, str(error)) if error.key else error from error
            except MissingError as error:
                if not any(name_of(text) is not None for text in (arm.kernel, arm.qemu)):
                    raise
                found[arm.name] = {"lacks": str(error)}
                say(f"arm {arm.name} will be skipped: {error}")
    return found


def same_accel(found: Survey, accel: str) -> Survey:
    """A survey for a run that began under `accel`: a host that has another one now is a failed one."""
    wrong = {
        name: LabError(name, f"guests would run under {answer['accel']} there, but this run is one of {accel}")
        for name, answer in found.answers.items()
        if answer["accel"] != accel
    }
    good = {name: answer for name, answer in found.answers.items() if name not in wrong}
    return Survey(good, {**found.failed, **wrong})


def jobs_of(plan: Plan, host: Host, found: Survey, accel: str, seed: int) -> tuple[Job, ...]:
    """A host's jobs: its own files, and those that were carried there in place of their names."""
    answer = found.answers.get(host.name, {})
    pushed = answer.get("pushed", {})
    arms = tuple(
        replace(arm, kernel=pushed.get(arm.kernel, arm.kernel), modules=pushed.get(arm.modules, arm.modules))
        for arm in plan.arms
    )
    # Runs of older versions have no such answers.
    own = {name: paths_of(told) for name, told in answer.get("arms", {}).items() if "paths" in told}
    return schedule(replace(plan, arms=arms), host, found.paths(host.name), accel, seed, own)


def run_name(destination: Path) -> str:
    """What a run is called to others."""
    return destination.absolute().name
