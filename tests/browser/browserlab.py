"""Chromium by its driver: a page opened from disk, and what it did; and the pages that the tests open."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from synthetic_pages import write_hostile, write_whole

from bench.commands.publish import PUBLISHED
from bench.commands.reporting import several
from reports import index
from reports.page import PAGE, render

HERE = Path(__file__).resolve().parents[2] / PUBLISHED
# Runs that are published in this repository.
NAMES = sorted(path.parent.name for path in HERE.glob("*/run.json"))

# Where screenshots are kept to be looked at; nowhere without it.
SHOTS = os.environ.get("BENCH_SHOTS", "")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root has none; the pages are our own
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    # No name resolves, and whatever is asked for by number goes to a port that is closed.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=127.0.0.1:9",
    "--disable-background-networking",
)


class Browser:
    """One window. `open` begins anew: what was asked for and said before does not count."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1440, scheme: str = "light", media: str = "screen") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._cdp("Emulation.setEmulatedMedia", media=media, features=features)
        self._cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.requests()
        self.said()
        self.driver.get(page.as_uri())

    def requests(self) -> list[str]:
        """What was asked for since `open`, the page itself and what lies in it left out."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        asked = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
        urls = [params["request"]["url"] for params in asked if params.get("type") != "Document"]
        return [url for url in urls if not url.startswith("data:")]

    def said(self) -> list[str]:
        """What is on the console since `open`."""
        return [str(entry["message"]) for entry in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        """Its lines since it was asked last."""
        lines: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return lines

    def run(self, script: str, *args: Any) -> Any:
        """What a function body answers in the page."""
        return self.driver.execute_script(script, *args)

    def violations(self) -> list[dict[str, Any]]:
        """What axe-core calls serious or critical."""
        self.run(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
        found = self.driver.execute_async_script(
            "const done = arguments[0];"
            "axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations), e => done(String(e)));"
        )
        assert isinstance(found, list), found
        return [item for item in found if item["impact"] in ("serious", "critical")]

    def shoot(self, name: str) -> bytes:
        """A picture of the whole page, kept in SHOTS."""
        size = self._cdp("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 12_000), "scale": 1}
        picture = self._cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        return self._kept(f"{name}.png", picture)

    def print(self, name: str) -> bytes:
        """The page as it is printed on A4, a PDF, kept in SHOTS."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False, "preferCSSPageSize": True}
        return self._kept(f"{name}.pdf", self._cdp("Page.printToPDF", **paper)["data"])

    def _kept(self, name: str, encoded: str) -> bytes:
        data = base64.b64decode(encoded)
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            (Path(SHOTS) / name).write_bytes(data)
        return data

    def _cdp(self, command: str, **params: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.driver.execute_cdp_cmd(command, params)
        return answer


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """A browser that is gone at the end of the block."""
    options = Options()
    for option in _OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # Chromium leaves files in its temporary folder. It may still be writing there when its driver has gone.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        service = Service(shutil.which("chromedriver"), env={**os.environ, "TMPDIR": folder})
        driver = webdriver.Chrome(options=options, service=service)
        try:
            driver.set_script_timeout(120)
            yield Browser(driver)
        finally:
            driver.quit()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with started() as found:
        yield found


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Page by name: "whole" and "hostile" of synthetic runs, "index" and "several" of them, each published run."""
    folder = tmp_path_factory.mktemp("pages")
    whole, hostile = write_whole(folder / "out/whole"), write_hostile(folder / "out/hostile")
    found = {"whole": render(whole), "hostile": render(hostile), "index": index.render(folder / "out")}
    again = write_whole(folder / "out2/whole")
    found["several"] = several([whole, again], folder / "out2/several.html")
    # As they are: tests/unit/test_publish.py makes them again, byte for byte.
    return found | {name: HERE / name / PAGE for name in NAMES}
