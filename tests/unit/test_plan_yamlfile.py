"""YAML documents with places, and one laid over another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from bench.controller.overlay import from_option, overlay
from bench.controller.yamlfile import Document, Place, Strict, check, parse, raise_problems, read
from bench.errors import InputError

KEYS = st.text("abcdefgh", min_size=1, max_size=3)
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.none(), st.text("xyz: #-%", max_size=4))
TREES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3))
)


class Inner(Strict):
    size: int = Field(description="a number, as in 3")


class Outer(Strict):
    inner: Inner = Field(description="a mapping with size")
    names: list[str] = Field(default=[], description="a list of names")


def written(text: str) -> Document:
    return parse(text.encode(), "f.yaml")


def messages(text: str) -> list[str]:
    document = written(text)
    return [str(problem) for problem in [*document.problems, *check(document, Outer)[1]]]


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=3))
def test_a_document_has_the_value_that_yaml_reads(tree: dict[str, Any]) -> None:
    document = written(yaml.safe_dump(tree))
    assert document.value == tree
    assert document.problems == ()


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4))
def test_every_key_is_placed_on_its_own_line(tree: dict[str, Any]) -> None:
    text = yaml.safe_dump(tree, default_flow_style=False)
    document = written(text)
    for key in tree:
        line = text.splitlines()[document.place((key,)).line - 1]
        # yaml quotes single letters that YAML 1.1 might read as something else.
        assert line.lstrip("'\"? ").startswith(key)


def test_the_place_of_a_key_that_was_not_written_is_its_parents_line_with_the_key_behind() -> None:
    document = written("a: 1\nb:\n  c: 2\n")
    assert document.place(("b", "d", 0)) == Place("f.yaml", 2, "b.d.0")
    assert document.place(("z",)) == Place("f.yaml", 1, "z")


def test_an_alias_is_the_value_that_it_names() -> None:
    assert written("a: &x [1, 2]\nb: *x\n").value == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [*x]\n", "f.yaml:1: a.0: an alias that contains itself; write the value out"),
        ("a: 1\n2: b\n", "f.yaml:2: 2: a key must be a word; put it in quotes if it is meant so"),
        ("a: 2020-13-45\n", "f.yaml:1: a: '2020-13-45' is no timestamp; write it in quotes"),
        ("a:\n  b: 1\n  b: 2\n", "f.yaml:3: a.b: written twice, first in line 2; keep one"),
        ("a: !!python/object:os.x {}\n", "f.yaml:1: a: the tag tag:yaml.org,2002:python/object:os.x is not known here"),
    ],
)
def test_what_yaml_would_pass_over_is_a_problem(text: str, message: str) -> None:
    (problem,) = written(text).problems
    assert str(problem).startswith(message)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"a: \x01", 1),
        (b"a: 1\nb: \xff", 2),
        (b"a: *q\n", 1),
        (b"a: 1\n---\nb: 2\n", 2),
        (b"a: 'x\n", 2),
        (b"a: [1\n", 2),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_line(data: bytes, line: int) -> None:
    with pytest.raises(InputError, match=rf"^f\.yaml:{line}: "):
        parse(data, "f.yaml")


@given(st.binary(max_size=60))
def test_any_bytes_give_a_document_or_an_input_error(data: bytes) -> None:
    try:
        seen = parse(data, "f.yaml").place(()).source
    except InputError as error:
        seen = str(error).partition(":")[0]
    assert seen == "f.yaml"


def test_a_file_that_is_not_there_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        read(tmp_path / "nowhere.yaml")


def test_a_model_sees_all_problems_at_once() -> None:
    assert messages("inner:\n  size: many\n  sise: 1\nnames: [a, 5]\nother: 1\n") == [
        "f.yaml:2: inner.size: 'many' is no whole number; write a number, as in 3",
        "f.yaml:3: inner.sise: unknown key; did you mean 'size'? valid: size",
        "f.yaml:4: names.1: 5 is no text (put it in quotes if it is meant so); write a list of names",
        "f.yaml:5: other: unknown key; valid: inner, names",
    ]


def test_a_missing_key_is_asked_for_at_its_parent() -> None:
    assert messages("inner: {}\n") == ["f.yaml:1: inner.size: is missing; write a number, as in 3"]
    assert messages("names: []\n") == ["f.yaml:1: inner: is missing; write a mapping with size"]


def test_true_is_no_number_and_a_number_no_text() -> None:
    assert messages("inner: {size: yes}\n") == [
        "f.yaml:1: inner.size: true is no whole number; write a number, as in 3"
    ]


def test_problems_are_raised_in_the_order_of_lines_and_each_once() -> None:
    document = written("a: 1\nb: 2\n")
    problems = [document.problem(("b",), "late"), document.problem(("a",), "early"), document.problem(("b",), "late")]
    with pytest.raises(InputError) as caught:
        raise_problems(problems)
    assert str(caught.value) == "f.yaml:1: a: early\nf.yaml:2: b: late"
    raise_problems([])


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=3), st.dictionaries(KEYS, SCALARS, min_size=1, max_size=3))
def test_an_overlay_holds_its_scalars_and_keeps_the_rest(below: dict[str, Any], above: dict[str, Any]) -> None:
    merged = overlay(written(yaml.safe_dump(below)), parse(yaml.safe_dump(above).encode(), "top.yaml"))
    assert merged.value == {**below, **above}
    for key in merged.value:
        assert merged.place((key,)).source == ("top.yaml" if key in above else "f.yaml")


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=3), st.dictionaries(KEYS, TREES, min_size=1, max_size=3))
def test_an_overlay_leaves_what_is_below_as_it_was(below: dict[str, Any], above: dict[str, Any]) -> None:
    document = written(yaml.safe_dump(below))
    overlay(document, parse(yaml.safe_dump(above).encode(), "top.yaml"))
    assert document.value == below


def test_an_overlay_reaches_into_lists_by_number_and_by_name() -> None:
    document = written("w:\n  - {workload: a, x: 1}\n  - {name: b, workload: a, x: 2}\n")
    for key in ("1", "b"):
        merged = overlay(document, from_option("--set", f"w.{key}.x=7"))
        assert [entry["x"] for entry in merged.value["w"]] == [1, 7]
        assert str(merged.problem(("w", 1, "x"), "wrong")) == f"--set w.{key}.x: wrong"
        assert merged.place(("w", 0, "x")).line == 2


def test_what_an_overlay_replaced_leaves_no_place_behind() -> None:
    document = written("w:\n  - workload: a\n    x: 1\n")
    merged = overlay(document, from_option("--set", "w=[{workload: b}]"))
    assert merged.value == {"w": [{"workload": "b"}]}
    assert str(merged.problem(("w", 0, "x"), "missing")) == "--set w: 0.x: missing"


def test_an_overlay_on_an_entry_that_is_not_there_is_a_problem() -> None:
    document = written("w:\n  - {workload: cycle}\n")
    (problem,) = overlay(document, from_option("--set", "w.cycel.x=7")).problems
    assert str(problem) == "--set w.cycel.x: no entry 'cycel'; did you mean 'cycle'? valid: cycle"


@pytest.mark.parametrize("setting", ["blocks", "=5", "a..b=5", ".a=1"])
def test_a_setting_without_key_or_value_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match="no setting; write KEY=VALUE"):
        from_option("--set", setting)


def test_a_setting_is_read_as_yaml() -> None:
    assert from_option("--set", "a.b=[1, x]").value == {"a": {"b": [1, "x"]}}
    assert from_option("--set", "a=40%").value == {"a": "40%"}
    with pytest.raises(InputError, match=r"^--set a: .* is no YAML value"):
        from_option("--set", "a=[1")
