"""Pages in a real browser, opened from disk: nothing is loaded, nothing overflows, and only one script executes."""

from __future__ import annotations

import re
from pathlib import Path

import html5lib
import pytest
from browserlab import NAMES, Browser
from synthetic_pages import HIT

Pages = dict[str, Path]
EVERY = ("whole", "hostile", "index", "several", *NAMES)
# A scheme is the same style sheet for every page: these have all of it.
SCHEMED = ("whole", "index")
# axe takes half a minute for a page with many figures: one published page, and those that have everything.
LOOKED_AT = ("whole", "hostile", "index", "several", "quick-emulated")
OVERFLOW = """
const width = arguments[0];
if (document.documentElement.scrollWidth <= width) return [];
const held = e => { for (let p = e.parentElement; p; p = p.parentElement)
  if (getComputedStyle(p).overflowX !== 'visible') return true; return false; };
return [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > width + 1 && !held(e))
  .slice(0, 5).map(e => e.outerHTML.slice(0, 200)).concat(['wider than the window']);
"""


@pytest.mark.parametrize("name", EVERY)
def test_a_page_loads_nothing_and_complains_of_nothing(browser: Browser, pages: Pages, name: str) -> None:
    browser.open(pages[name])
    assert browser.requests() == []
    assert browser.said() == []
    assert browser.run(f"return window.{HIT} ?? null") is None
    assert browser.run("return document.querySelector('h1').textContent.length") > 0


@pytest.mark.parametrize(
    ("name", "width"),
    [(name, width) for name in EVERY for width in (360, 768, 1440) if width == 360 or name not in NAMES],
)
def test_nothing_overflows(browser: Browser, pages: Pages, name: str, width: int) -> None:
    browser.open(pages[name], width)
    assert browser.run("return innerWidth") == width
    # Every detail open: what is folded away has to fit too.
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run(OVERFLOW, width) == []
    if name in SCHEMED:
        browser.shoot(f"{name}-{width}")


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "light") for name in LOOKED_AT), *((name, "dark") for name in SCHEMED)]
)
def test_axe_finds_nothing_serious(browser: Browser, pages: Pages, name: str, scheme: str) -> None:
    browser.open(pages[name], scheme=scheme)
    found = browser.violations()
    assert [(item["id"], [node["html"][:200] for node in item["nodes"][:3]]) for item in found] == []


def test_the_schemes_and_the_print_are_different_pictures(browser: Browser, pages: Pages) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        browser.open(pages["whole"], scheme=scheme)
        colours[scheme] = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert browser.shoot(f"whole-{scheme}").startswith(b"\x89PNG")
    assert colours["light"] != colours["dark"]
    browser.open(pages["whole"], scheme="dark", media="print")
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    folded = (
        "return [...document.querySelectorAll('details > :nth-child(2)')]"
        ".filter(e => !e.checkVisibility({contentVisibilityAuto: true}))"
        ".filter(e => e.textContent.trim() && !e.matches('.filter'))"
        ".map(e => e.outerHTML.slice(0, 200))"
    )
    assert browser.run(folded) == []
    browser.open(pages["whole"])
    assert browser.run(folded) != []
    as_on_screen = browser.print("whole-screen")
    # Only without a medium of our own is it that of the printer.
    browser.open(pages["whole"], media="")
    count = [len(re.findall(rb"/Type\s*/Page\b", printed)) for printed in (as_on_screen, browser.print("whole"))]
    assert 3 < count[0] < count[1], "what is folded away is printed"


@pytest.mark.parametrize("name", ["whole", "index"])
def test_a_table_sorts_by_any_column_and_back(browser: Browser, pages: Pages, name: str) -> None:
    browser.open(pages[name])
    order = (
        "const t = document.querySelector('table[data-tools~=sort]:has(button.sort)');"
        "return [...t.tBodies].flatMap(b => [...b.rows]).map(r => r.cells[0].textContent.trim())"
    )
    press = "document.querySelector('table[data-tools~=sort]:has(button.sort) button.sort').click()"
    browser.run(press)
    up = browser.run(order)
    browser.run(press)
    down = browser.run(order)
    assert len(up) > 1
    assert down == list(reversed(up)) or sorted(down) == sorted(up) != down
    head = "return document.querySelector('table[data-tools~=sort] th[aria-sort]').getAttribute('aria-sort')"
    assert browser.run(head) == "descending"


def test_a_filter_hides_rows_and_says_how_many_are_left(browser: Browser, pages: Pages) -> None:
    browser.open(pages["whole"])
    left = browser.run("""
        const field = document.querySelector('label.filter input');
        const table = field.closest('label').nextElementSibling.querySelector('table');
        field.value = 'no row has this';
        field.dispatchEvent(new Event('input'));
        return [...table.tBodies].flatMap(b => [...b.rows]).filter(r => r.offsetHeight).length;
    """)
    assert left == 0


@pytest.mark.parametrize("name", EVERY)
def test_a_page_is_valid_html(pages: Pages, name: str) -> None:
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(pages[name].read_text(encoding="utf-8"))
    assert parser.errors[:5] == []
