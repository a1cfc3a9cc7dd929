"""Types of values in files: sizes, shares, seconds, CPUs, names and paths, in base units once a file is checked.

Each type also says how it looks in a JSON Schema: as people write it, not as it is kept.
"""

from __future__ import annotations

import math
import re
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from bench.wire.named import NAMED, NAMES, name_of
from bench.wire.units import parse_share, parse_size

NAME_LENGTH = 64
NAME = rf"[A-Za-z0-9][A-Za-z0-9_+-]{{0,{NAME_LENGTH - 1}}}"
# What stands before a file of the controller that is to be carried to each host.
PUSH = "push:"
_CPUS = r"([0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*)?"


def text_schema(pattern: str, *others: dict[str, Any]) -> WithJsonSchema:
    """A text of this form in the JSON Schema, or one of `others`."""
    text = {"type": "string", "pattern": f"^{pattern}$"}
    return WithJsonSchema({"anyOf": [*others, text]} if others else text)


SIZE_SCHEMA = text_schema(
    r"\s*([0-9]+\s*[Bb]?|[0-9]+(\.[0-9]+)?\s*[KkMmGgTt]([Ii][Bb])?)\s*", {"type": "integer", "minimum": 0}
)
SHARE_SCHEMA = text_schema(
    r"\s*((0*[0-9]{1,2}(\.[0-9]+)?|100(\.0+)?)\s*%|0(\.[0-9]+)?|1(\.0+)?)\s*",
    {"type": "number", "minimum": 0, "maximum": 1},
)
SECONDS_SCHEMA = text_schema(r"\s*[0-9]+(\.[0-9]+)?\s*s?\s*", {"type": "number", "minimum": 0})


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


def read_cpus(value: Any) -> tuple[int, ...]:
    """CPU numbers, ascending, of "2-7,10" (a list as the kernel writes it), a number, or "" for none.

    Raises ValueError with what would be right.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(_CPUS, text):
        raise ValueError(f"{value!r} is no list of CPUs; write it as the kernel does, as in 2-7,10")
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if last and int(first) > int(last):
            raise ValueError(f"{value!r} counts down; write {last}-{first}")
        found |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def show_cpus(cpus: tuple[int, ...]) -> str:
    """CPU numbers as the kernel writes them: "2-7,10"."""
    # The difference between a number and its place is the same all along a range.
    runs = [[cpu for _, cpu in run] for _, run in groupby(enumerate(sorted(cpus)), lambda item: item[1] - item[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def pushed(named: str) -> Path | None:
    """The file or folder on this machine behind "push:PATH" (~ expanded); None for a path on the host."""
    if not named.startswith(PUSH):
        return None
    try:
        return Path(named.removeprefix(PUSH)).expanduser()
    except RuntimeError:
        # ~somebody, who is unknown here: what is not expanded is not there.
        return Path(named.removeprefix(PUSH))


def is_plain(text: str) -> bool:
    """Whether the text is free of control characters."""
    return text.isprintable()


def _name(value: Any) -> str:
    # Names become parts of file names, joined by dots.
    if not isinstance(value, str) or not re.fullmatch(NAME, value):
        raise ValueError(f"{value!r} is no name; write letters, digits, - and + without spaces or dots, as in a-name")
    return value


def _host_path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or not is_plain(value):
        raise ValueError(f"{value!r} is no path on the host; write it from the root, as in /path/to/file")
    return value


def _kernel_path(value: Any) -> str:
    return _carried(value, "file") if isinstance(value, str) and value.startswith(PUSH) else _host_path(value)


def _arm_kernel(value: Any) -> str:
    return _known(value, "kernel") if isinstance(value, str) and value.startswith(NAMED) else _kernel_path(value)


def _arm_qemu(value: Any) -> str:
    return _known(value, "qemu") if isinstance(value, str) and value.startswith(NAMED) else _host_path(value)


def _known(value: str, kind: str) -> str:
    if name_of(value) not in NAMES[kind]:
        raise ValueError(
            f"{value!r} is not known; write {' or '.join(NAMED + name for name in NAMES[kind])}, or a path"
        )
    return value


def _modules_path(value: Any) -> str:
    return _carried(value, "folder") if isinstance(value, str) and value.startswith(PUSH) else _host_path(value)


def _carried(value: str, kind: str) -> str:
    """The path made absolute, so that a run can be resumed from another folder."""
    path = pushed(value)
    assert path is not None
    written = value.removeprefix(PUSH)
    if not written or not is_plain(written):
        raise ValueError(f"{value!r} names nothing; write a {kind} of this machine behind {PUSH}, as in {PUSH}./{kind}")
    if not (path.is_file() if kind == "file" else path.is_dir()):
        missing = f"is no {kind}" if path.exists() else "is not there"
        raise ValueError(f"{written} {missing}; name a {kind} of this machine, seen from the folder you are in")
    return f"{PUSH}{path.absolute()}"


Size = Annotated[int, BeforeValidator(read_size), SIZE_SCHEMA]
Share = Annotated[float, BeforeValidator(read_share), SHARE_SCHEMA]
Seconds = Annotated[float, BeforeValidator(read_seconds), SECONDS_SCHEMA]
Cpus = Annotated[
    tuple[int, ...], BeforeValidator(read_cpus), text_schema(_CPUS, {"type": "integer", "minimum": 0, "maximum": 99999})
]
Name = Annotated[str, BeforeValidator(_name), text_schema(NAME)]
HostPath = Annotated[str, BeforeValidator(_host_path), text_schema("/.*")]
KernelPath = Annotated[str, BeforeValidator(_kernel_path), text_schema(f"(/.*|{PUSH}.+)")]
# What an arm may name besides: what `bench prepare` put beside the host's own.
_NAMED = {kind: f"{NAMED}({'|'.join(names)})" for kind, names in NAMES.items()}
ArmKernel = Annotated[str, BeforeValidator(_arm_kernel), text_schema(f"(/.*|{PUSH}.+|{_NAMED['kernel']})")]
ArmQemu = Annotated[str, BeforeValidator(_arm_qemu), text_schema(f"(/.*|{_NAMED['qemu']})")]
ModulesPath = Annotated[str, BeforeValidator(_modules_path), text_schema(f"(/.*|{PUSH}.+)")]
