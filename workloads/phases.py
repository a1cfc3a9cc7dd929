"""Phases that scripts share: how a phase is written, how a boot begins, and how the mechanism is proved in it."""

from __future__ import annotations

from typing import Any

from workloads.shape import Around, Params, PhaseDict

PROOF = "proof"
# How long the guest may take to give memory up, or to have it back: for hangs, not for slowness.
_PROBE_ROOM_S = 300.0
_GIVE_BASE_S, _GIVE_S_PER_GIB = 20.0, 5.0
# Parameters of a loop `notify` that are its listener's.
_OF_A_LISTENER = ("how", "obey")


def guest(name: str, op: str, **args: Any) -> PhaseDict:
    """The agent runs `op`."""
    return {"name": name, "kind": "guest", "op": op, "args": args}


def host(name: str, op: str, **args: Any) -> PhaseDict:
    """The host does `op` to the guest's memory."""
    return {"name": name, "kind": "host", "op": op, "args": args}


def meet(name: str, *phases: tuple[int, str]) -> PhaseDict:
    """Waits until these phases, as (guest, name), are done or never will be."""
    return {"name": name, "kind": "meet", "op": "", "args": {"phases": [list(phase) for phase in phases]}}


def boot(unless: tuple[int, str, str] | None = None) -> PhaseDict:
    """The guest is started here; not, if that phase of that guest, as (guest, phase, key), answered a true `key`."""
    args = {} if unless is None else {"unless": list(unless)}
    return {"name": "boot", "kind": "boot", "op": "", "args": args}


def track(number: int, phases: list[PhaseDict]) -> list[PhaseDict]:
    """The phases as those of guest `number`, of its first and only iteration."""
    return [{"iteration": 0, **phase, "guest": number} for phase in phases]


def mapped(name: str, region: str, size_bytes: int, thp: str = "system") -> PhaseDict:
    """The guest maps anonymous memory under a name; nothing is touched."""
    return guest(name, "map", region=region, bytes=size_bytes, mapping="anonymous", thp=thp)


def touched(name: str, region: str, mode: str = "write", histogram: bool = False) -> PhaseDict:
    """Every page once. mode "fill": with the pattern that `verify` looks for. histogram: of the latency of a page."""
    return guest(name, "touch", region=region, mode=mode, histogram=histogram)


def freed(name: str, region: str) -> PhaseDict:
    """The whole region is unmapped."""
    return guest(name, "release", region=region, how="munmap", every=1, block_bytes=0)


def hold(name: str, seconds: float) -> PhaseDict:
    """Nothing happens for so long."""
    return {"name": name, "kind": "hold", "op": "", "args": {"s": seconds}}


def settle(name: str, params: Params, min_s: float, max_s: float) -> PhaseDict:
    """Waits for the plateau of the residency."""
    window = {"window_s": params["settle_window_s"], "tolerance_bytes": params["settle_tolerance"]}
    return {"name": name, "kind": "settle", "op": "", "args": {"min_s": min_s, "max_s": max_s, **window}}


def setup(around: Around) -> list[PhaseDict]:
    """The first phases of every boot: what the agent sets, and virtio-mem's part of the guest's memory."""
    more: dict[str, Any] = {"params": dict(around.reporting_params)} if around.reporting_params else {}
    loop = around.policy["kind"] if around.host_policy and around.policy else ""
    driver = around.give or (loop if loop != "notify" else "")
    if driver:
        more["driver"] = driver
    plug = [_without("virtio-mem", around, "plug", 0)] if driver == "virtio-mem" else []
    return [guest("setup", "setup", page_reporting_order=around.reporting_order, **more), *plug]


def proof(params: Params, size_bytes: int) -> list[PhaseDict]:
    """Memory touched, freed and waited for: in an arm that reports, discards must be seen from `proof-free` on.

    For workloads whose own phases free nothing by themselves.
    """
    return [
        mapped("proof-map", PROOF, size_bytes),
        touched("proof-touch", PROOF),
        freed("proof-free", PROOF),
        settle("proof-settle", params, params["settle_min_s"], params["settle_max_s"]),
    ]


def policy_start(around: Around) -> list[PhaseDict]:
    """The loop of the guest or of the host begins, where the arm has one; a guest's kernel is probed for it first."""
    if not around.policy:
        return []
    if not around.host_policy:
        return [guest("policy", "policy_start", **around.policy)]
    heard = {key: value for key, value in around.policy.items() if key in _OF_A_LISTENER}
    own = {key: value for key, value in around.policy.items() if key not in _OF_A_LISTENER}
    listen = [guest("listen", "listen_start", **heard)] if _is_told(around) else []
    return [*listen, host("policy", "policy_start", **own)]


def policy_stop(around: Around) -> list[PhaseDict]:
    """The loop ends; its answer has every action with its bytes, and the CPU time that it took."""
    where = host if around.host_policy else guest
    listen = [guest("listen-end", "listen_stop")] if _is_told(around) else []
    return [where("policy-end", "policy_stop"), *listen] if around.policy else []


def _is_told(around: Around) -> bool:
    """Whether somebody in the guest listens to what the host's loop says."""
    return bool(around.host_policy and around.policy and around.policy["kind"] == "notify")


def give(around: Around, size: Any = None) -> list[PhaseDict]:
    """The host has the freed memory back, where the arm says how: the bytes that phase `free` answered, or `size`."""
    wanted = {"from": ["free", "bytes"]} if size is None else size
    return [_without(around.give, around, "give", wanted)] if around.give else []


def give_untouched(around: Around, size_bytes: int) -> list[PhaseDict]:
    """The host asks for memory that nobody touched yet, and gives it again, where the arm says how."""
    if not around.give:
        return []
    return [
        _without(around.give, around, "give-untouched", size_bytes),
        _without(around.give, around, "grow-untouched", 0),
    ]


def grow(around: Around) -> list[PhaseDict]:
    """The guest gets all its memory again, to be done before it wants it."""
    return [_without(around.give, around, "grow", 0)] if around.give else []


def probe_begin(params: Params) -> list[PhaseDict]:
    """The probe begins, and counts for a while before anything happens, where the plan wants one."""
    if params["probe"] == "none":
        return []
    room_s = params["probe_before_s"] + params["settle_max_s"] + _PROBE_ROOM_S
    probe = {"kind": params["probe"], "quantum_s": params["probe_quantum_s"], "bytes": params["probe_bytes"]}
    return [
        guest("probe", "probe_start", room_s=room_s, **probe),
        *probe_mark(params, "before"),
        hold("probe-hold", params["probe_before_s"]),
    ]


def probe_mark(params: Params, name: str) -> list[PhaseDict]:
    """What is counted from here on belongs to the window `name`."""
    return [] if params["probe"] == "none" else [guest(f"probe-{name}", "probe_mark", window=name)]


def probe_end(params: Params) -> list[PhaseDict]:
    """The probe ends; windows are as long as that of the footprint, the same for every arm."""
    return [] if params["probe"] == "none" else [guest("probe-end", "probe_stop", window_s=params["window_s"])]


def wanted_again(params: Params, around: Around, region: str, size_bytes: int) -> list[PhaseDict]:
    """The guest has its memory again and touches it, while the probe goes on to its end; then it is freed for good."""
    return [
        *probe_mark(params, "again"),
        *grow(around),
        mapped("map-again", region, size_bytes, params["thp"]),
        touched("again", region),
        *probe_end(params),
        guest("verify", "verify", region=region, extent="word"),
        freed("free-again", region),
    ]


def _without(way: str, around: Around, name: str, size: Any) -> PhaseDict:
    """The guest is to do without `size` bytes of its memory from here on."""
    deadline_s = _GIVE_BASE_S + _GIVE_S_PER_GIB * around.memory_bytes / (1 << 30)
    return host(name, way, bytes=size, deadline_s=deadline_s)


def iterations(once: list[PhaseDict], each: list[PhaseDict], params: Params) -> list[PhaseDict]:
    """`once` before the first iteration, then `each` as often as the parameters say; warm-ups come first."""
    phases: list[PhaseDict] = []
    for iteration in range(params["warmups"] + params["iterations"]):
        steps = [*(once if iteration == 0 else []), *each]
        phases += [{**step, "iteration": iteration, "warmup": iteration < params["warmups"]} for step in steps]
    return phases
