"""gate.json as JUnit XML, in the form that Jenkins, GitLab and GitHub's reporters read: one test case a comparison."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bench.analysis.gate_texts import ordered, sentence

# XML 1.0 has no place for other control characters, nor for surrogates.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FAILED = ("confirmed", "red")


def junit(gate: dict[str, Any]) -> str:
    """A suite of all comparisons, controls and problems. Undecided fails only where the gate's policy says so."""
    suite = Element("testsuite", name="bench gate")
    for row in ordered(gate):
        name = f"{row['metric']} against {row['reference']}"
        case = _case(suite, f"{gate['plan']}.{row['cell']}.{row['arm']}", name)
        _judge(case, gate, row)
    for item in gate["controls"]:
        where = f"{item['host']} {item['cell']} {item['arm']}"
        case = _case(suite, f"{gate['plan']}.controls", f"{item['control']} {where}")
        if not item["seen"]:
            _say(case, "error", item["text"])
    for number, problem in enumerate(gate["problems"], start=1):
        _say(_case(suite, f"{gate['plan']}.problems", f"problem {number}"), "error", problem)
    counted = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    suite.attrib |= {"tests": str(len(suite))}
    suite.attrib |= {key: str(len(suite.findall(f"testcase/{tag}"))) for key, tag in counted.items()}
    suite.attrib["time"] = "0"
    suites = Element("testsuites")
    suites.append(suite)
    indent(suites, " ")
    return tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: Element, classname: str, name: str) -> Element:
    return SubElement(suite, "testcase", classname=_text(classname), name=_text(name), time="0")


def _judge(case: Element, gate: dict[str, Any], row: dict[str, Any]) -> None:
    said, status = sentence(gate, row), row["status"]
    fails = gate["on_undecided"] == "fail" or row["strict"]
    if status in _FAILED or (status in ("undecided", "not confirmed") and fails):
        _say(case, "failure", said, status)
    elif status == "invalid":
        _say(case, "error", said)
    elif status in ("undecided", "not confirmed", "quarantined"):
        SubElement(case, "skipped", message=_text(f"{status}: {said}"))
    else:
        SubElement(case, "system-out").text = _text(said)


def _say(case: Element, tag: str, text: str, kind: str = "invalid") -> None:
    SubElement(case, tag, message=_text(text), type=kind).text = _text(text)


def _text(text: str) -> str:
    return _NO_XML.sub("?", text)
