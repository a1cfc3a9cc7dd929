"""Reads a rendered page as a browser would find it: elements, ids, text. For the tests of reports."""

from __future__ import annotations

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
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def rendered(run: Path) -> Reader:
    """The page of a run folder."""
    return Reader(render(run).read_text(encoding="utf-8"))
