"""Sizes, shares and durations as people write them, and as they read them; and text from elsewhere, made harmless.

Inside the suite every quantity is in base units (bytes, seconds, a share between 0 and 1), named so
(`memory_bytes`, `settle_s`). Only this file converts.
"""

from __future__ import annotations

import re

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
_FACTOR = {"": 1, "B": 1, "K": KIB, "KIB": KIB, "M": MIB, "MIB": MIB, "G": GIB, "GIB": GIB, "T": TIB, "TIB": TIB}


def parse_size(text: str | int) -> int:
    """Bytes of "512M", "1.5GiB" or a plain number; binary factors, as QEMU's -m reads them.

    Raises ValueError with what would be right.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    factor = _FACTOR.get(match.group(2).upper()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is no size; write bytes or a number with K, M, G or T, as in 512M")
    value = float(match.group(1)) * factor
    if value != int(value):
        raise ValueError(f"{text!r} is no whole number of bytes")
    return int(value)


def parse_share(text: str | float) -> float:
    """A share between 0 and 1 of "50%" or 0.5. Raises ValueError with what would be right."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(text))
    value = float(match.group(1)) / (100 if match.group(2) else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"{text!r} is no share; write a percentage as in 50%")
    return value


def printable(text: object) -> str:
    """One line that does nothing to a terminal: white space is a space, control and format characters are U+FFFD."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in str(text))


def show_bytes(value: float) -> str:
    """Short text with a binary unit, three significant digits: "385 MiB"."""
    for factor, unit in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {unit}"
    return f"{value:.0f} B"


def show_seconds(value: float) -> str:
    """Short text with a decimal unit, three significant digits: "2.35 ms"."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
        if abs(value) >= factor:
            return f"{_three(value / factor)} {unit}"
    return "0 s" if value == 0 else f"{value:.3g} s"


def show(value: float, unit: str) -> str:
    """A value with its unit, for people. Units are those of `bench.wire.metrics`."""
    if unit == "byte":
        return show_bytes(value)
    if unit == "second":
        return show_seconds(value)
    if unit == "byte-second":
        return show_bytes(value) + "·s"
    if unit == "second/GiB":
        return show_seconds(value) + "/GiB"
    if unit == "byte/second":
        return f"{show_bytes(value)}/s"
    if unit == "share":
        return f"{_three(100 * value)} %"
    return _three(value)


def _three(value: float) -> str:
    magnitude = abs(value)
    digits = 0 if magnitude >= 99.95 or value == int(value) else 1 if magnitude >= 9.995 else 2
    return f"{value:.{digits}f}"
