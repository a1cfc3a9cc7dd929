"""The rules of a plan's gate, laid over the comparisons of a run: which ones they judge, by which margin, how hard.

run["gate"] holds them as `bench.controller.gatefile` reads them. A comparison follows the first rule that fits it; one
that none fits is no matter of the gate. An arm that repeats another one (same_as) is a control, and has no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from bench.analysis.blocks import Run
from bench.analysis.entries import Entry, entries
from bench.analysis.values import Boot

HEAD = "head-"


@dataclass(frozen=True)
class Rule:
    """One entry of `gate: rules:`. metric, cell, arm: globs. margins: metric -> margin, where the rule says one.

    strict: being undecided is not enough, whatever `on_undecided` says.
    """

    metric: str
    cell: str = "*"
    arm: str = "*"
    margins: dict[str, float] | None = None
    blocking: bool = True
    strict: bool = False

    def fits(self, cell: str, arm: str, metric: str) -> bool:
        """The copy of an arm (base and head) is meant by the arm's own name too."""
        named = any(fnmatchcase(name, self.arm) for name in (arm, arm.removeprefix(HEAD)))
        return named and fnmatchcase(cell, self.cell) and fnmatchcase(metric, self.metric)


@dataclass(frozen=True)
class Ruled:
    """A comparison on one host, and the rule that it follows; the entry has the rule's margin."""

    entry: Entry
    rule: Rule

    @property
    def place(self) -> tuple[str, str, str]:
        """(cell, arm, metric), whatever the host."""
        return self.entry.cell[1], self.entry.arm, self.entry.metric.name


def rules_of(run: Run) -> list[Rule]:
    """Those of the plan; without a gate each metric that the plan names, blocking."""
    gate = run.get("gate") or {}
    given = gate.get("rules") or [{"metric": name} for name in run.get("metrics") or {}]
    return [Rule(**rule) for rule in given]


def ruled(run: Run, boots: Sequence[Boot]) -> list[Ruled]:
    """Every comparison that some rule judges, in the order of `entries`."""
    repeated = run.get("same_as") or {}
    judged = [entry for entry in entries(run, boots) if entry.arm not in repeated]
    return under_rules(run, judged)


def repeats(run: Run, boots: Sequence[Boot]) -> list[Ruled]:
    """The A/A comparisons: those of arms that repeat another one, of metrics that some blocking rule judges."""
    repeated = run.get("same_as") or {}
    judged = [entry for entry in entries(run, boots) if entry.arm in repeated]
    anywhere = [replace(rule, arm="*") for rule in rules_of(run) if rule.blocking]
    return under_rules(run, judged, anywhere)


def under_rules(run: Run, found: Sequence[Entry], rules: Sequence[Rule] | None = None) -> list[Ruled]:
    """The comparisons that some rule judges, with its margin and as blocking as it says."""
    known = rules_of(run) if rules is None else rules
    judged = []
    for entry in found:
        rule = next((one for one in known if one.fits(entry.cell[1], entry.arm, entry.metric.name)), None)
        if rule is not None:
            margin = (rule.margins or {}).get(entry.metric.name, entry.margin)
            judged.append(Ruled(replace(entry, margin=margin, blocking=rule.blocking), rule))
    return judged


def quarantine_of(run: Run, cell: str, arm: str, metric: str) -> dict[str, Any] | None:
    """The entry of `gate: quarantine:` that fits; it keeps a rule from failing the gate until its day."""
    for entry in (run.get("gate") or {}).get("quarantine") or []:
        if Rule(entry["metric"], entry.get("cell", "*"), entry.get("arm", "*")).fits(cell, arm, metric):
            return dict(entry)
    return None
