"""What a plan's groups of guests need of a host: a question to it, and its answer as mistakes that can be mended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.controller.inventory import Host
from bench.controller.plan import QEMU_OWN_BYTES, Plan
from bench.controller.yamlfile import KeyPath, Problem, raise_problems
from bench.wire.codec import to_json
from bench.wire.job import Job


def means_args(plan: Plan, host: Host, jobs: Iterable[Job]) -> dict[str, Any] | None:
    """Arguments of the question `means` (bench.host.means); None where the host's memory is not over-committed.

    A plan whose only cgroup has no limit asks nothing: a phase that needs it is skipped where it cannot be made.
    """
    groups = [group for job in jobs if (group := _group(job)) is not None]
    if not groups:
        return None
    return {
        "become": host.become,
        "memory_bytes": host.memory_bytes,
        "swap_file_bytes": plan.swap_file_bytes,
        "zswap_off": "zswap" in plan.tune,
        "groups": [group for index, group in enumerate(groups) if group not in groups[:index]],
    }


def check_means(plan: Plan, host: Host, problems: Sequence[Mapping[str, str]]) -> None:
    """Raises one InputError of all that a host answered, each at the key of the file where it can be mended."""
    raise_problems(_placed(plan, host, problem) for problem in problems)


def _group(job: Job) -> dict[str, Any] | None:
    limited = job.cgroup is not None and job.cgroup.limited
    if not limited and job.guests == 1:
        return None
    others = sum(int(phase.args["bytes"]) for phase in job.phases if phase.op == "arrive")
    return {
        "cell": job.cell,
        "guests_bytes": job.guests * (job.guest.memory_bytes + QEMU_OWN_BYTES) + others,
        "limits": to_json(job.cgroup) if limited else None,
    }


def _placed(plan: Plan, host: Host, problem: Mapping[str, str]) -> Problem:
    text = f"host {host.name}: {problem['text']}"
    if problem["about"] == "right":
        return host.document.problem(("become",), text)
    path: KeyPath = ("swap", "file")
    if problem["about"] == "memory":
        names = [entry.get("name") or entry.get("workload") for entry in plan.document.value["workloads"]]
        path = ("workloads", names.index(problem["cell"]))
    return plan.document.problem(path, text)
