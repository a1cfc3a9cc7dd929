"""The guest image: an initramfs with this very Python, the workloads and an init. No disk, no network, no distribution.

Everything is taken from a run of the interpreter itself, so that the distribution's Python, a self-built one and
pyenv's all work: the modules are those that it really loaded, the shared libraries those that it really mapped. What
makes a boot quick: few modules, without docstrings and sources; libraries without symbols; no compression.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.controller import elf, interpreter
from bench.controller.programs import Found
from bench.errors import LabError, MissingError
from bench.wire import cpio

# -I: no environment, no user's site. -S: no site module. -B: nothing written.
_INIT = "#!/usr/bin/python{version} -ISB\nfrom workloads.agent import main\n\nmain()\n"
# Needed before devtmpfs is mounted. On a CPU without a random instruction the kernel has no entropy yet, and Python,
# which does not wait for it at its start, reads urandom.
_DEVICES = {"console": (5, 1), "null": (1, 3), "urandom": (1, 9)}
_BUILDERS = (__file__, elf.__file__, interpreter.__file__, cpio.__file__)


@dataclass(frozen=True)
class Part:
    """One file of the image made from one here. place: its name in the image.

    level: optimisation level of the bytecode that is made of a Python source; None for what is copied (ELF: stripped).
    """

    place: str
    source: str
    level: int | None = None


def build_image(cache: Path, programs: Mapping[str, Found] | None = None) -> Path:
    """The image for the running interpreter: a file in `cache`, named by the hash of all that goes into it.

    programs: what else is carried, by its name in /usr/bin.

    Built when it is not there yet. The same inputs give the same bytes, wherever they lie. Raises MissingError when the
    compiled parts of `workloads` are missing, LabError when this interpreter cannot be carried into a guest.
    """
    found = json.loads(_interpret("list", *_folders()))
    parts = _with_programs(image_parts(found), programs or {}, _library_folder(found))
    path = cache / f"guest-{_key(parts)}.cpio"
    if not path.exists():
        cpio.write_atomically(path, cpio.archive([*_frame(found), *_copied(parts), *_compiled(parts)]))
    return path


def image_parts(found: Mapping[str, Any]) -> list[Part]:
    """What of this machine goes where in the image, from what `interpreter.describe` found; ordered by place."""
    parts = {Part(_python(found), found["executable"])}
    extensions = {found["executable"]}
    for name, (file, is_package) in found["modules"].items():
        place = f"usr/{found['stdlib']}/" + name.replace(".", "/")
        if file.endswith(".py"):
            # Assertions of ours stay; the standard library loses its docstrings too, half of its size.
            level = 0 if name.partition(".")[0] == "workloads" else 2
            parts.add(Part(f"{place}/__init__.pyc" if is_package else f"{place}.pyc", file, level))
        else:
            extensions.add(str(Path(file).resolve()))
            parts.add(Part(f"{Path(place).parent}/{Path(file).name}", file))
    folder = _library_folder(found)
    for file in found["mapped"]:
        data = Path(file).read_bytes()
        if file not in extensions and elf.is_elf(data):
            parts.add(Part(f"{folder}/{elf.soname(data) or Path(file).name}", file))
    return sorted(parts, key=lambda part: part.place)


def _with_programs(parts: list[Part], programs: Mapping[str, Found], folder: str) -> list[Part]:
    """The parts of the interpreter, and those of the programs; they share the libraries that both need.

    Raises LabError where they need different files of one name.
    """
    by_place = {part.place: part for part in parts}
    for name, program in programs.items():
        wanted = {f"usr/bin/{name}": program.file}
        wanted |= {f"{folder}/{library}": file for library, file in program.libraries.items()}
        for place, file in wanted.items():
            there = by_place.setdefault(place, Part(place, str(file)))
            if Path(there.source).resolve() != file.resolve():
                reason = (
                    f"program {name} cannot be carried: it needs {file}, and the guest has {there.source} as {place}"
                )
                raise LabError("controller", reason)
    return sorted(by_place.values(), key=lambda part: part.place)


def _python(found: Mapping[str, Any]) -> str:
    return f"usr/bin/python{found['version']}"


def _library_folder(found: Mapping[str, Any]) -> str:
    """Where the loader itself really lies: that folder is among those which it searches without being told."""
    return str(Path(_loader(found)).resolve().parent).lstrip("/")


def _loader(found: Mapping[str, Any]) -> str:
    try:
        return elf.loader(Path(found["executable"]).read_bytes())
    except ValueError as error:
        raise LabError("controller", f"{found['executable']} cannot be carried into a guest: {error}") from error


def _frame(found: Mapping[str, Any]) -> list[cpio.Entry]:
    """What is in every image: init, mount points, devices, the loader by the name that programs call it by."""
    loader, folder = _loader(found), _library_folder(found)
    entries = [
        cpio.file("init", _INIT.format(version=found["version"]).encode(), executable=True),
        *(cpio.character_device(f"dev/{name}", *numbers) for name, numbers in _DEVICES.items()),
        *(cpio.folder(name) for name in ("proc", "sys", "tmp", f"usr/{found['stdlib']}/lib-dynload")),
    ]
    name = elf.soname(Path(loader).read_bytes()) or Path(loader).name
    if loader != f"/{folder}/{name}":
        entries.append(cpio.link(loader.lstrip("/"), f"/{folder}/{name}"))
    return entries


def _copied(parts: Sequence[Part]) -> list[cpio.Entry]:
    files = [(part.place, Path(part.source).read_bytes()) for part in parts if part.level is None]
    return [cpio.file(place, elf.strip(data) if elf.is_elf(data) else data, executable=True) for place, data in files]


def _compiled(parts: Sequence[Part]) -> list[cpio.Entry]:
    sources = [part for part in parts if part.level is not None]
    with tempfile.TemporaryDirectory(prefix="fpr-image-") as folder:
        targets = [f"{folder}/{number}.pyc" for number in range(len(sources))]
        work = [
            (part.source, f"/{part.place[:-1]}", target, part.level)
            for part, target in zip(sources, targets, strict=True)
        ]
        _interpret("compile", text=json.dumps(work))
        return [cpio.file(part.place, Path(target).read_bytes()) for part, target in zip(sources, targets, strict=True)]


def _key(parts: Sequence[Part]) -> str:
    digest = hashlib.sha256()
    own = [Part(Path(file).name, file) for file in _BUILDERS]
    for part in [*parts, *own]:
        content = hashlib.sha256(Path(part.source).read_bytes()).hexdigest()
        digest.update(f"{part.place}\n{part.level}\n{content}\n".encode())
    return digest.hexdigest()[:16]


def _folders() -> list[str]:
    """Where this process finds what is not of the standard library: the workloads and cffi's runtime."""
    folders = []
    for name in ("workloads", "_cffi_backend"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise MissingError(f"Python module {name} is not installed here", f"{sys.executable} -m pip install -e .")
        folder = Path(spec.origin).absolute().parent
        folders.append(str(folder.parent if spec.submodule_search_locations else folder))
    return folders


def _interpret(*arguments: str, text: str = "") -> str:
    """Output of interpreter.py, run by this Python without site, user's folders or environment."""
    environment = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
    environment["PYTHONHASHSEED"] = "0"
    command = [sys.executable, "-S", "-s", "-P", interpreter.__file__, *arguments]
    done = subprocess.run(command, check=False, input=text, text=True, capture_output=True, cwd="/", env=environment)
    if done.returncode and "No module named 'workloads." in done.stderr:
        raise MissingError(done.stderr.splitlines()[-1], f"{sys.executable} -m pip install -e .")
    if done.returncode:
        raise LabError("controller", "no guest image can be built", command, done.stderr.splitlines()[-8:])
    return done.stdout
