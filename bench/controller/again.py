"""`same_as:` of an arm: another arm of the plan once more, to see how far two boots of one thing are apart (A/A)."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.controller.yamlfile import Document, Problem, valid_names
from bench.wire.job import Arm

KEYS = ("name", "same_as")


def is_again(entry: Any) -> bool:
    """Whether an entry of `arms:` repeats another one."""
    return isinstance(entry, dict) and bool(entry.get("same_as"))


def repeated(document: Document, arms: dict[int, Arm]) -> tuple[dict[int, Arm], list[Problem]]:
    """`arms` (by their place in the plan) with those that repeat one of them, and what is wrong with these."""
    entries = document.value["arms"]
    by_name = {arm.name: arm for arm in arms.values()}
    found, problems = dict(arms), []
    for index, entry in enumerate(entries):
        if not is_again(entry):
            continue
        others = [key for key in entry if key not in KEYS]
        problems += [
            document.problem(("arms", index, key), "an arm with same_as has nothing of its own; remove it")
            for key in others
        ]
        if entry["same_as"] in by_name:
            found[index] = dataclasses.replace(by_name[entry["same_as"]], name=str(entry.get("name")))
        else:
            given = str(entry["same_as"])
            wrong = f"{given!r} is no other arm of this plan; {valid_names(given, list(by_name))}"
            problems.append(document.problem(("arms", index, "same_as"), wrong))
    return dict(sorted(found.items())), problems


def read_same(document: Document) -> dict[str, str]:
    """Arm -> the one that it repeats, of a plan whose arms are right."""
    return {str(entry["name"]): str(entry["same_as"]) for entry in document.value["arms"] if is_again(entry)}
