"""The JSON Schemas for editors: as generated, and of one opinion with the checks wherever one value tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bench.controller.inventory import Host, hosts_text, load_inventory
from bench.controller.plan import dump_plan, load_plan, resolve, shipped_plans
from bench.controller.schema import FOLDER, schemas
from bench.controller.yamlfile import parse
from bench.errors import InputError
from bench.wire.units import GIB

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden"
HOSTS, PLAN = "hosts.schema.json", "plan.schema.json"
# What no schema can see: what is no YAML, what two values say together, and what is on a machine.
BEYOND_A_SCHEMA = {
    HOSTS: {
        "defaults-for-ssh-without-a-remote-host", "duplicate-key", "empty", "not-utf-8", "overlap", "syntax",
        "two-hosts-with-one-name",
    },
    PLAN: {
        "against", "duplicate-key", "empty", "give-in-a-small-guest", "guest-larger-than-host", "only-comments",
        "parameters-against-each-other", "shipped-name-other-content", "syntax", "tab", "two-arms-alike",
        "two-workloads-alike", "unknown-reference", "workload-larger-than-guest",
    },
}  # fmt: skip


def loaded(schema: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(schemas()[schema])
    return found


def wrong(schema: str, text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(loaded(schema))
    return [error.message for error in validator.iter_errors(parse(text.encode(), "f.yaml").value)]


@pytest.mark.parametrize("name", [HOSTS, PLAN])
def test_the_shipped_schema_is_what_the_models_give(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == schemas()[name], "run: python -m bench.controller.schema"
    jsonschema.Draft202012Validator.check_schema(loaded(name))


PLANS = (*(ROOT / "bench/plans").glob("*.yaml"), *(ROOT / "benchmarks").glob("*.yaml"))


def test_each_shipped_file_names_its_schema_for_editors() -> None:
    for file in (ROOT / "hosts.yaml", *PLANS):
        words, _, named = file.read_text().splitlines()[0].partition("=")
        assert words == "# yaml-language-server: $schema"
        assert (file.parent / named).resolve().parent == FOLDER
        assert Path(named).name == (HOSTS if file.name == "hosts.yaml" else PLAN)


def test_the_shipped_and_the_good_files_fit_their_schemas() -> None:
    assert wrong(HOSTS, (ROOT / "hosts.yaml").read_text()) == []
    assert wrong(HOSTS, (GOLDEN / "good/hosts.yaml").read_text()) == []
    for file in (*PLANS, GOLDEN / "good/plan.yaml"):
        assert wrong(PLAN, file.read_text()) == [], file


def test_the_good_files_are_good() -> None:
    assert load_inventory(GOLDEN / "good/hosts.yaml").hosts
    for accel in ("tcg", "kvm"):
        assert resolve(load_plan(str(GOLDEN / "good/plan.yaml")), accel).seed == 7


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_plan_that_is_run_by_hand_can_be_run(file: Path) -> None:
    for accel in ("tcg", "kvm"):
        assert resolve(load_plan(str(file)), accel).cells


def test_what_a_run_writes_fits_too() -> None:
    hosts = (Host("a", guest_cpus=(1, 2), memory_bytes=GIB), *load_inventory(GOLDEN / "good/hosts.yaml").hosts[1:])
    assert wrong(HOSTS, hosts_text(hosts)) == []
    for name in (*shipped_plans(), str(GOLDEN / "good/plan.yaml")):
        for accel in ("tcg", "kvm"):
            assert wrong(PLAN, dump_plan(resolve(load_plan(name), accel))) == []


def seen(kind: str, file: Path) -> bool:
    """Whether the schema alone shows that the file is wrong. What is no YAML never reaches a schema."""
    try:
        return wrong(kind, file.read_text(encoding="utf-8")) != []
    except (InputError, UnicodeDecodeError):
        return False


@pytest.mark.parametrize(("kind", "folder"), [(HOSTS, "hosts"), (PLAN, "plans")])
def test_a_wrong_file_is_seen_by_the_schema_unless_no_schema_could(kind: str, folder: str) -> None:
    files = sorted((GOLDEN / folder).glob("*.yaml"))
    assert {file.stem for file in files if not seen(kind, file)} == BEYOND_A_SCHEMA[kind]
