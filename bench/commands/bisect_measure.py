"""A commit's build measured against the good one, in one run of both: what that says of the metric."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.controller.bisecting import SKIP, Asked
from bench.controller.change import SIDES, copied
from bench.controller.store import RunFolder
from bench.errors import InputError, InvalidError, LabError

HEAD = SIDES[1]


@dataclass(frozen=True)
class Measured:
    """What a run says of the metric. verdict: of bench.controller.bisecting.EXIT_CODES; the rest as in its Step."""

    verdict: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    percent: float = 95.0
    blocks: int = 0
    reason: str = ""
    evidence: tuple[str, ...] = ()


# What was asked, the checkouts of the good build and of this one, the run folder to be made, and whether to wait.
Measure = Callable[[Asked, Path, Path, Path, bool], Measured]


def measured(asked: Asked, good: Path, tree: Path, run: Path, wait: bool) -> Measured:
    """The head's verdict against the base. What only the head cannot do makes it `skip`.

    Raises LabError, MissingError and Interrupted as a run does; InputError for what is not the head's fault.
    """
    # What a step that is known, or cannot be built, need not wait for.
    from bench.commands import running
    from bench.controller.bisect_options import options_of

    how = running.How(
        hosts=(asked.host,), hosts_file=Path(asked.hosts_file) if asked.hosts_file else None, out=run, wait=wait
    )
    why = ""
    try:
        with chdir(asked.folder):
            running.run(asked.plan, options_of(asked, good, tree), how)
    except InputError as error:
        if any(option in str(error) for option in (f"--{HEAD}-{asked.kind}", f"change.{HEAD}.")):
            return Measured(SKIP, reason=str(error))
        raise
    except InvalidError as error:
        why = str(error)
    except LabError as error:
        if not only_the_head_failed(run, asked.arm):
            raise
        return Measured(SKIP, reason=error.message, evidence=error.evidence)
    found = judged(json.loads((run / "analysis.json").read_text()), asked)
    return replace(found, reason=f"{found.reason}; {why}") if why and found.verdict == "invalid" else found


def judged(analysis: dict[str, Any], asked: Asked) -> Measured:
    """What an analysis says of the metric."""
    arm = copied(asked.arm, HEAD)
    rows = [
        row
        for pair in analysis["cells"]
        if (pair["host"], pair["cell"], pair["arm"]) == (asked.host, asked.workload, arm)
        for row in pair["metrics"]
        if row["metric"] == asked.metric
    ]
    if not rows:
        skipped = [str(item["reason"]) for item in analysis["skipped"] if item["arm"] == arm]
        return Measured("invalid", reason="; ".join(skipped) or f"no boot has a value of {asked.metric}")
    (row,) = rows
    percent = row.get("percent", 95.0)
    return Measured(row["verdict"], row["effect"], row["low"], row["high"], percent, row["n"], row["why"])


def only_the_head_failed(run: Path, arm: str) -> bool:
    """Whether the host did its part, and only the head's guests came to no end: then the lab is not to blame."""
    if not (run / "analysis.json").is_file():
        return False
    folder = RunFolder.existing(run)
    if any(event["event"] == "lost" for event in folder.events()):
        return False
    blocks = {
        side: {
            boot["block"] for boot in folder.boots() if boot["arm"] == copied(arm, side) and boot["status"] != "failed"
        }
        for side in SIDES
    }
    return blocks[HEAD] < blocks[SIDES[0]]
