"""gate.json in the forms that people and CI systems read: each says the same, and nothing in it is anybody's markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
import xmlschema
from gate_runs import boots, facts, gate_of, judged
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import gate_texts
from bench.analysis.junit import junit

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
HELD = {"metric": "returned_share", "reason": "being looked at", "owner": "ann", "until": "2027-01-31"}
RULES = [{"metric": "residual_bytes"}, {"metric": "returned_share"}, {"metric": "refault_*", "strict": True}]
HOSTILE = "<script>alert(1)</script>\x00\x1b[31m|`a` ::error::x\n%0A\ud800 \u202e"


def gates() -> dict[str, dict[str, Any]]:
    about = facts(gate=gate_of(rules=RULES, quarantine=[HELD]))
    broken = boots()
    broken[0] |= {"status": "invalid", "reason": HOSTILE}
    return {
        "pass": judged(boots(), about),
        "regression": judged(boots(refault=1.3), about, boots(refault=1.3, seed=9)),
        "unconfirmed": judged(boots(refault=1.3), about),
        "undecided": judged(boots(refault=1.06, sd=0.08), about),
        "invalid": judged(broken, about),
    }


GATES = gates()


@pytest.mark.parametrize("verdict", GATES)
def test_each_verdict_has_a_headline_and_its_exit_code(verdict: str) -> None:
    gate = GATES[verdict]
    assert gate["verdict"] == verdict
    first = gate_texts.terminal(gate).splitlines()[0]
    assert first.startswith(f"{verdict}: ")
    json.dumps(gate, allow_nan=False)


@pytest.mark.parametrize("verdict", GATES)
def test_the_mail_is_ascii_and_no_wider_than_75_columns(verdict: str) -> None:
    text = gate_texts.mail(GATES[verdict])
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 75
    assert "\x1b" not in text


@pytest.mark.parametrize("verdict", GATES)
def test_junit_is_of_the_common_schema_and_counts_right(verdict: str) -> None:
    text = junit(GATES[verdict])
    xmlschema.XMLSchema(str(GOLDEN / "junit.xsd")).validate(text)
    (suite,) = fromstring(text)  # noqa: S314 - made here
    assert int(suite.attrib["tests"]) == len(suite)
    failed, errors = int(suite.attrib["failures"]), int(suite.attrib["errors"])
    assert (failed > 0) == (verdict in ("regression", "unconfirmed", "undecided"))
    assert (errors > 0) == (verdict == "invalid")


def test_a_schema_that_lets_everything_pass_would_not_be_noticed_otherwise() -> None:
    schema = xmlschema.XMLSchema(str(GOLDEN / "junit.xsd"))
    assert not schema.is_valid("<testsuites><testsuite name='x'/></testsuites>")
    assert not schema.is_valid(junit(GATES["pass"]).replace("testcase", "test"))


def test_a_regression_says_both_measurements_in_every_form() -> None:
    gate = GATES["regression"]
    row = next(row for row in gate["rows"] if row["status"] == "confirmed")
    for form in (gate_texts.terminal, gate_texts.mail, gate_texts.markdown, gate_texts.github, junit):
        said = re.sub(r"\s+", " ", form(gate)).replace("\\", "")
        assert "refault_s_per_gib" in said
        for effect in (row["effect"], row["again"]["effect"]):
            assert f"{effect:.3g}" in said


def test_what_is_in_quarantine_is_told_with_its_owner_and_day() -> None:
    said = re.sub(r"\s+", " ", gate_texts.terminal(GATES["pass"]))
    assert "quarantined: returned_share of reporting" in said
    assert "in quarantine until 2027-01-31: being looked at (ann)" in said


def test_markdown_of_a_hostile_run_has_no_markup_of_its_own() -> None:
    text = gate_texts.markdown(GATES["invalid"])
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_annotations_are_one_line_each_and_cannot_be_broken_out_of() -> None:
    for verdict, gate in GATES.items():
        lines = gate_texts.github(gate).splitlines()
        assert all(re.match(r"::(error|warning|notice) title=bench gate::", line) for line in lines), lines
        assert lines[0].startswith("::notice" if verdict == "pass" else "::error")
    assert "%0A" in gate_texts.github(GATES["invalid"])


def test_findings_for_gitlab_have_what_it_needs_and_each_its_own_fingerprint() -> None:
    found = json.loads(gate_texts.gitlab(GATES["regression"]))
    assert {"description", "check_name", "fingerprint", "severity", "location"} == set(found[0])
    assert found[0]["severity"] == "critical"
    assert len({item["fingerprint"] for item in found}) == len(found)


def test_a_margin_that_the_host_cannot_carry_is_shouted() -> None:
    floor = {"sd": 0.2, "least_margin": 0.3, "n": 6, "blocks": {}}
    known = {"local": {"cells": {"cycle": {"residual_bytes": floor, "refault_s_per_gib": floor}}}}
    said = re.sub(r"\s+", " ", gate_texts.terminal(judged(boots(), floors=known)))
    assert "NOT GATEABLE HERE at this margin: the host's noise carries 30 % at best" in said


@given(st.text(max_size=40))
def test_any_text_makes_sound_xml(text: str) -> None:
    gate = json.loads(json.dumps(GATES["invalid"]))
    gate["problems"], gate["plan"] = [text], text
    fromstring(junit(gate))  # noqa: S314 - made here
