"""The answer of a gate: what a run, and a second one with fresh boots, says to the rules of its plan. Pure.

invalid is above everything: of a run that cannot be believed nothing else is said. Then a regression that was found
twice; then what is undecided, where that fails.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.analysis.across import asked, over_hosts
from bench.analysis.analyse import by_host
from bench.analysis.blocks import Run
from bench.analysis.gate_controls import known_effects, missing, not_believed, nothing_expected, same_arms
from bench.analysis.interaction import interactions
from bench.analysis.rules import Ruled, quarantine_of, ruled
from bench.analysis.values import Boot

SCHEMA = 1
EXIT_CODES = {"pass": 0, "regression": 1, "unconfirmed": 3, "undecided": 3, "invalid": 4}
Place = tuple[str, str, str]  # cell, arm, metric
NO_EFFECT = (
    "no control of a known effect: the run needs an arm that reports beside one that does not, and residual_bytes; or "
    "name one in the plan, as in gate: {effect: {arm: reporting, metric: residual_bytes}}"
)
NO_SAME = "no A/A control: add an arm that repeats another one, as in {name: reporting-again, same_as: reporting}"


@dataclass(frozen=True)
class Measured:
    """A run.json and the lines of its boots.jsonl. name: how it is called in the answer."""

    name: str
    run: Run
    boots: Sequence[Boot]


@dataclass(frozen=True)
class Wishes:
    """What the gate is told besides the plan. today: ISO. on_undecided "": as the plan says. floors: host -> cell ->
    metric -> what `bench selftest --aa` found there (bench.analysis.floors).
    """

    today: str
    on_undecided: str = ""
    floors: Mapping[str, Any] = field(default_factory=dict)


def rows_of(measured: Measured, keep: Collection[Place] | None = None) -> list[dict[str, Any]]:
    """Every comparison that a rule judges, over all hosts, in the form of analysis.json with cell, arm and the rule.

    keep: only these, and Holm's family is these alone.
    """
    run, boots = measured.run, measured.boots
    found = [one for one in ruled(run, boots) if keep is None or one.place in keep]
    by_place: dict[Place, Ruled] = {one.place: one for one in found}
    empty = {place for place in by_place if all(_is_empty(one) for one in found if one.place == place)}
    listed = [one.entry for one in found]
    several = len(asked(run, listed)) > 1
    pairs = over_hosts(run, listed) if several else by_host(run, boots, listed)
    rows = []
    for pair in pairs:
        hosts = pair["hosts"] if several else [pair["host"]]
        where = {"hosts": hosts, "cell": pair["cell"], "arm": pair["arm"], "reference": pair["reference"]}
        for row in pair["metrics"]:
            place = (pair["cell"], pair["arm"], row["metric"])
            # A pattern may name what this workload does not give; a name that is written must be there.
            if place in empty and by_place[place].rule.metric != row["metric"]:
                continue
            kept = {key: value for key, value in row.items() if key not in ("reference_blocks", "arm_blocks", "hosts")}
            rows.append({**where, **kept, "strict": by_place[place].rule.strict})
    return rows


def _is_empty(one: Ruled) -> bool:
    """Whether the reference has no value in any block: the metric says nothing here."""
    return bool(one.entry.blocks) and all(value is None for value in one.entry.reference_blocks)


def status_of(run: Run, row: Mapping[str, Any]) -> str:
    """noted (not blocking), quarantined, invalid, red, undecided or pass."""
    if not row["blocking"]:
        return "noted"
    if quarantine_of(run, row["cell"], row["arm"], row["metric"]):
        return "quarantined"
    return {"invalid": "invalid", "worse": "red", "undecided": "undecided"}.get(row["verdict"], "pass")


def red_places(measured: Measured) -> list[Place]:
    """What must be measured again before the gate says that it is worse."""
    rows = rows_of(measured)
    return [_place(row) for row in rows if status_of(measured.run, row) == "red"]


def judge(measured: Measured, again: Measured | None, wishes: Wishes) -> dict[str, Any]:
    """The content of gate.json. again: the fresh boots of what was red; None where there were none."""
    run = measured.run
    rows = [{**row, "status": status_of(run, row)} for row in rows_of(measured)]
    second = _second(measured, again, [_place(row) for row in rows if row["status"] == "red"])
    for row in rows:
        row.update(_floor(row, wishes.floors))
        if row["status"] == "red":
            row.update(_confirmed(second.get(_place(row))))
        if quarantine := quarantine_of(run, row["cell"], row["arm"], row["metric"]):
            row["quarantine"] = quarantine
    effects, same = known_effects(run, measured.boots), same_arms(run, measured.boots)
    controls = [*effects, *same, *nothing_expected(measured.boots)]
    problems = _problems(measured, again, rows, controls)
    problems += [] if effects else [NO_EFFECT]
    problems += [] if same else [NO_SAME]
    problems += [] if any(row["blocking"] for row in rows) else ["no blocking rule judges anything in this run"]
    policy = wishes.on_undecided or (run.get("gate") or {}).get("on_undecided") or "pass"
    word = _word(rows, problems, policy)
    return {
        "schema": SCHEMA,
        "run": measured.name,
        "plan": run.get("plan"),
        "variant": run.get("variant"),
        "accel": run.get("accel"),
        "hosts": asked(run) or list(dict.fromkeys(str(boot["host"]) for boot in measured.boots)),
        "question": "regression" if run.get("change") else "cost",
        "on_undecided": policy,
        "today": wishes.today,
        "verdict": word,
        "exit_code": EXIT_CODES[word],
        "problems": problems,
        "rows": rows,
        "controls": controls,
        "interactions": interactions(run, measured.boots, list(dict.fromkeys(row["metric"] for row in rows))),
        "confirmation": {"run": again.name, "seed": again.run.get("seed")} if again else None,
        "marked": sorted({row["metric"] for row in rows if row["time_like"]}) if run.get("accel") != "kvm" else [],
    }


def _place(row: Mapping[str, Any]) -> Place:
    return str(row["cell"]), str(row["arm"]), str(row["metric"])


def _second(measured: Measured, again: Measured | None, red: Sequence[Place]) -> dict[Place, dict[str, Any]]:
    """What the fresh boots say of what was red, by the rules of the first run."""
    if again is None or not red:
        return {}
    run = {**again.run, "gate": measured.run.get("gate"), "metrics": measured.run.get("metrics")}
    return {_place(row): row for row in rows_of(Measured(again.name, run, again.boots), set(red))}


def _confirmed(second: Mapping[str, Any] | None) -> dict[str, Any]:
    """A regression is one that was seen twice. What was red once and is not again is undecided."""
    if second is None:
        return {"status": "red", "again": None}
    shown = {key: second[key] for key in ("effect", "low", "high", "n", "verdict", "why")}
    words = {"worse": "confirmed", "invalid": "invalid"}
    return {"status": words.get(second["verdict"], "not confirmed"), "again": shown}


def _problems(
    measured: Measured, again: Measured | None, rows: Sequence[Mapping[str, Any]], controls: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Why the run, or the second one, cannot be believed."""
    found = [f"missing: {text}" for text in missing(measured.run, measured.boots)]
    found += [f"cannot be believed: {text}" for text in not_believed(measured.boots)]
    if again is not None:
        found += [f"measured again, and cannot be believed: {text}" for text in not_believed(again.boots)]
    found += [
        f"no verdict: {row['metric']} of {row['arm']} in {row['cell']}: {(row.get('again') or row)['why']}"
        for row in rows
        if row["status"] == "invalid"
    ]
    found += [f"control on {item['host']}, {item['cell']}: {item['text']}" for item in controls if not item["seen"]]
    return found


def _word(rows: Sequence[Mapping[str, Any]], problems: Sequence[str], policy: str) -> str:
    if problems:
        return "invalid"
    statuses = [row["status"] for row in rows]
    if "confirmed" in statuses:
        return "regression"
    if "red" in statuses:
        return "unconfirmed"
    open_ = [row for row in rows if row["status"] in ("undecided", "not confirmed")]
    if any(policy == "fail" or row["strict"] for row in open_):
        return "undecided"
    return "pass"


def _floor(row: Mapping[str, Any], floors: Mapping[str, Any]) -> dict[str, Any]:
    """What the hosts' self-tests say of this metric: the least margin that they carry, the largest of all hosts."""
    known = [
        found
        for host in row["hosts"]
        if (found := ((floors.get(host) or {}).get("cells", {}).get(row["cell"]) or {}).get(row["metric"]))
    ]
    if len(known) < len(row["hosts"]):
        return {"floor": None}
    worst = max(known, key=lambda found: found["least_margin"] or float("inf"))
    least = worst["least_margin"]
    return {"floor": {**worst, "carries": least is not None and least <= row["margin"]}}
