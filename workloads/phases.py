"""Phases that scripts share: how a phase is written, how a boot begins, and how the mechanism is proved in it."""

from __future__ import annotations

from typing import Any

from workloads.shape import Around, Params, PhaseDict

PROOF = "proof"


def guest(name: str, op: str, **args: Any) -> PhaseDict:
    """The agent runs `op`."""
    return {"name": name, "kind": "guest", "op": op, "args": args}


def host(name: str, op: str, **args: Any) -> PhaseDict:
    """The host does `op` to the guest's memory."""
    return {"name": name, "kind": "host", "op": op, "args": args}


def hold(name: str, seconds: float) -> PhaseDict:
    """Nothing happens for so long."""
    return {"name": name, "kind": "hold", "op": "", "args": {"s": seconds}}


def settle(name: str, params: Params, min_s: float, max_s: float) -> PhaseDict:
    """Waits for the plateau of the residency."""
    window = {"window_s": params["settle_window_s"], "tolerance_bytes": params["settle_tolerance"]}
    return {"name": name, "kind": "settle", "op": "", "args": {"min_s": min_s, "max_s": max_s, **window}}


def setup(around: Around) -> list[PhaseDict]:
    """The first phase of every boot."""
    more = {"params": dict(around.reporting_params)} if around.reporting_params else {}
    return [guest("setup", "setup", page_reporting_order=around.reporting_order, **more)]


def proof(params: Params, size_bytes: int) -> list[PhaseDict]:
    """Memory touched, freed and waited for: in an arm that reports, discards must be seen from `proof-free` on.

    For workloads whose own phases free nothing by themselves.
    """
    return [
        guest("proof-map", "map", region=PROOF, bytes=size_bytes, mapping="anonymous", thp="system"),
        guest("proof-touch", "touch", region=PROOF, mode="write", histogram=False),
        guest("proof-free", "release", region=PROOF, how="munmap", every=1, block_bytes=0),
        settle("proof-settle", params, params["settle_min_s"], params["settle_max_s"]),
    ]


def policy_start(around: Around) -> list[PhaseDict]:
    """The guest's own loop begins, where the arm has one; the kernel is probed for it first."""
    return [guest("policy", "policy_start", **around.policy)] if around.policy else []


def policy_stop(around: Around) -> list[PhaseDict]:
    """The loop ends; its answer has every action with its bytes, and the CPU time that it took."""
    return [guest("policy-end", "policy_stop")] if around.policy else []


def iterations(once: list[PhaseDict], each: list[PhaseDict], params: Params) -> list[PhaseDict]:
    """`once` before the first iteration, then `each` as often as the parameters say; warm-ups come first."""
    phases: list[PhaseDict] = []
    for iteration in range(params["warmups"] + params["iterations"]):
        steps = [*(once if iteration == 0 else []), *each]
        phases += [{**step, "iteration": iteration, "warmup": iteration < params["warmups"]} for step in steps]
    return phases
