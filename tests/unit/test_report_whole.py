"""The page of a run that feeds every section, with hostile names and texts in all its files."""

from __future__ import annotations

import re

import pytest
from page_reader import Reader, check_sound, rendered
from synthetic_pages import HIT, NAMES, write_hostile

pytestmark = pytest.mark.once

SECTIONS = ("Result", "Gate", "All hosts combined", "Trade-off", "Can it be trusted?", "Environment",
            "Metric by metric", "Memory over time", "Latency of a page, by its state", "Pressure and swap of the host",
            "Raw data", "How to do it again", "Glossary")  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return rendered(write_hostile(tmp_path_factory.mktemp("run") / "hostile"))


def test_every_section_that_there_is_has_something_to_show(page: Reader) -> None:
    assert tuple(re.findall(r"<h2>([^<]+)</h2>", page.source)) == SECTIONS
    for said in ("is dominated by", "ran out of memory", "controls recognised", "drift", "nothing was discarded",
                 "before memory had settled", "could not be touched", "touched again after the free",
                 "Guest memory in the host's swap", "tried again once"):  # fmt: skip
        assert said in page.text or said in page.source, said


def test_the_page_of_hostile_strings_is_as_sound_as_any_other(page: Reader) -> None:
    check_sound(page)


def test_hostile_strings_are_text_and_nothing_else(page: Reader) -> None:
    assert f"<script>window.{HIT}=1</script>" in page.text
    assert not any(HIT in str(value) for tag, attrs in page.elements for key, value in attrs.items()
                   if key not in ("aria-label", "data-label", "href"))  # fmt: skip
    assert not any(str(attrs.get("href")).startswith("javascript:") for attrs in page.all("a"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2066\u202e\u200f\ufeff\ud800]", page.source)


def test_very_long_strings_are_cut(page: Reader) -> None:
    assert max(map(len, re.findall(r"\S+", page.text))) < 4100
    assert not any(name in page.source for name in NAMES.values() if len(name) > 5000)
