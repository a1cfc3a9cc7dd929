"""The loops that an arm may have beside its guest: which there are, and the form of each in a plan."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import Field, create_model

from bench.controller.quantities import Size
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check, valid_names
from bench.wire.job import HOST_POLICIES, POLICIES, Policy

KINDS = (*POLICIES, *HOST_POLICIES)
# Parameters of each policy: what it takes, and its range (workloads/policy.py and bench.host.policy have the defaults).
_PERIOD = {"period_s": (float, Field(2.0, ge=0.05, le=3600, description="a number of seconds, as in 2"))}
_SIZE = (Size | None, Field(None, ge=4096, le=1 << 44, description="a size, as in 64M"))


def _share(default: float) -> tuple[type[float], Any]:
    return (float, Field(default, ge=0, le=1, description="a share, as in 0.2"))


_RESIZING: dict[str, Any] = {
    "period_s": (float, Field(0.25, ge=0.05, le=3600, description="a number of seconds, as in 0.25")),
    "source": (
        Literal["pressure", "always"],
        Field("pressure", description="pressure, to act when the host is short of memory, or always"),
    ),
    "headroom": _share(0.2),
    "low": _share(0.1),
    "keep": _share(0.2),
    "high": _share(0.3),
    "step": _share(0.25),
    "deadline_s": (float, Field(3.0, ge=0.1, le=3600, description="a number of seconds, as in 3")),
}
_SECONDS = "a number of seconds, as in 2.5"
_NOTIFY: dict[str, Any] = {
    "period_s": _RESIZING["period_s"],
    "headroom": _share(0.2),
    "how": (
        Literal["reclaim", "mglru", "drop-caches"],
        Field("reclaim", description="reclaim, mglru or drop-caches, by which the guest frees memory"),
    ),
    "obey": (bool, Field(True, description="true or false: the guest does what it is told")),
    "lose_every": (int, Field(0, ge=0, description="a whole number, as in 2 to lose every second message, or 0")),
    "tries": (int, Field(3, ge=1, le=100, description="a whole number, as in 3")),
    "answer_s": (float, Field(2.0, ge=0.05, le=3600, description=_SECONDS)),
    "pause_s": (float, Field(2.5, ge=0, le=3600, description=_SECONDS)),
    "least_bytes": (Size, Field(16 << 20, ge=4096, le=1 << 44, description="a size, as in 16M")),
}
FIELDS: dict[str, dict[str, Any]] = {
    "notify": _NOTIFY,
    "balloon": _RESIZING,
    "virtio-mem": _RESIZING,
    "drop-caches": _PERIOD,
    "compact": _PERIOD,
    "reclaim": {
        **_PERIOD,
        "target_bytes": _SIZE,
        "swappiness": (int | None, Field(None, ge=0, le=200, description="a whole number from 0 to 200, as in 60")),
    },
    "mglru": {**_PERIOD, "generations": (int, Field(2, ge=2, le=4, description="a whole number from 2 to 4, as in 2"))},
    "damon": {
        **_PERIOD,
        "min_age_s": (float, Field(2.0, ge=0.05, le=3600, description="a number of seconds, as in 2")),
        "quota_bytes": _SIZE,
    },
}


@cache
def policy_model(kind: str) -> type[Strict]:
    """The form of `policy:` of an arm with this kind of loop."""
    kind_field = (str, Field(description="a kind of loop, as in compact"))
    return create_model(f"{kind}-policy", __base__=Strict, kind=kind_field, **FIELDS[kind])


def read_policy(document: Document, path: KeyPath) -> tuple[Policy | None, list[Problem]]:
    """The loop of the arm at `path`, None for none, and everything that is wrong with it."""
    here: KeyPath = (*path, "policy")
    given = document.sub(path).value.get("policy")
    if given is None:
        return None, []
    kind = given.get("kind") if isinstance(given, dict) else given
    if kind not in FIELDS:
        if isinstance(given, dict) and kind is None:
            return None, [document.problem((*here, "kind"), f"is missing; write one of {', '.join(KINDS)}")]
        where = (*here, "kind") if isinstance(given, dict) else here
        return None, [document.problem(where, f"unknown policy {kind!r}; {valid_names(str(kind), KINDS)}")]
    if not isinstance(given, dict):
        return Policy(kind), []
    model, problems = check(document, policy_model(kind), here)
    if model is None:
        return None, problems
    problems = _wrong_bounds(document, here, model) if "keep" in type(model).model_fields else []
    if problems:
        return None, problems
    return Policy(kind, {key: getattr(model, key) for key in model.model_fields_set - {"kind"}}), []


def _wrong_bounds(document: Document, here: KeyPath, model: Strict) -> list[Problem]:
    """A guest that gives down to `keep` must not be short then, and one that gets up to `high` must not give again."""
    low, keep, high = (getattr(model, name) for name in ("low", "keep", "high"))
    if low < keep <= high:
        return []
    wrong = f"low {low:g}, keep {keep:g} and high {high:g} are not in this order; make low the least and high the most"
    return [document.problem(here, wrong)]
