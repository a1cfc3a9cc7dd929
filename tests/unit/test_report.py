"""The page of a run: what a reader finds on it, for whole, partial and hostile runs."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from page_reader import Reader, check_closed, check_sound, rendered
from synthetic_run import Boot, Shape, edit_json, write_event, write_run

from bench.errors import InputError
from reports.page import render

pytestmark = pytest.mark.drawn

SECTIONS = ("Result", "Can it be trusted?", "Environment", "Metric by metric", "Memory over time",
            "Latency of a page, by its state", "Pressure and swap of the host", "Raw data", "How to do it again",
            "Glossary")  # fmt: skip
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e\x1b[31m $x^2$ #010101 \ud800"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run") / "quick")


@pytest.fixture(scope="module")
def page(quick: Path) -> Reader:
    return rendered(quick)


def test_the_verdict_comes_first_in_the_words_of_the_analysis(quick: Path, page: Reader) -> None:
    sentence = json.loads((quick / "analysis.json").read_text())["verdict"]["text"]
    assert "95 % interval" in sentence
    assert page.text.index(sentence) < page.text.index("Effects at a glance")


def test_every_metric_of_the_analysis_has_a_row_with_its_verdict(quick: Path, page: Reader) -> None:
    metrics = json.loads((quick / "analysis.json").read_text())["cells"][0]["metrics"]
    given = [metric for metric in metrics if (metric["value"], metric["reference_value"]) != (None, None)]
    assert len(metrics) > len(given) > 15
    for metric in given:
        assert f"{metric['metric']} :" in page.text
        assert metric["verdict"] in page.text


def test_a_metric_that_neither_arm_has_is_in_no_table(page: Reader) -> None:
    assert "held_free_bytes" not in page.text


def test_the_sections_stand_in_the_order_in_which_a_reader_asks(page: Reader) -> None:
    headings = re.findall(r"<h2>([^<]+)</h2>", page.source)
    assert headings == list(SECTIONS)


def test_the_plans_metrics_come_first_with_interval_and_margin(page: Reader) -> None:
    assert re.search(
        r"Still resident after the free lower is better reporting against none 1\d\d MiB against 3\d\d MiB", page.text
    )
    assert "±5 %" in page.text


def test_noise_order_and_drift_are_told_of_each_metric_of_the_plan(page: Reader) -> None:
    assert re.search(
        r"Still resident after the free cycle local ±[\d.]+ % ±[\d.]+ % ±5 % not seen, p = \S+ not seen, p = \S+",
        page.text,
    )
    assert "reporting cycle local 3 of 3 229 MiB a boot seen in 3 of 3 boots that count" in page.text


def test_values_can_be_saved_from_the_page_and_are_those_of_the_run(quick: Path, page: Reader) -> None:
    links = [attrs for attrs in page.all("a") if "download" in attrs]
    assert [attrs["download"] for attrs in links] == ["values.csv", "analysis.json"]
    texts = [base64.b64decode(str(attrs["href"]).partition("base64,")[2]).decode() for attrs in links]
    assert all(hashlib.sha256(text.encode()).hexdigest() in page.text for text in texts)
    rows = list(csv.DictReader(io.StringIO(texts[0])))
    boots = [json.loads(line) for line in (quick / "boots.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert {row["t90_s"] == "" for row in rows if row["arm"] == "none"} == {True}
    assert float(rows[1]["residual_bytes"]) == pytest.approx(boots[0]["values"]["residual_bytes"][1], rel=1e-8)
    assert (rows[1]["boot"], rows[1]["iteration"]) == (boots[0]["boot"], "2")
    assert json.loads(texts[1])["cells"][0]["metrics"][0]["effect"]


def test_the_files_of_the_run_are_listed_with_their_checksums(quick: Path, page: Reader) -> None:
    assert hashlib.sha256((quick / "boots.jsonl").read_bytes()).hexdigest() in page.text


def test_the_values_of_each_block_are_on_the_page(quick: Path, page: Reader) -> None:
    metrics = json.loads((quick / "analysis.json").read_text())["cells"][0]["metrics"]
    blocks = next(row for row in metrics if row["metric"] == "residual_bytes")["reference_blocks"]
    shown = " ".join(f"{value / 2**20:.0f} MiB" for value in blocks)
    assert f"none {shown} reporting" in page.text


def test_an_arm_that_returned_nothing_says_so_instead_of_a_zero(page: Reader) -> None:
    assert page.text.count("returned nothing, so there is no time") >= 3
    assert "none: nothing came back" in page.text


def test_the_footprint_is_shown_against_both_denominators(page: Reader) -> None:
    assert re.search(r"\d MiB · [\d.]+ % of the guest · [\d.]+ % of none", page.text)


def test_environment_command_and_provenance_are_told(page: Reader) -> None:
    for words in (
        "AMD EPYC 7B13",
        "6.1.0-56-cloud-amd64",
        "page_reporting_order",
        "free-page-reporting=on",
        "-append 'console=ttyS0",
        "missed 6 of",
        "local.cycle.b003.reporting",
        "series/local.cycle.b001.none.csv.gz",
        "seed 7",
    ):
        assert words in page.text


def test_commands_differ_only_in_what_the_arms_differ_in(page: Reader) -> None:
    added = page.text.split("added: ")[1:]
    assert len(added) == 1
    assert added[0].startswith("-device virtio-balloon-pci,id=balloon,free-page-reporting=on")
    assert "removed: " not in page.text


def test_times_under_emulation_are_marked_in_tables_tiles_and_figures(page: Reader) -> None:
    time_like = ("Touching the memory again", "First touch", "QEMU's CPU time after the free", "Start until READY")
    for title in time_like:
        assert f"{title} † (emulated)" in page.text
    assert "Still resident after the free †" not in page.text
    assert re.search(r"×[\d.]+ † \(emulated\) the time to touch it again", page.text)
    assert page.text.count("† emulated CPU") == 4, "two figures of latencies, each wide and narrow"
    assert any(attrs.get("id") == "emulated" for _, attrs in page.elements)


def test_times_under_kvm_are_not_marked(tmp_path: Path) -> None:
    found = rendered(write_run(tmp_path / "run", Shape(accel="kvm", blocks=1)))
    assert "†" not in found.text
    assert "mulated" not in found.text


def test_the_page_loads_nothing_and_everything_on_it_has_a_name(page: Reader) -> None:
    check_sound(page)
    assert len(page.all("figure")) == 9, "effects, two metrics, memory, footprint, returns, two latencies, pressure"


def test_links_to_files_lead_to_files(quick: Path, page: Reader) -> None:
    links = [str(attrs["href"]) for attrs in page.all("a") if not str(attrs["href"]).startswith(("#", "data:"))]
    assert len(links) == 3 + 6 + 6
    assert all((quick / link).is_file() for link in links)


def test_figures_take_their_colours_from_the_page(quick: Path) -> None:
    pictures = re.findall(r"<svg.*?</svg>", (quick / "report.html").read_text(encoding="utf-8"), re.DOTALL)
    for found in pictures:
        assert "var(--arm1)" in found
        assert not re.search(r"(?:fill|stroke|color): #", found)
        assert "DejaVu" not in found


def test_the_same_run_gives_the_same_bytes_and_leaves_no_other_file(quick: Path) -> None:
    before = sorted(path.name for path in quick.rglob("*"))
    first = render(quick).read_bytes()
    assert render(quick).read_bytes() == first
    assert sorted(path.name for path in quick.rglob("*")) == sorted({*before, "report.html"})


def test_lost_boots_are_named_with_their_evidence(tmp_path: Path) -> None:
    def lose(boot: Boot) -> Boot:
        if (boot["arm"], boot["block"]) != ("reporting", 2):
            return boot
        return boot | {
            "status": "invalid",
            "reason": "mechanism not seen",
            "evidence": ["discarded 0 bytes", "mlock on"],
        }

    found = rendered(write_run(tmp_path / "run", Shape(edit=lose)))
    assert "1 boot lost" in found.text
    assert "local.cycle.b002.reporting : mechanism not seen Evidence discarded 0 bytes mlock on" in found.text
    assert "2 complete blocks" in found.text


def test_phases_that_did_not_settle_are_listed(tmp_path: Path) -> None:
    def unsettle(boot: Boot) -> Boot:
        for phase in boot["phases"]:
            if (phase["name"], phase["iteration"], boot["block"]) == ("settle", 1, 1):
                phase["result"] = {"settled": False}
        return boot

    found = rendered(write_run(tmp_path / "run", Shape(blocks=1, edit=unsettle)))
    assert "local.cycle.b001.reporting: settle, iteration 2" in found.text


def test_a_run_with_failed_boots_only_still_has_a_page(tmp_path: Path) -> None:
    def fail(boot: Boot) -> Boot:
        nothing = {"values": {}, "warmups": {}, "phases": [], "guest": {}, "argv": [], "sampler": {}, "series": ""}
        return boot | nothing | {"status": "failed", "reason": "never said READY", "evidence": ["Kernel panic"]}

    found = rendered(write_run(tmp_path / "run", Shape(edit=fail)))
    assert "6 boots lost" in found.text
    assert "Kernel panic" in found.text
    assert not found.all("figure")
    assert "Memory over time" not in found.text
    check_sound(found)


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    for name in ("analysis.json", "boots.jsonl"):
        (run / name).unlink()
    shutil.rmtree(run / "series")
    found = rendered(run)
    assert "No boot has finished yet; 6 are planned" in found.text
    assert found.text.count("not run") == 6


def test_a_run_that_was_killed_shows_what_it_has(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "analysis.json").unlink()
    whole = (run / "boots.jsonl").read_bytes()
    (run / "boots.jsonl").write_bytes(whole[: whole.index(b"\n") + 500])
    series = next((run / "series").glob("*b001.none*"))
    series.write_bytes(series.read_bytes()[:-200])
    found = rendered(run)
    assert "boots.jsonl, line 2: not a whole line" in found.text
    assert f"{series.name}: " in found.text
    assert "nothing was compared yet" in found.text
    assert "1 of 6 boots can be used" in found.text
    assert len(found.all("svg")) >= 2, "what could be read of the series is drawn"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        render(tmp_path)


def test_hostile_strings_are_shown_and_do_nothing(tmp_path: Path) -> None:
    long = "A" * 10_000

    def poison(boot: Boot) -> Boot:
        seen = {"vcpu0": HOSTILE, HOSTILE: HOSTILE}
        boot["quiet"] = {"waited_s": 1.0, "readings": {HOSTILE: 1.0}, "over": [HOSTILE]}
        boot["placed"] = {"seen": seen, "problem": HOSTILE}
        boot |= {"host": HOSTILE, "cell": HOSTILE, "reason": HOSTILE, "evidence": [HOSTILE, long]}
        boot["arm"] = f"{boot['arm']}{HOSTILE}"
        boot["host_facts"] |= {HOSTILE: HOSTILE, "kernel": long}
        boot["guest"]["kernel_version"] = HOSTILE
        boot["argv"].append(HOSTILE)
        return boot | ({"status": "failed"} if boot["block"] == 2 else {})

    run = write_run(tmp_path / "run", Shape(edit=poison))
    (run / "hosts").mkdir()
    (run / "hosts/lab-1.json").write_text(json.dumps({"host_facts": {"kernel": HOSTILE}, "qemu_version": HOSTILE}))
    bad = dict.fromkeys(("name", "file", "before", "wanted", "now", "state", "problem"), HOSTILE)
    who = {"owner": HOSTILE, "run": HOSTILE, "since": HOSTILE}
    for name in (HOSTILE, "lab-1"):
        write_event(run, name, "waiting", holder=who)
        write_event(run, name, "held", taken_over=who, recovered=[bad], settings=[bad, {**bad, "state": "refused"}])
        write_event(run, name, "reconnecting", tries=1, reason=HOSTILE)
        write_event(run, name, "lost", reason=HOSTILE, evidence=[HOSTILE, long], unfinished=[HOSTILE])

    def poison_analysis(data: dict[str, Any]) -> None:
        row = {"metric": HOSTILE, "kind": "ratio", "effect": 1.5, "low": 1.0, "high": 2.0, "n": 6, "hosts": 2}
        row |= {"why": HOSTILE, "per_host": {HOSTILE: 1.5, long: 1.5}, "left_out": {HOSTILE: HOSTILE}, "p": 0.5}
        pair = {"cell": HOSTILE, "reference": HOSTILE, "arm": HOSTILE, "hosts": [HOSTILE, long], "metrics": [row]}
        data["combined"] = [{**pair, "hosts_asked": [HOSTILE], "left_out": {HOSTILE: HOSTILE}}]

    edit_json(run / "analysis.json", poison_analysis)

    def poison_run(data: dict[str, object]) -> None:
        data |= {"question": HOSTILE, "plan": HOSTILE, "arms": [f"none{HOSTILE}", f"reporting{HOSTILE}"]}
        data |= {"reference": f"none{HOSTILE}", "started": HOSTILE, "versions": {HOSTILE: HOSTILE}}

    edit_json(run / "run.json", poison_run)
    found = rendered(run)
    check_closed(found)
    assert "<script>alert(1)</script>" in found.text
    assert {"All hosts combined", "Lab"} <= set(found.texts)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search("[\u202e\x1b]", page)
    assert "\\u202e\\u001b[31m $x^2$ #010101 \\ud800" in found.text
    assert long not in page
    assert len(found.all("svg")) >= 8


def test_a_series_path_that_leaves_the_run_folder_is_not_read(tmp_path: Path) -> None:
    outside = write_run(tmp_path / "other", Shape(blocks=1))

    def escape(boot: Boot) -> Boot:
        return boot | {"series": f"../other/{boot['series']}"}

    found = rendered(write_run(tmp_path / "run", Shape(blocks=1, edit=escape)))
    assert outside.exists()
    assert "no series file is named" in found.text
    assert "Resident memory over time" not in found.text


def test_a_front_is_drawn_with_the_arms_that_are_beaten_and_by_whom(quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "front"
    shutil.copytree(quick, folder)
    points = [
        {"arm": "none", "x": 400.0 * 2**20, "y": 0.1, "blocks": 3, "dominated_by": []},
        {"arm": "reporting", "x": 150.0 * 2**20, "y": 0.2, "blocks": 3, "dominated_by": []},
        {"arm": HOSTILE, "x": 180.0 * 2**20, "y": 0.3, "blocks": 3, "dominated_by": ["reporting"]},
        {"arm": "broken", "x": None, "y": 0.3, "blocks": 3, "dominated_by": []},
    ]
    front = {"host": "local", "cell": "cycle", "x": "residual_bytes", "y": "qemu_cpu_s", "front": ["none", "reporting"]}
    edit_json(folder / "analysis.json", lambda found: found.update(pareto=[{**front, "points": points}]))
    page = rendered(folder)
    assert "Trade-off" in page.text
    check_sound(page)
    assert "Nobody is better in both than none , reporting" in page.text
    assert "is dominated by reporting" in page.text
    assert "400 MiB" in page.text


def test_controls_and_guests_out_of_memory_are_said_before_the_metrics(quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "controls"
    shutil.copytree(quick, folder)
    place = {"host": "local", "cell": "cycle"}
    controls = [{**place, "arm": "locked", "boots": 2, "recognised": 2, "why": ["QEMU has locked its memory"]}]
    lost = [{**place, "arm": "reporting", "boots": 2}]
    edit_json(folder / "analysis.json", lambda found: found.update(controls=controls, out_of_memory=lost))
    text = rendered(folder).text
    assert text.index("1 of 1 controls recognised") < text.index("Effects at a glance")
    assert "2 guests of reporting in workload cycle on local ran out of memory" in text
