"""What a run leaves at its end: analysis and pyperf files, and the error that says why it has no answer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.analyse import analyse
from bench.controller.export import export_pyperf
from bench.controller.run import Outcome
from bench.controller.store import RunFolder
from bench.errors import BenchError, Interrupted, InvalidError, LabError


def conclude(folder: RunFolder) -> dict[str, Any]:
    """analysis.json and the pyperf files from what the folder holds; answers the analysis."""
    analysis = analyse(folder.run, folder.boots())
    folder.write_json("analysis.json", analysis)
    export_pyperf(folder.path)
    return analysis


def resume_command(folder: RunFolder) -> str:
    """What to type to finish a run."""
    return f"bench run --resume {shlex.quote(str(folder.path))}"


def problem(analysis: Mapping[str, Any], outcomes: Sequence[Outcome], folder: RunFolder) -> BenchError | None:
    """Why the run has not answered its question, None when it has; the first of these that fits.

    Interrupted (130): the user stopped it. LabError (5): a host was lost. InvalidError (4): a boot cannot be believed.
    LabError (5): blocks are missing.
    """
    resume = resume_command(folder)
    if any(outcome.state == "stopped" for outcome in outcomes):
        return Interrupted(f"interrupted; finish it with: {resume}")
    lost = [outcome for outcome in outcomes if outcome.state == "lost"]
    if lost:
        return _lost(lost, len(outcomes), resume)
    if analysis["invalid_boots"]:
        lines = sorted({f"{boot['boot']}: {boot['reason']}" for boot in analysis["invalid_boots"]})
        return InvalidError("not every boot can be believed:\n  " + "\n  ".join(lines))
    return _short(analysis)


def _lost(lost: Sequence[Outcome], of: int, resume: str) -> LabError:
    if of == 1:
        (only,) = lost
        reason = f"{only.reason}; {len(only.unfinished)} boots are left: {resume}"
        return LabError(only.host, reason, evidence=only.evidence)
    names = ", ".join(outcome.host for outcome in lost)
    lines = []
    for outcome in lost:
        first, *rest = outcome.reason.splitlines() or [""]
        lines.append(f"{outcome.host}: {first} ({len(outcome.unfinished)} boots left)")
        lines += [f"{outcome.host}:   {line}" for line in (*rest, *outcome.evidence)]
    others = "; the results of the others are complete" if len(lost) < of else ""
    return LabError(names, f"{len(lost)} of {of} hosts were lost{others}. To finish: {resume}", evidence=lines)


def _short(analysis: Mapping[str, Any]) -> LabError | None:
    short = [cell for cell in analysis["cells"] if len(cell["complete_blocks"]) < cell["blocks"]]
    if not short:
        return None
    failed = [f"{boot['boot']}: {boot['reason']}" for boot in analysis["failed_boots"]]
    names = ", ".join(f"{cell['cell']}/{cell['arm']}" for cell in short)
    hosts = ", ".join(dict.fromkeys(str(cell["host"]) for cell in short))
    return LabError(hosts, f"blocks are missing in {names}", evidence=failed)
