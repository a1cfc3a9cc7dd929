"""Types of values in files: sizes, shares, seconds, names and paths, turned into base units while a file is checked."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from bench.wire.units import parse_share, parse_size


def read_size(value: Any) -> int:
    """Bytes of "512M" or a whole number. Raises ValueError with what would be right."""
    if isinstance(value, (bool, list, dict)) or value is None:
        raise ValueError(f"{value!r} is no size; write bytes or a number with K, M, G or T, as in 512M")
    return parse_size(value)


def read_share(value: Any) -> float:
    """A share of "40%" or 0.4. Raises ValueError with what would be right."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 <= value <= 1:
            return float(value)
        raise ValueError(f"{value!r} is no share; write a percentage as in 50%")
    return parse_share(value)


def read_seconds(value: Any) -> float:
    """Seconds of 2.5 or "2.5s". Raises ValueError with what would be right."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no time; write seconds, as in 2.5")
    return float(match.group(1))


def read_count(value: Any) -> int:
    """A whole number. Raises ValueError with what would be right."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number; write one, as in 3")
    return value


def _name(value: Any) -> str:
    # Names become parts of file names, joined by dots.
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,63}", value):
        raise ValueError(f"{value!r} is no name; write letters, digits, - and + without spaces or dots, as in a-name")
    return value


def _host_path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f"{value!r} is no path on the host; write it from the root, as in /path/to/file")
    return value


Size = Annotated[int, BeforeValidator(read_size)]
Name = Annotated[str, BeforeValidator(_name)]
HostPath = Annotated[str, BeforeValidator(_host_path)]
