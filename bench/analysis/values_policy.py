"""Loops beside guests: what they did and what that cost, all guests of a boot together; and what is odd about it."""

from __future__ import annotations

import statistics
from typing import Any

from bench.analysis.doubts import Doubt
from bench.analysis.members import each_guest
from bench.analysis.values import NO_HOST_POLICY, NO_POLICY, Boot, How, Iteration, Missing, number
from bench.wire.job import HOST_POLICIES


def is_on_host(boot: Boot) -> bool:
    """Whether the arm's loop is one of the host side's."""
    return boot.get("policy") in HOST_POLICIES


def is_resized(boot: Boot) -> bool:
    """Whether that loop is the mechanism by which memory leaves the guest."""
    return boot.get("policy") in ("balloon", "virtio-mem")


def policy_problems(boot: Boot) -> list[str]:
    """What is wrong with a boot whose guest a loop of the host side makes smaller, one reason each."""
    phases = {phase.get("name"): phase.get("result") or {} for phase in boot.get("phases") or []}
    wrong = []
    if phases.get("plug", {}).get("reached") is False:
        wrong.append("the guest is smaller than in other arms: not all of its memory was plugged")
    if phases and not phases.get("policy-end", {}).get("looks"):
        wrong.append(f"mechanism not seen: the loop {boot.get('policy')} of the host side never looked at this guest")
    return wrong


def policy_doubts(boot: Boot) -> list[Doubt]:
    """Loops that had nothing to do, or did not get what they asked for."""
    found = []
    for phase in boot.get("phases") or []:
        actions = _actions(phase)
        if actions is None or not is_on_host(boot):
            continue
        if not actions:
            text = "the loop of the host side looked and never found a reason to act: it shows what such a loop costs"
            found.append(Doubt("policy-idle", text))
        short = [action for action in actions if action.get("reached") is False]
        if short:
            text = (
                f"{len(short)} of {len(actions)} actions of the loop got no answer, or less than they asked for in time"
            )
            found.append(Doubt("policy-short", text))
    return found


def _actions(phase: dict[str, Any]) -> list[dict[str, Any]] | None:
    result = phase.get("result") or {}
    return result.get("actions") if phase.get("name") == "policy-end" else None


def _loops(it: Iteration) -> list[Iteration]:
    """The guests beside which a loop ran to its end. One that was never started has none."""
    if not it.boot.get("policy"):
        raise Missing(NO_POLICY)
    guests = each_guest(it) if it.boot.get("guests") else [it]
    mine = [guest for guest in guests if "policy-end" in guest.phases]
    if not mine:
        raise Missing("the loop did not run to its end")
    return mine


def _cpu(it: Iteration) -> float:
    return sum(guest.result("policy-end", "cpu_ns") for guest in _loops(it)) / 1e9


def _all_actions(it: Iteration) -> list[dict[str, Any]]:
    if not is_on_host(it.boot):
        raise Missing(NO_HOST_POLICY)
    return [action for guest in _loops(it) for action in _actions(guest.phase("policy-end")) or []]


def _taken(sign: int) -> How:
    return lambda it: sum(max(0.0, sign * (number(action["bytes"]) or 0.0)) for action in _all_actions(it))


def _reaction(it: Iteration) -> float:
    took = [action["done_s"] - action["t_s"] for action in _all_actions(it) if action["wanted_bytes"] > 0]
    if not took:
        raise Missing("the loop never asked the guest for memory")
    return float(statistics.median(took))


# Of every workload.
COMMON: dict[str, How] = {
    "policy_cpu_s": _cpu,
    "policy_actions": lambda it: float(len(_all_actions(it))),
    "policy_taken_bytes": _taken(1),
    "policy_returned_bytes": _taken(-1),
    "policy_reaction_s": _reaction,
}
