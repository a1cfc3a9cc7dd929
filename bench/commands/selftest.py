"""`bench selftest --aa`: the same arm twice on the hosts of the lab, and what a gate can see through their noise."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from dataclasses import dataclass, field, replace
from typing import Any

from bench.analysis.floors import floors, table
from bench.analysis.rules import rules_of
from bench.commands import running
from bench.commands.saying import say
from bench.controller.floorstore import FLOORS, fingerprints, keep, plan_key
from bench.controller.plan import Options, Plan, PlanFile, load_plan, resolve
from bench.controller.store import RunFolder
from bench.errors import InputError, InvalidError

AGAIN = "-again"


@dataclass(frozen=True)
class Trial:
    """The options of `bench selftest`. arm "": the first one of the plan that reports, else its last."""

    plan: str = "gate"
    arm: str = ""
    options: Options = field(default_factory=Options)
    how: running.How = field(default_factory=running.How)


def selftest(trial: Trial) -> str:
    """Runs it, keeps the floors of the hosts, and answers what to print.

    Raises InputError for an arm that the plan has not, InvalidError where boots cannot be believed (what the others
    show is kept and told all the same), LabError when the lab fails.
    """
    file = load_plan(trial.plan)
    plan = resolve(file, "auto", trial.options)
    options = _twice(file, plan, trial)
    out = trial.how.out or running.new_folder(f"{plan.name}-selftest")
    broken: InvalidError | None = None
    with contextlib.redirect_stdout(sys.stderr):
        try:
            running.run(trial.plan, options, replace(trial.how, out=out))
        except InvalidError as error:
            broken = error
    text = kept(RunFolder.existing(out))
    if broken is not None:
        say(text.rstrip())
        raise broken
    return text


def kept(folder: RunFolder) -> str:
    """The floors of a run's hosts, written to it and kept for later runs; as text."""
    run, boots = folder.run, folder.boots()
    found = floors(run, boots, run.get("looks_left_out") or ())
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    hosts, told = fingerprints(boots), {}
    for host, floor in found.items():
        told[host] = {"when": when, "run": folder.path.resolve().name, **_finite(floor)}
        if host in hosts:
            say(f"{host}: kept in {keep(hosts[host], plan_key(run), told[host])}")
        else:
            say(f"{host}: not kept, for the host changed during the run")
    folder.write_json(FLOORS, told)
    folder.seal()
    names = [name for name in run.get("metrics") or {} if any(rule.metric == name for rule in rules_of(run))]
    pairs = "; ".join(f"{arm} against {other}" for arm, other in next(iter(found.values()), {"arms": []})["arms"])
    return table(found, names, f"plan {run['plan']}, {pairs}; accelerator {run['accel']}")


def _finite(value: Any) -> Any:
    """JSON has no infinity: a spread that large is no figure."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _twice(file: PlanFile, plan: Plan, trial: Trial) -> Options:
    """The plan's options with one arm, the same again, and what it is compared with; all blocks, for noise is asked.

    Where the plan has no such arm it gets one, and each of its workloads runs these arms, whatever others it was for.
    """
    names = [arm.name for arm in plan.arms if arm.name not in plan.same_as]
    reporting = [arm.name for arm in plan.arms if arm.reporting and arm.name in names]
    arm = trial.arm or next(iter(reporting), names[-1])
    if arm not in names:
        raise InputError(f"--arm: {arm!r} is no arm of plan {plan.name}; valid: {', '.join(names)}")
    again = next((twin for twin, other in plan.same_as.items() if other == arm), "")
    if again:
        return replace(trial.options, arms=(arm, again), full=True)
    again = f"{arm}{AGAIN}"
    entries = [*file.document.value["arms"], {"name": again, "same_as": arm}]
    three = list(dict.fromkeys((plan.reference_of(arm), arm, again)))
    sets = [("arms", entries), *((f"workloads.{cell.name}.arms", three) for cell in plan.cells)]
    # JSON is YAML.
    written = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sets]
    return replace(trial.options, arms=(arm, again), full=True, sets=(*trial.options.sets, *written))
