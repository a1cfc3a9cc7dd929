"""A program of its own, run in a bare interpreter: which files the guest's Python needs, and their bytecode.

`interpreter.py list FOLDER…` imports what the agent imports, with FOLDER… at the end of sys.path, and prints one JSON
object (see `describe`). `interpreter.py compile` reads [source, its name in the guest, target, optimisation] lists as
JSON from stdin and writes the targets.

A fresh process with a fixed hash seed is what makes bytecode reproducible: marshal notes which objects are referenced
more than once, and that depends on everything else that happened in the process. What this file imports to list modules
gets into the image, hence so little.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any

# What the agent imports now or late: memtouch, the console's codecs, tracebacks; json in case _json has changed.
WANTED = (
    "workloads.agent",
    "workloads.beside",
    "workloads.memtouch",
    "workloads.notify",
    "workloads.policy",
    "workloads.programs",
    "workloads.witness",
    "workloads._libc",
    "encodings.ascii",
    "encodings.latin_1",
    "encodings.utf_8",
    "json",
    "resource",
    "socket",
    "traceback",
)


def describe() -> dict[str, Any]:
    """The closure of WANTED in this process.

    modules: name -> [file, whether it is a package]. mapped: the files in this process's memory map,
    by their real path. stdlib: the folder of the standard library, relative to the interpreter's prefix.
    """
    for name in WANTED:
        import_module(name)
    modules = {}
    for name in sys.modules:
        spec = _file_spec(name)
        if spec and spec.origin and spec.has_location:
            is_package = spec.submodule_search_locations is not None
            modules[name] = [os.path.abspath(spec.origin), is_package]  # noqa: PTH100
    with open("/proc/self/maps") as maps:
        mapped = {line.split(maxsplit=5)[5].rstrip("\n") for line in maps if " /" in line}
    return {
        "modules": modules,
        "mapped": sorted(path for path in mapped if os.path.isfile(path)),  # noqa: PTH113
        "executable": os.path.realpath(sys.executable),
        "stdlib": os.path.relpath(f"{os.path.realpath(os.__file__)}/..", os.path.realpath(sys.base_prefix)),
        "version": f"{sys.version_info[0]}.{sys.version_info[1]}",
    }


def _file_spec(name: str) -> ModuleSpec | None:
    """Where the guest's Python will find a module. Its own word is no answer: collections.abc puts another module in
    its place, and os.path is no file at all.
    """
    parent = name.rpartition(".")[0]
    path = getattr(sys.modules.get(parent), "__path__", ()) if parent else None
    return PathFinder.find_spec(name, path)


def compile_all(work: list[tuple[str, str, str, int]]) -> None:
    """Writes the bytecode of each source; without its time, so that it depends on its content alone."""
    import py_compile

    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for source, name, target, level in work:
        py_compile.compile(source, target, name, doraise=True, optimize=level, invalidation_mode=mode)


if __name__ == "__main__":
    if sys.argv[1] == "compile":
        compile_all(json.load(sys.stdin))
    else:
        sys.path += sys.argv[2:]
        print(json.dumps(describe()))
