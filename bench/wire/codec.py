"""JSON lines between controller and host, and dataclasses to and from plain JSON values.

One line is one object with the keys `v` (WIRE_VERSION) and `type`. Unknown keys and missing ones are errors: both
sides come from one commit (the host side is pushed by its hash), so a mismatch is a bug, never a version to cope with.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import typing
from typing import Any, TypeVar

WIRE_VERSION = 1

T = TypeVar("T")
Json = dict[str, Any]


class WireError(ValueError):
    """A line that is not of this vocabulary; the message shows its start."""


def to_json(value: Any) -> Any:
    """Plain JSON value of a dataclass (recursively); tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], data: Any) -> T:
    """Dataclass `kind` from a plain JSON object made by `to_json`. Raises WireError on unknown or missing keys."""
    if not isinstance(data, dict):
        raise WireError(f"{kind.__name__}: an object was expected, not {data!r:.80}")
    hints = _hints(typing.cast("Any", kind))
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise WireError(f"{kind.__name__}: unknown keys {', '.join(unknown)}")
    try:
        return kind(**{name: _convert(hints[name], item) for name, item in data.items()})
    except TypeError as error:
        raise WireError(f"{kind.__name__}: {error}") from error


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    """Type of each field, evaluated once: a run decodes hundreds of records a boot."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _convert(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_json(hint, value)
    if typing.get_origin(hint) is typing.Union and value is not None:
        # Optional: the vocabulary has no other unions of fields.
        return _convert(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) is tuple:
        return tuple(_convert(typing.get_args(hint)[0], item) for item in value)
    return value


def canonical(value: Any) -> bytes:
    """The one byte string of a value: sorted keys, no spaces. What hashes are taken of."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content_hash(value: Any) -> str:
    """First 16 hex digits of the sha256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value)).hexdigest()[:16]


def encode(kind: str, body: Any) -> bytes:
    """One line of the wire: `body` (a dataclass or an object) as type `kind`, newline included."""
    return json.dumps({"v": WIRE_VERSION, "type": kind, "body": to_json(body)}, ensure_ascii=False).encode() + b"\n"


def decode(line: bytes) -> tuple[str, Json]:
    """(type, body) of one line. Raises WireError for anything that is not of this version of the wire."""
    try:
        message = json.loads(line)
        version, kind, body = message["v"], message["type"], message["body"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"not a line of the wire: {line[:200]!r}") from error
    if version != WIRE_VERSION:
        raise WireError(f"wire version {version}, this side speaks {WIRE_VERSION}")
    return str(kind), body
