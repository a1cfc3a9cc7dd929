"""`gate:` of a plan: what `bench gate` asks of a run, read and checked. How it judges: bench.analysis.gate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from bench.controller.change import SIDES, copied
from bench.controller.interests import given_metrics, read_margin
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check, valid_names
from bench.wire.metrics import METRICS


def _day(value: Any) -> dt.date:
    """YAML makes a date of what looks like one."""
    try:
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no day; write one, as in 2027-01-31") from None


Day = Annotated[dt.date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Glob = Annotated[str, Field(min_length=1)]


class RuleModel(Strict):
    """One entry of `gate: rules:`; a comparison follows the first one that fits it."""

    metric: Glob = Field(description="a metric, or a pattern of names, as in refault_*")
    cell: Glob = Field(default="*", description="a workload of the plan, or a pattern, as in cycle")
    arm: Glob = Field(default="*", description="an arm of the plan, or a pattern, as in reporting*")
    margin: Any = Field(default=None, description="the smallest change that matters, as in 5%; else the plan's own")
    blocking: bool = Field(default=True, description="true or false: a change for the worse fails the gate")
    strict: bool = Field(default=False, description="true or false: being undecided fails the gate too")


class EffectModel(Strict):
    """`effect:`, the control that must be better in every run: a gate that does not see it sees nothing."""

    arm: Glob = Field(description="the arm that must be better than the one that it is compared with, as in reporting")
    metric: Glob = Field(description="the metric in which it must be, as in residual_bytes")
    cell: str = Field(default="", description="the workload, as in cycle; else the first that has the metric")


class QuarantineModel(Strict):
    """One entry of `quarantine:`: a rule that is not held against a change, for a reason and until a day."""

    metric: Glob = Field(description="a metric, or a pattern of names, as in refault_p99_s")
    cell: Glob = Field(default="*", description="a workload of the plan, or a pattern, as in cycle")
    arm: Glob = Field(default="*", description="an arm of the plan, or a pattern, as in reporting*")
    reason: Glob = Field(description="why, as in 'two groups of boots since the new microcode'")
    owner: Glob = Field(description="who mends it, as in ann@example.org")
    until: Day = Field(description="the last day on which this holds, as in 2027-01-31")


class GateModel(Strict):
    """`gate:` of a plan."""

    rules: list[Any] = Field(default=[], description="a list of rules, as in [{metric: residual_bytes, margin: 5%}]")
    on_undecided: Literal["pass", "fail"] = Field(default="pass", description="pass or fail")
    confirm: int | None = Field(
        default=None,
        ge=2,
        le=1000,
        description="blocks of fresh boots before the gate says 1, as in 6; else as many again",
    )
    manifest: list[str] = Field(
        default=[], description="the workloads that must be there, as in [cycle]; else every one of the plan"
    )
    effect: Any = Field(default=None, description="a control, as in {arm: reporting, metric: residual_bytes}")
    quarantine: list[Any] = Field(default=[], description="a list of rules that do not fail the gate until a day")


@dataclass(frozen=True)
class Gate:
    """rules, effect, quarantine: as written, checked. margins: of each rule, metric -> its margin in base units."""

    rules: tuple[RuleModel, ...]
    margins: tuple[Mapping[str, float], ...]
    on_undecided: str
    confirm: int | None
    manifest: tuple[str, ...]
    effect: EffectModel | None
    quarantine: tuple[QuarantineModel, ...]


def read_gate(document: Document) -> tuple[Gate | None, list[Problem]]:
    """None where the plan has none."""
    if document.value.get("gate") is None:
        return None, []
    model, problems = check(document, GateModel, ("gate",))
    written = document.value["gate"]
    if not isinstance(written, dict):
        return None, problems
    names = _Names(document)
    rules, wrong = _entries(document, "rules", RuleModel, len(_list(written.get("rules"))), names)
    problems += wrong
    margins: list[Mapping[str, float]] = []
    for index, rule in enumerate(rules):
        found, wrong = _margins(document, ("gate", "rules", index, "margin"), rule, names)
        margins.append(found)
        problems += wrong
    held = len(_list(written.get("quarantine")))
    quarantine, wrong = _entries(document, "quarantine", QuarantineModel, held, names)
    problems += wrong
    effect, wrong = _effect(document, names)
    problems += wrong
    problems += [
        document.problem(("gate", "manifest", index), f"unknown workload {name!r}; {valid_names(name, names.cells)}")
        for index, name in enumerate(_list(written.get("manifest")))
        if name not in names.cells
    ]
    if model is None or problems:
        return None, problems
    return Gate(tuple(rules), tuple(margins), model.on_undecided, model.confirm, tuple(model.manifest), effect,
                tuple(quarantine)), []  # fmt: skip


class _Names:
    """What the patterns of a gate may name: of a plan that may be wrong itself, as far as it can be told."""

    def __init__(self, document: Document) -> None:
        self.metrics = given_metrics(document)
        self.cells = [_name(entry, "workload") for entry in _list(document.value.get("workloads"))]
        own = [_name(entry, "name") for entry in _list(document.value.get("arms"))]
        # A rule may be for the copies of a plan with a change alone.
        self.arms = own + [copied(name, SIDES[1]) for name in own]

    def of(self, key: str) -> list[str]:
        return {"metric": self.metrics, "cell": self.cells, "arm": self.arms}[key]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(entry: Any, other: str) -> str:
    return str(entry.get("name") or entry.get(other)) if isinstance(entry, dict) else str(entry)


def _entries(document: Document, key: str, form: Any, count: int, names: _Names) -> tuple[list[Any], list[Problem]]:
    found: list[Any] = []
    problems: list[Problem] = []
    for index in range(count):
        path: KeyPath = ("gate", key, index)
        model, wrong = check(document, form, path)
        problems += wrong
        if model:
            unknown = _unknown(document, path, model, names)
            problems += unknown
            found.append(model)
    return found, problems


def _unknown(document: Document, path: KeyPath, model: Any, names: _Names) -> list[Problem]:
    """Patterns that fit nothing of this plan: a rule that never applies would pass for ever."""
    found = []
    for key in ("metric", "cell", "arm"):
        pattern, known = getattr(model, key), names.of(key)
        if pattern and known and not any(fnmatchcase(name, pattern) for name in known):
            what = {"metric": "metric", "cell": "workload", "arm": "arm"}[key]
            message = f"{pattern!r} fits no {what} of this plan; {valid_names(pattern, known)}"
            found.append(document.problem((*path, key), message))
    return found


def _margins(
    document: Document, path: KeyPath, rule: RuleModel, names: _Names
) -> tuple[dict[str, float], list[Problem]]:
    if rule.margin is None:
        return {}, []
    found: dict[str, float] = {}
    for name in names.metrics:
        if fnmatchcase(name, rule.metric):
            try:
                found[name] = read_margin(METRICS[name], rule.margin)
            except ValueError as error:
                return {}, [document.problem(path, f"{name}: {error}")]
    return found, []


def _effect(document: Document, names: _Names) -> tuple[EffectModel | None, list[Problem]]:
    if document.value["gate"].get("effect") is None:
        return None, []
    path: KeyPath = ("gate", "effect")
    model, problems = check(document, EffectModel, path)
    if model is None:
        return None, problems
    problems += _unknown(document, path, model, names)
    if not problems and (model.metric not in METRICS or METRICS[model.metric].direction == "none"):
        sided = [name for name in names.metrics if METRICS[name].direction != "none"]
        problems.append(
            document.problem((*path, "metric"), f"no metric with a better side; {valid_names(model.metric, sided)}")
        )
    return model, problems


def gate_facts(gate: Gate | None) -> dict[str, Any] | None:
    """The gate as run.json has it, for bench.analysis."""
    if gate is None:
        return None
    rules = [
        {**rule.model_dump(exclude={"margin"}), "margins": dict(margins)}
        for rule, margins in zip(gate.rules, gate.margins, strict=True)
    ]
    return {
        "rules": rules,
        "on_undecided": gate.on_undecided,
        "confirm": gate.confirm,
        "manifest": list(gate.manifest),
        "effect": gate.effect.model_dump() if gate.effect else None,
        "quarantine": [entry.model_dump(mode="json") for entry in gate.quarantine],
    }


def gate_entry(gate: Gate | None, cells: Sequence[str], arms: Sequence[str]) -> dict[str, Any] | None:
    """`gate:` as it stands in a plan of these workloads and arms, which may be fewer than it was written for."""
    if gate is None:
        return None
    known = {"cell": cells, "arm": [*arms, *(copied(name, SIDES[1]) for name in arms)]}

    def applies(entry: Any) -> bool:
        return all(any(fnmatchcase(n, getattr(entry, key) or "*") for n in names) for key, names in known.items())

    entry: dict[str, Any] = {"on_undecided": gate.on_undecided, "confirm": gate.confirm}
    entry["rules"] = [rule.model_dump() for rule in gate.rules if applies(rule)]
    entry["manifest"] = [name for name in gate.manifest if name in cells]
    entry["effect"] = gate.effect.model_dump() if gate.effect and applies(gate.effect) else None
    entry["quarantine"] = [one.model_dump() for one in gate.quarantine if applies(one)]
    return entry
