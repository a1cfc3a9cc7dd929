"""Noise floors of hosts, kept between runs: what `bench selftest --aa` measured, under the fingerprint of the host.

A floor is that of a host as it was: its CPU, memory, kernel, settings, accelerator and QEMU. A host that has changed
has none until it is tested again. A run that quotes floors has a copy of them (floors.json): its page stays the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.analysis.fingerprint import FACTS, UNKNOWN, shown
from bench.analysis.values import Boot
from bench.controller.store import RunFolder

SCHEMA = 1
FLOORS = "floors.json"
_OF_THE_HOST = ("accelerator", "QEMU (sha256)")


def state_folder() -> Path:
    """$BENCH_STATE, else $XDG_STATE_HOME/fpr-bench, else ~/.local/state/fpr-bench."""
    named = os.environ.get("BENCH_STATE")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(named) if named else Path(base) / "fpr-bench"


def fingerprints(boots: Sequence[Boot]) -> dict[str, dict[str, str]]:
    """host -> the facts that its noise depends on, of its boots that count; none of a host that changed meanwhile."""
    found: dict[str, list[dict[str, str]]] = {}
    for boot in boots:
        if boot.get("status") == "ok":
            facts = {
                fact.name: shown(fact, boot)
                for fact in FACTS
                if fact.name.startswith("host ") or fact.name in _OF_THE_HOST
            }
            known = found.setdefault(str(boot["host"]), [])
            if facts not in known:
                known.append(facts)
    return {host: facts[0] for host, facts in found.items() if len(facts) == 1}


def keep(host: dict[str, str], plan: str, floor: dict[str, Any]) -> Path:
    """Writes the floor of a host for a plan, beside those of other plans; answers the file."""
    path = _path(host)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _read(path) or {"schema": SCHEMA, "host": host, "plans": {}}
    content["plans"][plan] = floor
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return part.replace(path)


def known(boots: Sequence[Boot], plan: str) -> dict[str, Any]:
    """host -> its floor for this plan, as far as it was tested as it is now."""
    found = {}
    for host, facts in fingerprints(boots).items():
        floor = ((_read(_path(facts)) or {}).get("plans") or {}).get(plan)
        if floor:
            found[host] = floor
    return found


def plan_key(run: dict[str, Any]) -> str:
    """Under which name a floor is kept: noise is that of a workload and a guest, and a variant may change both."""
    return f"{run.get('plan')}/{run.get('variant') or ''}"


def copy_floors(folder: RunFolder) -> dict[str, Any]:
    """The floors of a run's hosts: from its own floors.json, else from here, and then it gets them."""
    path = folder.path / FLOORS
    if path.is_file():
        return dict(json.loads(path.read_text()))
    found = known(folder.boots(), plan_key(folder.run))
    if found:
        folder.write_json(FLOORS, found)
    return found


def _path(host: dict[str, str]) -> Path:
    # A fact that is not recorded is one too: another host may have it.
    text = json.dumps({name: value for name, value in sorted(host.items()) if value != UNKNOWN})
    return state_folder() / "floors" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text())) if path.is_file() else None
