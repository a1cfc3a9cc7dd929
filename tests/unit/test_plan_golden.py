"""Each file of tests/golden/{plans,hosts} is wrong; the .txt beside it is what the user reads.

To renew them after a change of wording: BENCH_RENEW_GOLDEN=1 pytest tests/unit/test_plan_golden.py, then read the diff.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bench.controller.inventory import Host, load_inventory
from bench.controller.plan import check_memory, load_plan, resolve
from bench.errors import InputError
from bench.wire.units import GIB

GOLDEN = Path(__file__).parents[1] / "golden"
PLANS = sorted((GOLDEN / "plans").glob("*.yaml"))
HOSTS = sorted((GOLDEN / "hosts").glob("*.yaml"))


def message_of_plan(name: str) -> str:
    with pytest.raises(InputError) as caught:
        check_memory(resolve(load_plan(name), "tcg"), Host("local"), available_bytes=24 * GIB)
    return f"{caught.value}\n"


def message_of_hosts(name: str) -> str:
    with pytest.raises(InputError) as caught:
        load_inventory(Path(name))
    return f"{caught.value}\n"


def compare(file: Path, message: str) -> None:
    golden = file.with_suffix(".txt")
    if os.environ.get("BENCH_RENEW_GOLDEN"):
        golden.write_text(message)
    assert message == golden.read_text()


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_a_wrong_plan_is_refused_in_these_words(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    compare(file, message_of_plan(file.name))


@pytest.mark.parametrize("file", HOSTS, ids=lambda file: file.stem)
def test_a_wrong_inventory_is_refused_in_these_words(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    compare(file, message_of_hosts(file.name))


@pytest.mark.parametrize("golden", [file.with_suffix(".txt") for file in PLANS + HOSTS], ids=lambda file: file.stem)
def test_every_line_of_a_message_names_file_and_line_in_order(golden: Path) -> None:
    numbers = []
    for line in golden.read_text().splitlines():
        place = re.match(rf"{golden.stem}\.yaml:(\d+): \S", line)
        assert place, line
        numbers.append(int(place.group(1)))
    assert numbers == sorted(numbers)


def test_there_is_a_golden_file_for_every_kind_of_mistake() -> None:
    plans, hosts = {file.stem for file in PLANS}, {file.stem for file in HOSTS}
    both = {"unknown-key", "duplicate-key", "wrong-type", "empty", "syntax"}
    assert both <= plans
    assert both <= hosts
    assert {
        "guest-larger-than-host",
        "unknown-arm",
        "unknown-workload",
        "unknown-metric",
        "share-out-of-range",
    } <= plans
    assert {"tune", "quiet", "pushed-kernel-that-is-not-there"} <= plans
    assert {"two-hosts-with-one-name", "secret", "overlap", "local-with-user", "bad-fingerprint"} <= hosts
