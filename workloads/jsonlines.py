"""JSON text through the C half of the standard library's json module.

Importing `json` itself imports re and enum, and makes classes and patterns that a guest without KVM pays 0.3 s for at
every boot. Where an interpreter lacks the accelerator, `json` does the work.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs as much as json
if TYPE_CHECKING:
    from typing import Any


class _Context:
    """What `_json.make_scanner` reads from a json.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # NaN, Infinity, -Infinity


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner

    _scan = make_scanner(_Context)  # type: ignore[arg-type]
    _encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, True)

    def loads(text: str) -> Any:
        """The value of one JSON text. Raises ValueError."""
        text = text.strip()
        try:
            value, end = _scan(text, 0)
        except StopIteration as error:
            raise ValueError(f"no JSON value at character {error.value}") from None
        if end != len(text):
            raise ValueError(f"more than one JSON value: {text[end : end + 40]!r}")
        return value

    def dumps(value: Any) -> str:
        """One line of JSON, ASCII only, no spaces. Raises TypeError for what JSON has no form for."""
        return "".join(_encode(value, 0))

except ImportError:
    import json

    def loads(text: str) -> Any:
        """The value of one JSON text. Raises ValueError."""
        return json.loads(text)

    def dumps(value: Any) -> str:
        """One line of JSON, ASCII only, no spaces. Raises TypeError for what JSON has no form for."""
        return json.dumps(value, separators=(",", ":"))
