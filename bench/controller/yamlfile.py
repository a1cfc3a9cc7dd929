"""YAML files written by people: plain values, the place of every key, and all problems of a file at once.

`parse` turns text into a `Document`; `check` holds a part of it against a pydantic model; `raise_problems` ends it with
one `InputError` line a problem: `file:line: key.path: what is wrong, what would be right`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bench.errors import InputError

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound="Strict")
_YAML = "tag:yaml.org,2002:"
_WRONG = {
    "int_type": "no whole number",
    "float_type": "no number",
    "finite_number": "no finite number",
    "string_type": "no text (put it in quotes if it is meant so)",
    "bool_type": "neither true nor false",
    "list_type": "no list",
    "dict_type": "no mapping",
    "model_type": "no mapping",
    "greater_than_equal": "too small",
    "less_than_equal": "too large",
    "too_short": "too short",
    "multiple_of": "no multiple of 2 MiB",
}


class Strict(BaseModel):
    """Base of every file's model. A field's description goes on from "write …", an example at its end."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Place:
    """Where a value was written: file and line (from 1) and key there; line 0 is an option of the command line."""

    source: str
    line: int
    key: str = ""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, as the user will read it."""

    place: Place
    message: str

    def __str__(self) -> str:
        parts = [f"{self.place.source}:{self.place.line}" if self.place.line else self.place.source]
        return ": ".join([*parts, *([self.place.key] if self.place.key else []), self.message])


@dataclass(frozen=True)
class Document:
    """A value (mappings, lists, scalars) with the place of every key in it, and what was wrong on the way."""

    value: Any
    places: dict[KeyPath, Place]
    problems: tuple[Problem, ...] = ()

    def place(self, path: KeyPath) -> Place:
        """Place of `path`, or of its nearest ancestor that was written, with the rest of the path in the key."""
        known = path
        while known not in self.places and known:
            known = known[:-1]
        found = self.places.get(known, Place("?", 1))
        rest = [str(part) for part in path[len(known) :]]
        return Place(found.source, found.line, ".".join([*([found.key] if found.key else []), *rest]))

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem at `path`."""
        return Problem(self.place(path), message)

    def sub(self, path: KeyPath) -> Document:
        """The part below `path` as a document of its own; places keep naming the keys of the whole file."""
        value = self.value
        for part in path:
            value = value[part]
        inside = {key[len(path) :]: place for key, place in self.places.items() if key[: len(path)] == path}
        return Document(value, inside)


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise one InputError of all problems, in the order of the lines; nothing when there is none."""

    def order(problem: Problem) -> tuple[str, int, str, str]:
        return problem.place.source, problem.place.line, problem.place.key, problem.message

    ordered = sorted(set(problems), key=order)
    if ordered:
        raise InputError("\n".join(str(problem) for problem in ordered))


def valid_names(given: str, names: Sequence[str]) -> str:
    """ "did you mean 'touch'? valid: …" for a name that is none of `names`."""
    close = difflib.get_close_matches(given, names, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + "valid: " + ", ".join(names)


def check(document: Document, model: type[Model], path: KeyPath = ()) -> tuple[Model | None, list[Problem]]:
    """The part of `document` at `path` as `model`, or None and everything that is wrong with it."""
    try:
        return model.model_validate(document.sub(path).value), []
    except ValidationError as error:
        return None, [_wrong(document, model, path, detail) for detail in error.errors(include_url=False)]


def _wrong(document: Document, model: type[Strict], path: KeyPath, detail: ErrorDetails) -> Problem:
    loc = tuple(part for part in detail["loc"] if part != "[key]")
    owner, field_info = _field(model, loc)
    write = field_info.description if field_info and field_info.description else "key: value lines"
    kind, given = detail["type"], _shown(_written(document, (*path, *loc), detail["input"]))
    if kind == "extra_forbidden":
        message = f"unknown key; {valid_names(str(loc[-1]), list(owner.model_fields))}"
    elif kind == "missing":
        message = f"is missing; write {write}"
    elif kind == "literal_error" and field_info:
        message = f"{given} is not known; {valid_names(given, get_args(field_info.annotation))}"
    elif kind == "value_error":
        message = str(detail["ctx"]["error"])
    else:
        message = f"{given} is {_WRONG.get(kind, detail['msg'])}; write {write}"
    return document.problem((*path, *loc), message)


def _field(model: type[Strict], loc: KeyPath) -> tuple[type[Strict], FieldInfo | None]:
    """The model that holds the last key of `loc`, and its field if it has one."""
    found = None
    for index, part in enumerate(loc):
        known = model.model_fields.get(str(part))
        if known is None:
            # An entry of a list or a mapping is described with the field that holds it; an unknown key is not.
            return model, found if index else None
        found = known
        if index < len(loc) - 1 and isinstance(known.annotation, type) and issubclass(known.annotation, Strict):
            model = known.annotation
    return model, found


def _written(document: Document, path: KeyPath, default: Any) -> Any:
    """The value as it was written: pydantic shows 67108864 for 64M."""
    value = document.value
    for part in path:
        if isinstance(value, dict) and part not in value:
            return default
        if not isinstance(value, (dict, list)):
            return default
        value = value[part]  # type: ignore[index]
    return value


def _shown(value: Any) -> str:
    if value == []:
        return "an empty list"
    kinds = {dict: "a mapping", list: "a list", type(None): "nothing", bool: str(value).lower()}
    return kinds.get(type(value), repr(value))


def read(path: Path, source: str = "") -> Document:
    """The document in a file. `source` is how messages call it. Raises InputError: unreadable, or no YAML."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{source or path}: cannot be read: {error.strerror}") from error
    return parse(data, source or str(path))


def parse(data: bytes, source: str) -> Document:
    """The document in `data`. Raises InputError with the line for what is no YAML; a duplicate key is a problem."""
    try:
        text = data.decode("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{source}:{line}: byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{source}:{line}: a control character; remove it") from error
    except yaml.MarkedYAMLError as error:
        raise InputError(_syntax(source, error)) from error
    if node is None:
        raise InputError(f"{source}:1: the file is empty; write `key: value` lines")
    walk = _Walk(source)
    value = walk.value(node, ())
    return Document(value, walk.places, tuple(walk.problems))


def _syntax(source: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    context = f" ({error.context})" if error.context else ""
    return f"{source}:{line}: no YAML: {error.problem}{context}; check indentation, colons and quotes"


@dataclass
class _Walk:
    """From YAML nodes to values, keeping lines, which yaml.load would lose (and duplicates, which it would hide)."""

    source: str
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _open: set[int] = field(default_factory=set)
    _scalars: Any = field(default_factory=lambda: yaml.SafeLoader(""))

    def value(self, node: yaml.Node, path: KeyPath, line: int = 0) -> Any:
        place = Place(self.source, line or node.start_mark.line + 1, ".".join(str(part) for part in path))
        self.places[path] = place
        if id(node) in self._open:
            self.problems.append(Problem(place, "an alias that contains itself; write the value out"))
            return None
        self._open.add(id(node))
        try:
            return self._any(node, path, place)
        finally:
            self._open.discard(id(node))

    def _any(self, node: yaml.Node, path: KeyPath, place: Place) -> Any:
        if not isinstance(node, yaml.ScalarNode) and node.tag.removeprefix(_YAML) not in ("map", "seq"):
            self.problems.append(Problem(place, f"the tag {node.tag} is not known here; remove it"))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.problems.append(
                Problem(place, f"{node.value!r} is no {node.tag.removeprefix(_YAML)}; write it in quotes")
            )
            return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            place = Place(self.source, line, ".".join(str(part) for part in (*path, key)))
            if key_node.tag != _YAML + "str":
                self.problems.append(Problem(place, "a key must be a word; put it in quotes if it is meant so"))
            elif key in result:
                first = self.places[(*path, key)].line
                self.problems.append(Problem(place, f"written twice, first in line {first}; keep one"))
            else:
                result[key] = self.value(value_node, (*path, key), line)
        return result
