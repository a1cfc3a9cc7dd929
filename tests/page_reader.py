"""Reads a rendered page as a browser would find it: elements, ids, text. For the tests of reports."""

from __future__ import annotations

import hashlib
import itertools
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

from reports.page import render

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use", "rect"}


class Reader(HTMLParser):
    """The page's elements, ids and text; fails on a tag that is closed by another."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.source = text
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def rendered(run: Path) -> Reader:
    """The page of a run folder."""
    return Reader(render(run).read_text(encoding="utf-8"))


def check_sound(page: Reader) -> None:
    """What holds for every page, whatever the run: it loads nothing, and everything in it can be reached and named."""
    check_closed(page)
    ids = [str(attrs["id"]) for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [str(attrs.get("href")) for attrs in page.all("a") + page.all("use")]
    named = [
        str(attrs[key]) for _, attrs in page.elements for key in ("aria-labelledby", "aria-describedby") if key in attrs
    ]
    assert {link[1:] for link in links if link.startswith("#")} | set(named) <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("scope") for attrs in page.all("th"))
    check_figures(page)


def check_closed(page: Reader) -> None:
    """Nothing is loaded, and the one script is the one that the policy names."""
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not re.search(r"@import|url\((?!#)|https?://", page.source)
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    scripts = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    assert len(scripts) == len(page.all("script")) == 1
    policy = next(str(attrs["content"]) for attrs in page.all("meta") if attrs.get("http-equiv"))
    digest = b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy


def check_figures(page: Reader) -> None:
    """Every figure has a title, a description, drawings with names, and its data as a table."""
    parts = re.findall(r"<figure .*?</figure>", page.source, re.DOTALL)
    assert len(parts) == len(page.all("figure"))
    for part in parts:
        figure = Reader(part)
        (about,) = figure.all("figure")
        title, said = (
            re.search(rf'id="{about[key]}">([^<]+)<', part) for key in ("aria-labelledby", "aria-describedby")
        )
        assert title is not None
        assert said is not None
        assert len(said[1]) > 15
        assert all(attrs["role"] == "img" and len(str(attrs["aria-label"])) > 8 for attrs in figure.all("svg"))
        assert len(figure.all("svg")) == 2
        assert len(figure.all("table")) == 1
        assert len(figure.all("td")) > 0
