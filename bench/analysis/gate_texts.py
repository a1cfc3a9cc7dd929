"""gate.json as text: for a terminal, a mail, a merge request, and as the annotations of two CI systems."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from bench.analysis.markdown import plain, table
from bench.analysis.shown import amount, interval
from bench.analysis.tables import MARK, NOTHING
from bench.analysis.unpaired_tables import to_ascii
from bench.wire.units import printable

WIDTH, MAIL_WIDTH = 120, 75
HEADLINES = {
    "pass": "pass: no regression was found",
    "regression": "regression: worse, and worse again with fresh boots",
    "unconfirmed": "unconfirmed: worse, but not measured again; run bench gate without --no-confirm",
    "undecided": "undecided: it cannot be told, and the plan says that this fails",
    "invalid": "invalid: this run cannot be believed",
}
# The order in which rows are told: what decides first.
STATUSES = ("confirmed", "red", "not confirmed", "invalid", "undecided", "quarantined", "pass", "noted")
OPEN = ("confirmed", "red", "not confirmed", "invalid", "undecided", "quarantined")
_SEVERITY = {"confirmed": "error", "red": "error", "invalid": "error"}

Gate = dict[str, Any]
Row = dict[str, Any]


def ordered(gate: Gate) -> list[Row]:
    """The rows, those that decide first."""
    return sorted(gate["rows"], key=lambda row: STATUSES.index(row["status"]))


def headline(gate: Gate) -> str:
    """The verdict with what it rests on, in one line."""
    rows = gate["rows"]
    blocking = sum(row["blocking"] for row in rows)
    where = f"{len(gate['hosts'])} host{'s' if len(gate['hosts']) != 1 else ''}"
    return f"{HEADLINES[gate['verdict']]} ({blocking} blocking comparisons, {where}, plan {gate['plan']})"


def sentence(gate: Gate, row: Row) -> str:
    """One comparison in words: what, how much, how sure, and what it counts."""
    mark = MARK if row["metric"] in gate["marked"] else ""
    what = f"{row['metric']}{mark} of {row['arm']} against {row['reference']} in {row['cell']}"
    said = (
        f"{what}: {row['verdict']}, {amount(row['effect'], row)} ({interval(row)}; margin {margin(row)}; n {row['n']})"
    )
    if row["status"] in ("undecided", "invalid"):
        said += f": {row['why']}"
    again = row.get("again")
    if again:
        said += (
            f"; again {again['verdict']}, {amount(again['effect'], row)} ({interval({**row, **again})}; n {again['n']})"
        )
    if row["status"] == "quarantined":
        held = row["quarantine"]
        said += f"; in quarantine until {held['until']}: {held['reason']} ({held['owner']})"
    return said + floor_of(row)


def margin(row: Row) -> str:
    """The margin as people write it."""
    return f"{100 * row['margin']:.3g} %" if row["kind"] == "ratio" else amount(row["margin"], row).lstrip("+")


def floor_of(row: Row) -> str:
    """What the self-test of the host says, where the margin is finer than the host can carry."""
    floor = row.get("floor")
    if not floor or floor["carries"]:
        return ""
    least = floor["least_margin"]
    can = "no margin that was tried" if least is None else f"{margin({**row, 'margin': least})} at best"
    return f"; NOT GATEABLE HERE at this margin: the host's noise carries {can}"


def lines(gate: Gate) -> list[str]:
    """Everything that is said, one thought a line."""
    said = [headline(gate)]
    said += [f"! {problem}" for problem in gate["problems"]]
    said += [f"{row['status']}: {sentence(gate, row)}" for row in ordered(gate) if row["status"] in OPEN]
    fine = [row for row in gate["rows"] if row["status"] == "pass"]
    if fine:
        said.append(f"pass: {len(fine)} comparison{' is' if len(fine) == 1 else 's are'} equivalent or better")
    uncarried = [row for row in fine if floor_of(row)]
    said += [f"pass: {sentence(gate, row)}" for row in uncarried]
    said += [f"control {'seen' if item['seen'] else 'NOT SEEN'}: {item['text']}" for item in gate["controls"]]
    said += [f"reporting alone: {_interaction(item)}" for item in gate["interactions"]]
    if gate["confirmation"]:
        said.append(f"measured again: {gate['confirmation']['run']}, seed {gate['confirmation']['seed']}")
    if any(row.get("floor") is None for row in gate["rows"]):
        said.append("noise floor not known for all hosts as they are now: bench selftest --aa")
    if gate["marked"]:
        said.append(f"{MARK} time of an emulated CPU ({gate['accel']}), not of hardware")
    return [printable(line) for line in said]


def _interaction(item: Row) -> str:
    shown = f"{amount(item['effect'], item)} ({interval(item)}; n {item['n']})"
    return f"{item['metric']} of {item['arm']} against {item['reference']} in {item['cell']}: {shown}"


def terminal(gate: Gate) -> str:
    """At most 120 columns, more only for a word that is longer."""
    return _wrapped(lines(gate), WIDTH)


def mail(gate: Gate) -> str:
    """ASCII, at most 75 columns."""
    return _wrapped([to_ascii(line) for line in lines(gate)], MAIL_WIDTH, break_long_words=True)


def _wrapped(said: Sequence[str], width: int, *, break_long_words: bool = False) -> str:
    folded = [
        textwrap.fill(line, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=break_long_words)
        for line in said
    ]
    return "\n".join(folded) + "\n"


def markdown(gate: Gate) -> str:
    """For a merge request; what was found in a run's files is text in it, and no markup."""
    head = ("status", "metric", "arm", "cell", "effect", "interval", "margin", "n", "again")
    body = [
        [
            row["status"],
            f"{row['metric']}{MARK if row['metric'] in gate['marked'] else ''}",
            f"{row['arm']} against {row['reference']}",
            row["cell"],
            amount(row["effect"], row),
            interval(row),
            margin(row),
            str(row["n"]),
            amount(row["again"]["effect"], row) if row.get("again") else NOTHING,
        ]
        for row in ordered(gate)
    ]
    rest = [
        line for line in lines(gate)[1:] if line.startswith(("!", "control", "measured", "noise", "reporting", MARK))
    ]
    parts = [f"### bench gate: {plain(headline(gate))}", table(head, body) if body else "Nothing was compared."]
    parts += ["\n".join(f"* {plain(line)}" for line in rest)] if rest else []
    return "\n\n".join(parts) + "\n"


def github(gate: Gate) -> str:
    """Workflow commands of GitHub Actions, which stand beside the log of the job."""
    level = "error" if gate["exit_code"] else "notice"
    said = [(level, headline(gate)), *((level, problem) for problem in gate["problems"])]
    said += [
        (_SEVERITY.get(row["status"], "warning"), sentence(gate, row)) for row in ordered(gate) if row["status"] in OPEN
    ]
    return "".join(f"::{kind} title=bench gate::{_escaped(text)}\n" for kind, text in said)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def gitlab(gate: Gate) -> str:
    """A Code Quality report of GitLab: a list of findings, whose place is the plan, for there is no line of code."""
    levels = {"confirmed": "critical", "red": "critical", "invalid": "blocker"}
    said = [("invalid", "problem", problem) for problem in gate["problems"]]
    said += [(row["status"], row["metric"], sentence(gate, row)) for row in ordered(gate) if row["status"] in OPEN]
    found = [
        {
            "description": text,
            "check_name": f"bench gate: {name}",
            "fingerprint": hashlib.sha256(f"{gate['plan']} {name} {text.partition(':')[0]}".encode()).hexdigest(),
            "severity": levels.get(status, "minor"),
            "location": {"path": "plan.yaml", "lines": {"begin": 1}},
        }
        for status, name, text in said
    ]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
