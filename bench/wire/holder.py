"""Who holds a host, in words. A holder is a mapping with owner, run, since (UTC) and pid; {} when it left no name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def held_by(holder: Mapping[str, Any]) -> str:
    """A holder that is alive."""
    if not holder:
        return "held by somebody who left no name"
    who = {key: holder.get(key, "?") for key in ("owner", "run", "since", "pid")}
    return "held by {owner} for run {run} since {since}, process {pid}".format_map(who)


def taken_from(holder: Mapping[str, Any]) -> str:
    """A holder that died, after its lock was taken over."""
    return f"took over the lock of {holder.get('owner', '?')}, run {holder.get('run', '?')}, whose process is gone"
