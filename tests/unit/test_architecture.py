"""Which part may import which, checked over every file; and how large a file and a function may be.

The table is the drawing in docs/architecture.md: jobs go down, records come up, and each place knows its own folder
and the vocabulary only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("bench", "workloads", "reports")
CHECKERS = {"pydantic", "pydantic_core", "yaml", "pyperf", "rich"}  # files checked, results written, terminal
NUMBERS = {"numpy", "scipy", "pandas"}
PAGES = {"jinja2", "matplotlib", "seaborn", "markupsafe"}

# Folder or file -> what of this project, and what of others, it may import besides the standard library. The longest
# entry that fits a file counts. A name allows everything below it.
ALLOWED = {
    "bench/__init__.py": set(),
    "bench/errors.py": set(),
    "bench/wire": {"bench.wire"},
    "bench/host": {"bench.host", "bench.wire", "bench.errors"},
    "bench/host/policy": {"bench.host", "bench.wire"},
    "bench/host/qmp.py": {"bench.host", "bench.wire", "bench.errors", "qemu.qmp"},
    # These catch the library's errors.
    "bench/host/boot.py": {"bench.host", "bench.wire", "bench.errors", "qemu.qmp.error"},
    "bench/host/runner.py": {"bench.host", "bench.wire", "bench.errors", "qemu.qmp.error"},
    "bench/host/migrate.py": {"bench.host", "bench.wire", "bench.errors", "qemu.qmp.error"},
    "bench/analysis": {"bench.analysis", "bench.wire", *NUMBERS},
    "bench/controller": {
        "bench.controller",
        "bench.analysis",
        "bench.wire",
        "bench.errors",
        "workloads.catalog",
        "workloads.shape",
        "workloads.cycle",
        *CHECKERS,
    },
    "bench/controller/fleet.py": {"bench.controller", "bench.wire", "bench.errors", "fabric", "paramiko"},
    "bench/controller/login.py": {"bench.controller", "bench.errors", "paramiko"},
    "bench/controller/sshchannel.py": {"bench.controller", "bench.errors", "paramiko"},
    "bench/controller/hostkeys.py": {"bench.controller", "bench.errors", "paramiko"},
    # Sends the receiver's source, and starts it.
    "bench/controller/push.py": {"bench.controller", "bench.wire", "bench.errors", "bench.host.receive"},
    # Packs modules here as the host side packs them there.
    "bench/controller/cargo.py": {"bench.controller", "bench.wire", "bench.errors", "bench.host.initrd"},
    # The composition root.
    "bench/__main__.py": {"bench.cli"},
    "bench/cli.py": {"bench", "workloads", "click"},
    "bench/command_line": {"bench", "click"},
    "bench/commands": {"bench", "workloads", "reports", "click", "rich"},
    "workloads": {"workloads"},
    "workloads/build_libc.py": {"cffi"},
    "workloads/memtouch/build.py": {"cffi"},
    "workloads/memtouch/cli.py": {"workloads", "click"},
    "reports": {"reports", "bench.analysis", "bench.wire", "bench.errors", *NUMBERS, *PAGES},
}
# module -> why it may be longer than MODULE_LINES
LONG_MODULES: dict[str, str] = {}
# module:function -> why it may be longer than FUNCTION_LINES
LONG_FUNCTIONS: dict[str, str] = {}
MODULE_LINES, FUNCTION_LINES = 300, 40
# Runs on a lab host, perhaps with Python 3.9.
OLD_PYTHON = ("bench/host", "bench/wire", "bench/errors.py", "bench/__init__.py")


def files() -> list[str]:
    return sorted(
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def on_old_python() -> list[str]:
    return [name for name in files() if name.startswith(OLD_PYTHON)]


def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(), name)


def module_name(name: str) -> str:
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(name: str) -> set[str]:
    """Full dotted names of what a file imports, wherever in it; `from a import b` is a.b."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def allowed(name: str) -> set[str]:
    fitting = [entry for entry in ALLOWED if name == entry or name.startswith(entry + "/")]
    assert fitting, f"{name}: no entry in the table says what it may import"
    return ALLOWED[max(fitting, key=len)]


def within(imported: str, names: set[str]) -> bool:
    return any(imported == name or imported.startswith(name + ".") for name in names)


def forbidden(name: str) -> list[str]:
    return sorted(
        imported
        for imported in imports(name)
        if imported.split(".")[0] not in sys.stdlib_module_names and not within(imported, allowed(name))
    )


@pytest.mark.parametrize("name", files())
def test_a_file_imports_what_its_folder_may(name: str) -> None:
    assert forbidden(name) == []


def test_every_entry_of_the_table_is_in_use() -> None:
    assert [entry for entry in ALLOWED if not (ROOT / entry).exists()] == []


def test_only_the_fleet_imports_fabric() -> None:
    users = [name for name in files() if within_any(imports(name), "fabric")]
    assert users == ["bench/controller/fleet.py"]


def within_any(names: set[str], root: str) -> bool:
    return any(within(name, {root}) for name in names)


def test_the_guest_knows_nothing_of_the_suite() -> None:
    users = [name for name in files() if name.startswith("workloads/") and within_any(imports(name), "bench")]
    assert users == []


def test_only_the_command_line_ends_the_process() -> None:
    """`sys.exit` in a library would turn an error into a silent end."""
    allowed_to = {"bench/cli.py", "bench/__main__.py", "bench/host/__main__.py"}
    found = {
        name
        for name in files()
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"sys.exit", "exit", "quit"}
        if not guarded(name, node)
    }
    assert found <= allowed_to


def guarded(name: str, call: ast.Call) -> bool:
    """Whether the call stands under `if __name__ == "__main__":`."""
    return any(
        isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        for node in tree(name).body
        if node.lineno <= call.lineno <= (node.end_lineno or 0)
    )


def project_imports(name: str, known: dict[str, str]) -> Iterator[str]:
    """Files of the project that this one imports."""
    for imported in imports(name):
        for candidate in (imported, imported.rpartition(".")[0]):
            if candidate in known and known[candidate] != name:
                yield known[candidate]
                break


def test_no_files_import_each_other_in_a_circle() -> None:
    known = {module_name(name): name for name in files()}
    edges = {name: sorted(project_imports(name, known)) for name in files()}
    while True:
        free = {name for name, targets in edges.items() if not any(target in edges for target in targets)}
        if not free:
            break
        edges = {name: targets for name, targets in edges.items() if name not in free}
    assert edges == {}, "these files, or some of them, form a circle"


@pytest.mark.parametrize("name", on_old_python())
def test_what_runs_on_a_lab_host_is_python_3_9(name: str) -> None:
    source = (ROOT / name).read_text()
    ast.parse(source, name, feature_version=(3, 9))
    if len(source.splitlines()) > 1:  # an __init__.py may hold its docstring only
        assert "from __future__ import annotations" in source


@pytest.mark.parametrize("name", [name for name in files() if name.startswith("bench/wire/")])
def test_fields_of_the_wire_have_hints_that_python_3_9_can_resolve(name: str) -> None:
    """typing.get_type_hints evaluates them there, and `X | None` is no expression yet."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ClassDef):
            hints = [item.annotation for item in node.body if isinstance(item, ast.AnnAssign)]
            assert [ast.unparse(hint) for hint in hints if "|" in ast.unparse(hint)] == []


def test_modules_are_short_enough_to_read() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in files()}
    long = {name: length for name, length in lengths.items() if length > MODULE_LINES}
    assert set(long) == set(LONG_MODULES), long


def test_functions_are_short_enough_to_read() -> None:
    lengths = {
        f"{name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name in files()
        for node in ast.walk(tree(name))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    long = {name: length for name, length in lengths.items() if length > FUNCTION_LINES}
    assert set(long) == set(LONG_FUNCTIONS), long
