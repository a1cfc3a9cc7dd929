"""Fixtures of the browser tests."""

from browserlab import browser, pages

__all__ = ["browser", "pages"]
