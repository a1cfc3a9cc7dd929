"""The page of a run on several hosts: all of them combined, and how each fared."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_reader import Reader, check_sound, rendered
from synthetic_run import LAB, REFUSED, Boot, edit_json, setting, write_event, write_run

from reports.combined import Forest, Line, combined
from reports.forest import forest
from reports.lab import Lab, LabHost, lab
from reports.load import read_run
from reports.page import render
from reports.tuned import NOT_RESTORED

PUBLISHED = Path(__file__).parents[2] / "reports/published/quick-emulated"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hosts, the last of them lost after its first block."""
    return write_run(tmp_path_factory.mktemp("run") / "three", LAB)


@pytest.fixture(scope="module")
def page(three: Path) -> Reader:
    return rendered(three)


@pytest.fixture
def bare(three: Path, tmp_path: Path) -> Path:
    """A copy of that run without events, and so with hosts that nothing is known of."""
    copy = tmp_path / "copy"
    shutil.copytree(three, copy)
    (copy / "events.jsonl").unlink()
    return copy


def told(run: Path) -> Lab:
    found = lab(read_run(run))
    assert found is not None
    return found


def host(run: Path, name: str = "lab-1") -> LabHost:
    return next(item for item in told(run).hosts if item.name == name)


def change_boots(run: Path, change: Callable[[Boot], Boot]) -> None:
    path = run / "boots.jsonl"
    lines = [json.dumps(change(json.loads(line))) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def test_the_binaries_that_ran_are_shown_with_their_digests_arm_by_arm(bare: Path) -> None:
    assert "QEMU and kernels" not in rendered(bare).text

    def ran(boot: Boot) -> Boot:
        kernel = f"/boot/{boot['arm']}"
        files = {"qemu": "/q", "qemu_sha256": "0a" * 32, "kernel": kernel, "kernel_sha256": None}
        return {**boot, "files": files}

    change_boots(bare, ran)
    text = rendered(bare).text
    assert "guest kernel /boot/none /boot/reporting" in text
    assert f"its sha256 {'0a' * 32}" in text
    assert "the kernel's sha256 not there" in text


def test_all_hosts_come_first_and_then_each_of_them(page: Reader) -> None:
    places = [page.text.index(words) for words in ("Effects at a glance", "Without lab-3", "Metric by metric Workload")]
    assert places == sorted(places)
    assert "workload cycle, 2 of 3 hosts: lab-1, lab-2" in page.text
    assert "Without lab-3 : 1 of at least 3 complete blocks." in page.text
    assert page.text.count("workload cycle, host lab-") == 3


def test_the_verdict_and_the_key_figures_are_those_of_all_hosts(three: Path, page: Reader) -> None:
    sentence = json.loads((three / "analysis.json").read_text())["verdict"]["text"]
    assert "on 2 hosts (95 % interval" in sentence
    assert sentence in page.text
    assert page.text.count("medians of 2 hosts") == 4


def test_every_combined_metric_has_a_row_with_the_effect_on_each_host(three: Path, page: Reader) -> None:
    (pair,) = combined(read_run(three))
    rows = [row for _, rows in pair.groups for row in rows]
    assert {"residual_bytes", "refault_p99_s"} <= {row.metric for row in rows}
    assert "t90_s" not in {row.metric for row in rows}, "no host has it in both arms"
    for row in rows:
        assert f"Host lab-1 lab-2 Effect {row.per_host[0][1]} {row.per_host[1][1]}" in page.text
        assert row.details in page.text
        assert "6 blocks of 2 hosts" in row.details


def test_hosts_that_differ_say_so_instead_of_an_effect(bare: Path) -> None:
    def differ(data: dict[str, Any]) -> None:
        row = next(row for row in data["combined"][0]["metrics"] if row["metric"] == "residual_bytes")
        row |= {"effect": None, "low": None, "high": None, "verdict": "undecided", "differ": ["lab-1", "lab-2"]}
        row["why"] = "the hosts differ: ×0.2 on lab-1 and ×0.5 on lab-2"

    edit_json(bare / "analysis.json", differ)
    found = rendered(bare)
    assert "hosts differ – 2 6 ? undecided" in found.text
    assert "the hosts differ: ×0.2 on lab-1 and ×0.5 on lab-2" in found.text
    assert "all hosts ×" not in found.text


def test_the_forest_shows_the_plans_first_metric_on_each_host_and_on_all(three: Path, page: Reader) -> None:
    shown = combined(read_run(three))[0].forest
    assert shown is not None
    assert shown.metric == "residual_bytes"
    assert [line.host for line in shown.lines] == ["lab-1", "lab-2", ""]
    said = "; ".join(f"{line.host or 'all hosts'} {line.text}" for line in shown.lines)
    assert f"{said}." in page.texts


@pytest.mark.drawn
@pytest.mark.parametrize(
    "lines",
    [
        (Line("a", 1.0, 1.0, 1.0, "×1"), Line("b", 1.0, 1.0, 1.0, "×1")),
        (Line("a", 0.2, None, None, "×0.2"), Line("b", None, None, None, "–")),
        (Line("a", 0.2, 1e-9, 1e300, "×0.2"), Line("b", 0.3, 0.29, 0.31, "×0.3"), Line("", 0.3, 0.29, 0.31, "×0.3")),
    ],
)
def test_a_forest_is_drawn_of_any_intervals(lines: tuple[Line, ...]) -> None:
    for kind, none in (("ratio", 1.0), ("difference", 0.0)):
        found = forest("f", Forest("m", "Some metric", kind, "byte", none, False, lines), 1)
        assert found.markup.count("<svg") == 2
        assert "nan" not in found.markup


def test_the_state_of_each_host_is_shown(page: Reader) -> None:
    assert "lab-1 complete 6 of 6 lab-2 complete 6 of 6 lab-3 lost the connection was lost" in page.text
    assert "could not be reached again; 4 boots unfinished 2 of 6" in page.text
    assert "ssh: No route to host" in page.text
    assert "The connection was lost and tried again once; the last time: no answer in 15 s." in page.text


def test_the_facts_of_the_hosts_are_shown_and_their_addresses_are_not(three: Path, page: Reader) -> None:
    for words in (
        "guest kernel 6.1.0-56-cloud-amd64",
        "memory free for guests 7 GiB",
        "KVM not usable: /dev/kvm is not",
    ):
        assert words in page.text
    assert "secret.example" not in (three / "report.html").read_text(encoding="utf-8")


def test_settings_are_shown_before_during_and_after(page: Reader) -> None:
    governor = "governor /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor powersave performance"
    assert page.text.count(f"{governor} powersave (restored)") == 2
    assert page.text.count(f"{governor} {NOT_RESTORED}") == 1, "lab-3 was lost while it was held"
    assert page.text.count("always always, could not be touched: Permission denied –") == 3


def test_files_of_one_setting_to_which_the_same_happened_are_one_row(bare: Path) -> None:
    each = [setting("set", file=f"/sys/cpu{i}", before="powersave" if i else "ondemand") for i in range(4)]
    write_event(bare, "lab-1", "held", taken_over={}, recovered=[], settings=each)
    rows = host(bare).holds[0].rows
    assert [(row.before, row.files) for row in rows] == [
        ("ondemand", "/sys/cpu0"),
        ("powersave", "/sys/cpu1 and 2 more"),
    ]
    assert all(row.trouble and row.after == NOT_RESTORED for row in rows)


@pytest.mark.parametrize(
    ("end", "after", "trouble"),
    [
        (setting("restored"), "powersave (restored)", False),
        (setting("foreign"), "performance (changed by somebody else meanwhile, left alone)", True),
        (setting("refused", problem="EIO"), "performance (could not be restored: EIO)", True),
    ],
)
def test_what_became_of_a_setting_is_said(bare: Path, end: dict[str, str], after: str, trouble: bool) -> None:
    write_event(bare, "lab-1", "held", taken_over={}, recovered=[], settings=[setting("set")])
    write_event(bare, "lab-1", "released", settings=[end])
    (row,) = host(bare).holds[0].rows
    assert (row.after, row.trouble) == (after, trouble)


@pytest.mark.parametrize(
    ("state", "during"),
    [
        ("kept", "performance, as wanted already"),
        ("absent", "this host does not have it"),
        ("found", "performance (found)"),
        ("refused", "performance, could not be touched: EPERM"),
    ],
)
def test_what_was_not_changed_needs_no_restoring(bare: Path, state: str, during: str) -> None:
    problem = "EPERM" if state == "refused" else ""
    write_event(bare, "lab-1", "held", taken_over={}, recovered=[], settings=[setting(state, problem=problem)])
    (row,) = host(bare).holds[0].rows
    assert (row.during, row.after) == (during, "–")


def test_a_hold_that_was_cut_off_is_judged_by_what_the_next_one_found(bare: Path) -> None:
    for before in ("powersave", "performance"):
        held = [setting("set", before=before), *REFUSED]
        write_event(bare, "lab-1", "held", taken_over={}, recovered=[], settings=held)
    first, second = host(bare).holds
    assert first.rows[0].after == "performance, as found when the host was held again"
    assert first.rows[0].trouble
    assert second.rows[0].after == NOT_RESTORED


def test_stale_locks_recovered_settings_and_waits_are_told(bare: Path) -> None:
    who = {"owner": "ann@desk", "run": "r1", "since": "2026-02-03T09:00:00+00:00", "pid": 4}
    write_event(bare, "lab-1", "waiting", holder=who)
    facts = {"taken_over": who, "recovered": [setting("restored")], "settings": [], "removed": ["removed the cgroup x"]}
    write_event(bare, "lab-1", "held", **facts)
    found = host(bare)
    assert found.lines[0].endswith("waited for the host, held by ann@desk, run r1, since 2026-02-03 09:00 UTC.")
    assert found.holds[0].notes == (
        "Took over a stale lock: ann@desk, run r1, since 2026-02-03 09:00 UTC, whose process was gone.",
        "Put away first: removed the cgroup x.",
        "An earlier run had left settings changed: governor powersave (restored).",
    )


def test_a_host_that_was_lost_and_resumed_is_not_lost_any_more(bare: Path) -> None:
    write_event(bare, "lab-3", "lost", reason="gone", evidence=[], unfinished=["a", "b"])
    assert host(bare, "lab-3").state == "lost"
    write_event(bare, "", "resumed", boots=4)
    after = host(bare, "lab-3")
    assert (after.state, after.detail) == ("not finished", "4 boots left")
    assert [line.partition(": ")[2] for line in after.lines] == ["lost, gone.", "the run was resumed."]


def test_a_swap_file_is_told_of_made_refused_or_left(bare: Path) -> None:
    write_event(bare, "lab-1", "held", settings=[], swap={"path": "/c/x.swap", "bytes": 1 << 30})
    write_event(bare, "lab-1", "released", settings=[], swap={"problem": "<b>busy</b>"})
    write_event(bare, "lab-2", "held", settings=[], swap={"problem": "no room"})
    lines = [line.partition(": ")[2] for name in ("lab-1", "lab-2") for line in host(bare, name).lines]
    made = "a swap file of 1 GiB was made for the run."
    assert lines == [made, "swap file: <b>busy</b>.", "swap file: no room."]
    assert "<b>busy" not in render(bare).read_text()


def test_quiet_and_placement_are_summed_up_and_shown_by_boot(page: Reader) -> None:
    assert "Looked at before 6 boots; the longest wait for quiet was 2.50 s." in page.text
    assert "Highest readings before a boot: busy_share 4 %, load_per_cpu 0.31." in page.text
    assert "pinned: vCPU0 on 2, vCPU1 on 3, QEMU on 2-3, sampler on 0-1, memory default (6 boots)." in page.text
    assert "By boot: 6" in page.text
    assert "By boot: 2" in page.text


def test_limits_that_voided_boots_and_threads_in_the_wrong_place_are_named(bare: Path) -> None:
    def spoil(boot: Boot) -> Boot:
        if boot["block"] == 2:
            boot |= {"status": "invalid", "reason": "not quiet", "argv": [], "placed": {}}
            boot["quiet"] = {"waited_s": 60.0, "readings": {"busy_share": 0.81}, "over": ["busy_share 0.81 over 0.25"]}
        if boot["block"] == 3:
            boot["placed"] = {"seen": {"vcpu0": "0-3"}, "problem": "vcpu0 is on 0-3 instead of 2"}
        return boot

    change_boots(bare, spoil)
    found = host(bare)
    assert "the longest wait for quiet was 60 s" in found.quiet[0]
    assert "busy_share 81 %" in found.quiet[1]
    assert re.fullmatch(
        r"busy_share voided 2 boots: lab-1\.cycle\.b002\.\w+, lab-1\.cycle\.b002\.\w+\.", found.quiet[2]
    )
    assert "not pinned: vCPU0 on 0-3 (2 boots)." in found.placed
    assert any(text.endswith("vcpu0 is on 0-3 instead of 2.") for text in found.placed)


def test_a_boot_that_was_placed_nowhere_in_particular_is_not_pinned(bare: Path) -> None:
    change_boots(bare, lambda boot: boot | {"placed": {}})
    assert host(bare).placed == ("not pinned (6 boots).",)


def test_a_host_whose_name_begins_like_another_has_boots_of_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", replace(LAB, hosts=("lab", "lab.b"), lost=(), blocks=1))
    assert [item.boots for item in told(run).hosts] == ["2 of 2", "2 of 2"]


def test_a_host_that_was_never_reached_is_there_too(bare: Path) -> None:
    edit_json(bare / "run.json", lambda data: data["hosts"].append("lab-4"))
    (bare / "hosts/lab-3.json").write_text("{ torn")
    write_event(bare, "lab-4", "lost", reason="no route", evidence=[], unfinished=["x"])
    found = host(bare, "lab-4")
    assert (found.state, found.detail, found.boots) == ("lost", "no route; 1 boot unfinished", "0")
    assert any("hosts/lab-3.json: cannot be read" in trouble for trouble in read_run(bare).troubles)


def test_a_torn_last_line_of_the_events_costs_that_line_only(bare: Path) -> None:
    write_event(bare, "lab-3", "lost", reason="gone", evidence=[], unfinished=[])
    with (bare / "events.jsonl").open("a") as file:
        file.write('{"time": "2026-')
    assert host(bare, "lab-3").state == "lost"
    assert read_run(bare).troubles == ("events.jsonl, line 2: not a whole line, left out",)


def test_an_older_run_has_neither_a_lab_nor_a_combination(tmp_path: Path) -> None:
    copy = tmp_path / "old"
    shutil.copytree(PUBLISHED, copy)
    edit_json(copy / "analysis.json", lambda data: data.pop("combined", None))
    found = rendered(copy)
    assert lab(read_run(copy)) is None
    assert combined(read_run(copy)) == []
    assert not {"All hosts combined", "Lab"} & set(found.texts)
    assert read_run(copy).host_names == ["local"]


def test_the_page_of_a_lab_is_as_sound_as_any_other(page: Reader) -> None:
    check_sound(page)
