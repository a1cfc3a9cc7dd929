"""Programs of this machine that a plan wants in its guests (`programs:`): found, with what they need, and named."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from bench.controller.libraries import MissingLibraryError, closure
from bench.controller.quantities import Name
from bench.controller.yamlfile import Document, KeyPath, Problem, Strict, check


class ProgramModel(Strict):
    """One entry of `programs:` that is more than a name."""

    name: Name = Field(description="what the program is called in the guest, as in redis-server")
    path: str = Field(
        default="",
        min_length=1,
        validate_default=False,
        description="where it is here, or its name on PATH, as in /usr/bin/xz",
    )


@dataclass(frozen=True)
class Program:
    """name: in the guest's /usr/bin. path: a file here, or a name to be looked for on PATH."""

    name: str
    path: str


@dataclass(frozen=True)
class Found:
    """A program that is here: its file (links followed) and its libraries, name -> file."""

    file: Path
    libraries: Mapping[str, Path]


class NoProgramError(Exception):
    """A program that a plan wants is not on this machine, or cannot be carried. program: which."""

    def __init__(self, program: Program, reason: str) -> None:
        super().__init__(reason)
        self.program = program


def read_programs(document: Document) -> tuple[tuple[Program, ...], list[Problem]]:
    """The entries of `programs:`, and everything that is wrong with their form."""
    entries = document.value.get("programs")
    found: list[Program] = []
    problems: list[Problem] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        path: KeyPath = ("programs", index)
        if isinstance(entry, str) and entry:
            program = Program(entry.rpartition("/")[2], entry)
        else:
            model, wrong = check(document, ProgramModel, path)
            problems += wrong
            if model is None:
                continue
            program = Program(model.name, model.path or model.name)
        if any(program.name == other.name for other in found):
            problems.append(document.problem(path, f"two programs are called {program.name!r}; remove one"))
        found.append(program)
    return tuple(found), problems


def program_entry(program: Program) -> dict[str, Any]:
    """The program as an entry of a plan."""
    return {"name": program.name, "path": program.path}


def find(programs: Sequence[Program]) -> dict[str, Found]:
    """Name -> what is carried. Raises NoProgramError for the first that is not here."""
    found = {}
    for program in programs:
        here = shutil.which(program.path)
        if here is None:
            raise NoProgramError(program, f"no program {program.path} here")
        file = Path(here).resolve()
        try:
            found[program.name] = Found(file, closure(file))
        except (OSError, ValueError, MissingLibraryError) as error:
            raise NoProgramError(program, f"{file} cannot be carried into a guest: {error}") from error
    return found


def digests(found: Mapping[str, Found]) -> dict[str, dict[str, str]]:
    """Name -> path and sha256 of the program's file, for a run's provenance."""
    return {
        name: {"path": str(item.file), "sha256": hashlib.sha256(item.file.read_bytes()).hexdigest()}
        for name, item in found.items()
    }
