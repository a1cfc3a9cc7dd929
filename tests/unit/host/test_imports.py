"""Everything that runs on a lab host can be imported there: run by tox on Python 3.9 with qemu.qmp and nothing else."""

from __future__ import annotations

import importlib
import typing

import pytest
from host_side import ROOT

from bench.host.__main__ import REQUESTS
from bench.wire.record import KINDS

MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for folder in ("bench/host", "bench/wire")
    for path in (ROOT / folder).glob("*.py")
    if path.stem != "__init__"
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_of_the_host_side_can_be_imported(module: str) -> None:
    assert importlib.import_module(module).__doc__


@pytest.mark.parametrize("kind", [*KINDS.values(), *REQUESTS.values()])
def test_the_hints_of_what_goes_over_the_wire_can_be_resolved(kind: type) -> None:
    assert typing.get_type_hints(kind)
