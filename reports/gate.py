"""The answer of `bench gate` on a run's page, as gate.json has it: it judges nothing."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis import gate_texts
from bench.analysis.shown import amount, interval
from reports.load import Run

# The badge of a status is that of the verdict that it is most like.
_LIKE = {
    "confirmed": "worse",
    "red": "worse",
    "not confirmed": "undecided",
    "undecided": "undecided",
    "quarantined": "undecided",
    "invalid": "invalid",
    "pass": "better",
    "noted": "equivalent",
}
_WORDS = {"pass": "better", "regression": "worse", "invalid": "invalid"}


@dataclass(frozen=True)
class Row:
    """One comparison that a rule judges, as text. word: of the badge; marked: a time under emulation."""

    word: str
    status: str
    metric: str
    arm: str
    reference: str
    cell: str
    effect: str
    interval: str
    margin: str
    n: str
    again: str
    note: str
    marked: bool


@dataclass(frozen=True)
class Shown:
    """word: of the badge. problems, controls: sentences; a control with whether it was seen."""

    word: str
    verdict: str
    headline: str
    day: str
    question: str
    problems: tuple[str, ...]
    controls: tuple[tuple[bool, str], ...]
    rows: tuple[Row, ...]
    again: str


_QUESTIONS = {"cost": "what the arms cost", "regression": "what a change does: head against base"}


def gate(run: Run) -> Shown | None:
    """None where no gate was asked, or gate.json is none that this version writes."""
    found = run.gate
    if found.get("schema") != 1 or found.get("verdict") not in gate_texts.HEADLINES:
        return None
    rows = tuple(
        Row(
            _LIKE[row["status"]],
            row["status"],
            row["metric"],
            row["arm"],
            row["reference"],
            row["cell"],
            amount(row["effect"], row),
            interval(row),
            gate_texts.margin(row),
            str(row["n"]),
            amount(row["again"]["effect"], row) if row.get("again") else "",
            _note(row),
            row["metric"] in found["marked"],
        )
        for row in gate_texts.ordered(found)
    )
    again = found["confirmation"]
    return Shown(
        _WORDS.get(found["verdict"], "undecided"),
        found["verdict"],
        gate_texts.headline(found),
        found["today"],
        _QUESTIONS[found["question"]],
        tuple(found["problems"]),
        tuple((item["seen"], item["text"]) for item in found["controls"]),
        rows,
        f"Measured again with seed {again['seed']}, in {again['run']}." if again else "",
    )


def _note(row: gate_texts.Row) -> str:
    said = [row["why"]] if row["status"] in ("undecided", "invalid", "not confirmed") else []
    held = row.get("quarantine")
    if held:
        said.append(f"in quarantine until {held['until']}: {held['reason']} ({held['owner']})")
    floor = gate_texts.floor_of(row).lstrip("; ")
    return "; ".join([*said, *([floor] if floor else [])])
