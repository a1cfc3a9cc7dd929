"""One page of several runs of a plan: hosts side by side and combined, or the same hosts from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.wire.metrics import METRICS
from reports import words
from reports.combined import Forest, Line
from reports.forest import forest
from reports.index import entry_of
from reports.load import Json, Run, clean
from reports.page import page as page_of_one
from reports.page import template, write
from reports.primary import Estimate, answers
from reports.svg import ARM_COLOURS, Picture


@dataclass(frozen=True)
class Course:
    """One metric of one arm from run to run, oldest first. where: (host, cell); host "" is all of them."""

    where: tuple[str, str]
    estimate: Estimate
    steps: tuple[tuple[str, Estimate], ...]
    picture: Picture | None


def side_by_side(path: Path, runs: Sequence[Run], run: Json, analysis: Json) -> Path:
    """The page of runs with hosts of their own. run, analysis: of all of them as one."""
    places = {host: one.folder for one in runs for host in one.host_names}
    whole = replace(
        runs[0],
        folder=path.parent,
        run=clean(run),
        boots=[boot for one in runs for boot in one.boots],
        analysis=clean(analysis),
        troubles=tuple(trouble for one in runs for trouble in one.troubles),
        hosts={name: facts for one in runs for name, facts in one.hosts.items()},
        events=tuple(event for one in runs for event in one.events),
        gate={},
        floors={host: floor for one in runs for host, floor in one.floors.items()},
        places=places,
    )
    return write(path, page_of_one(whole))


def one_after_another(path: Path, runs: Sequence[Run]) -> Path:
    """The page of runs on the same hosts, oldest first."""
    ordered = sorted(runs, key=lambda run: (str(run.run.get("started", "")), run.folder.name))
    named = [(_label(run, number), run) for number, run in enumerate(ordered, start=1)]
    text: str = template("several.html.j2").render(
        entries=[entry_of(run, path.parent) for run in reversed(ordered)],
        courses=courses(named),
        first=ordered[0],
        arm_class={arm: f"arm-{index % ARM_COLOURS}" for index, arm in enumerate(ordered[0].arms)},
    )
    return write(path, text)


def _label(run: Run, number: int) -> str:
    """A run on an axis: its day, and its number among those of the page."""
    return f"{number}: {words.when(run.run.get('started'))}"


def courses(runs: Sequence[tuple[str, Run]]) -> list[Course]:
    """Every metric that the plan names, for each arm in each cell, where at least two runs have it."""
    found: dict[tuple[str, str, str, str], list[tuple[str, Estimate]]] = {}
    for label, run in runs:
        for answer in answers(run):
            for one in answer.estimates:
                found.setdefault((answer.host, answer.cell, one.arm, one.metric), []).append((label, one))
    arms = {arm: index for index, arm in enumerate(runs[0][1].arms)}
    return [
        Course((host, cell), steps[-1][1], tuple(steps), _picture(f"c{number}", steps, arms.get(arm, 0)))
        for number, ((host, cell, arm, _), steps) in enumerate(found.items(), start=1)
        if len(steps) > 1
    ]


def _picture(figure_id: str, steps: Sequence[tuple[str, Estimate]], arm: int) -> Picture | None:
    """Effects with their intervals, run by run. The same picture as of hosts, with another name a line."""
    last = steps[-1][1]
    if all(one.effect is None for _, one in steps):
        return None
    lines = tuple(Line(label, one.effect, one.low, one.high, one.shown) for label, one in steps)
    title = f"{last.title}: {last.arm} against {last.reference}"
    unit = METRICS[last.metric].unit if last.metric in METRICS else ""
    shown = Forest(last.metric, title, last.kind, unit, 1.0 if last.kind == "ratio" else 0.0, last.marked, lines)
    return forest(figure_id, shown, arm, each="Run")
