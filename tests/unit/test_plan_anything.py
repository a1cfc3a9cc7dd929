"""Whatever stands in a file, the answer is a plan, an inventory or an InputError with a line: never a traceback."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.controller.inventory import load_inventory
from bench.controller.plan import load_plan, resolve
from bench.errors import InputError

PLAN: dict[str, Any] = {
    "name": "mine",
    "reference": "none",
    "arms": [
        "none",
        {"name": "odd", "like": "reporting", "kernel_args": ["a"], "reporting_order": 0},
        {"name": "again", "same_as": "odd"},
    ],
    "workloads": ["cycle", {"workload": "cycle", "name": "b", "touch": "10%", "sentinel": "64M", "thp": "never"}],
    "blocks": 3,
    "guest": {"memory": "1G", "vcpus": 1, "machine": "q35"},
    "metrics": {"residual_bytes": {"margin": "5%"}, "qemu_cpu_s": {"margin": 1}},
    "parallel": 5,
    "tune": ["governor", "smt"],
    "quiet": {"busy": "5%", "load": 0.5, "pressure": None, "swap": 0, "deadline_s": 5},
    "swap": {"file": "1G"},
    "change": {"base": {"kernel": "/k", "modules": "/m"}, "head": {"qemu": "/q", "kernel_args": ["a"]}},
    "variants": {
        "lab": {
            "blocks": 5,
            "quiet": {"busy": 0.1},
            "tune": True,
            "workloads": {"b": {"touch": "20%"}},
            "arms": {"0": "idle-balloon"},
        }
    },
}
HOSTS: dict[str, Any] = {
    "defaults": {"accel": "tcg", "memory": "8G", "user": "me", "sampler_cpus": 0},
    "hosts": [
        {"name": "a", "guest_cpus": "1-2", "numa_node": 0, "scratch": "~/x", "tags": ["a", "b"], "become": "sudo"},
        {"name": "b", "kernel": "/k", "address": "local", "python": "python3"},
        {"name": "c", "address": "lab-1", "port": 22, "identity": "~/.ssh/id", "gateway": "me@gate:22"},
    ],
}
WORDS = st.sampled_from(["none", "cycle", "reporting", "name", "5%", "-1", "0", "a.b", "", "1e400", "9" * 400])
LEAVES = st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=5,
)


def paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(below for key, value in entries for below in paths(value, (*path, key)))]


def replaced(tree: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    whole = copy.deepcopy(tree)
    part = whole
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = junk
    return whole


def answer(tree: Any, load: Callable[[Path], object]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "file.yaml"
        file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
        try:
            load(file)
        except InputError as error:
            lines = str(error).replace(folder, "").split("\n/file.yaml:")
        else:
            lines = []
    assert all(re.match(r"(/file\.yaml:)?\d+: ", line) for line in lines), lines


@settings(max_examples=150)
@given(st.sampled_from(paths(PLAN)), JUNK)
def test_a_plan_with_anything_in_any_place_is_read_or_refused_with_a_line(path: tuple[Any, ...], junk: Any) -> None:
    answer(replaced(PLAN, path, junk), lambda file: [resolve(load_plan(str(file)), accel) for accel in ("tcg", "kvm")])


@settings(max_examples=100)
@given(st.sampled_from(paths(HOSTS)), JUNK)
def test_an_inventory_with_anything_in_any_place_is_read_or_refused_with_a_line(
    path: tuple[Any, ...], junk: Any
) -> None:
    answer(replaced(HOSTS, path, junk), load_inventory)
