"""The shared libraries that a program needs, found as the dynamic loader finds them (ld.so(8)), without running it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from bench.controller import elf

_CACHED = re.compile(r"^\s*(\S+) \(([^)]*)\) => (\S+)$")
# Opened by glibc itself, without being asked for in any file: pthread_cancel(3) and pthread_exit(3) unwind with it.
_ASKED_LATE = {"libc.so.6": "libgcc_s.so.1"}
_KIND = {62: "x86-64", 183: "AArch64"}  # e_machine -> how ldconfig names 64 bit libraries of it


class MissingLibraryError(Exception):
    """A library that a program needs was not found; the text says whose and which."""


def closure(program: Path) -> dict[str, Path]:
    """Name by which it is asked for -> file, of every library that `program` needs, the loader included.

    {} for one that is linked statically. Raises MissingLibraryError, and ValueError for what is no ELF file.
    """
    data = program.read_bytes()
    found: dict[str, Path] = {}
    known = cached(_ldconfig(), elf.machine(data))
    todo = [(program, data, elf.search_path(data))]
    while todo:
        file, data, folders = todo.pop()
        here = [folder.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", str(file.parent)) for folder in folders]
        names = elf.needed(data)
        names += [late for asking, late in _ASKED_LATE.items() if asking in names and late in known]
        for name in names:
            if name not in found:
                found[name] = library = _find(name, here, known, file)
                content = library.read_bytes()
                todo.append((library, content, elf.search_path(content) or folders))
    return found


def cached(text: str, machine: int) -> dict[str, Path]:
    """Name -> file from the output of `ldconfig -p`, for such a machine; the first entry of a name counts."""
    found: dict[str, Path] = {}
    for line in text.splitlines():
        match = _CACHED.match(line)
        if match and _KIND.get(machine, "") in match[2].split(","):
            found.setdefault(match[1], Path(match[3]))
    return found


def _find(name: str, folders: Sequence[str], known: Mapping[str, Path], asking: Path) -> Path:
    if "/" in name:
        candidates = [Path(name)]
    else:
        candidates = [Path(folder) / name for folder in folders]
        candidates += [known[name]] if name in known else []
        candidates += [Path(folder) / name for folder in ("/lib64", "/usr/lib64", "/lib", "/usr/lib")]
    for path in candidates:
        if path.is_file():
            return path
    raise MissingLibraryError(f"{asking} needs {name}, which is not on this machine")


@cache
def _ldconfig() -> str:
    """The loader's cache as text; "" where there is no ldconfig (musl)."""
    for program in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
        if Path(program).exists():
            return subprocess.run(
                [program, "-p"], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
            ).stdout
    return ""
