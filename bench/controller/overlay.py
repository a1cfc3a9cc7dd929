"""One document laid over another: a plan's variant, `--set KEY=VALUE`, the defaults of hosts.yaml.

Mappings are merged key by key. A mapping over a list changes entries, named by number or by their name. Everything
else replaces what was there. Every value keeps the place where it was written, so a later problem names the right line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from bench.controller.yamlfile import Document, KeyPath, Place, Problem, valid_names
from bench.errors import InputError

_NAMES = ("name", "workload")


def overlay(below: Document, above: Document) -> Document:
    """`below` with everything that `above` says. Problems of both, and of names that `below` does not have."""
    merge = _Merge(above, dict(below.places), [*below.problems, *above.problems])
    return Document(merge.merge(below.value, above.value, (), ()), merge.places, tuple(merge.problems))


def from_option(option: str, setting: str) -> Document:
    """The document of `--set KEY.KEY=VALUE`, VALUE read as YAML. Raises InputError naming the option."""
    dotted, equals, text = setting.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"{option} {setting}: no setting; write KEY=VALUE, as in {option} guest.memory=1G")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{option} {dotted}: {text!r} is no YAML value; put it in quotes") from error
    for key in reversed(keys):
        value = {key: value}
    places: dict[KeyPath, Place] = {
        tuple(keys[:size]): Place(f"{option} {dotted}", 0) for size in range(1, len(keys) + 1)
    }
    return Document(value, places)


@dataclass
class _Merge:
    above: Document
    places: dict[KeyPath, Place]
    problems: list[Problem]

    def merge(self, old: Any, new: Any, path: KeyPath, source: KeyPath) -> Any:
        if not isinstance(new, dict) or not isinstance(old, (dict, list)):
            return self._put(new, path, source)
        result = dict(old) if isinstance(old, dict) else list(old)
        for key, value in new.items():
            index: Any = key if isinstance(old, dict) else self._index(old, key, (*source, key))
            if isinstance(old, dict) and key not in old:
                result[index] = self._put(value, (*path, key), (*source, key))
            elif index is not None:
                result[index] = self.merge(old[index], value, (*path, index), (*source, key))
        return result

    def _put(self, value: Any, path: KeyPath, source: KeyPath) -> Any:
        for known in [known for known in self.places if path and known[: len(path)] == path]:
            del self.places[known]
        for known, place in self.above.sub(source).places.items():
            self.places[(*path, *known)] = place
        return value

    def _index(self, entries: list[Any], key: str, source: KeyPath) -> int | None:
        for index, entry in enumerate(entries):
            if key == str(index) or (isinstance(entry, dict) and key == _name(entry)):
                return index
        names = [_name(entry) if isinstance(entry, dict) else str(index) for index, entry in enumerate(entries)]
        self.problems.append(self.above.problem(source, f"no entry {key!r}; {valid_names(key, names)}"))
        return None


def _name(entry: dict[str, Any]) -> str:
    return next((str(entry[key]) for key in _NAMES if key in entry), "?")
