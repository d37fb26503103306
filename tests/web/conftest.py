"""A real Chromium in front of the real service; skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.servers import serving

sys.path.insert(0, str(Path(__file__).parent))

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from website import config, fill

from lookalike_serving.demo.catalogue import render_catalogue

_PATH = "LOOKALIKE_CHROMIUM"
PATIENCE_MS = 60_000
"""What is waited for comes in milliseconds; a machine at its limits may take far longer."""
expect.set_options(timeout=PATIENCE_MS)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def program() -> str:
    """Where Chromium is."""
    path = os.environ.get(_PATH) or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None or not Path(path).exists():
        pytest.skip(f"no Chromium at {path or '/usr/bin/chromium'}: install it, or set {_PATH}")
    return path


@pytest.fixture(scope="module")
def chromium(program: str) -> Iterator[Browser]:
    """It ends with its file: while Playwright runs, its event loop keeps asyncio's tests out."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_FLAGS])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    render_catalogue(folder, 60, seed=7)
    return folder


@pytest.fixture(scope="session")
def site(program: str, catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(config(tmp_path_factory.mktemp("data"))) as address:
        yield Site(address, fill(address, catalogue), catalogue)


class Site:
    """Where the service is, and what it holds."""

    def __init__(self, address: str, entries: list[dict[str, Any]], folder: Path) -> None:
        self.address = address
        self.entries = entries
        self.folder = folder

    def picture(self, entry: dict[str, Any]) -> Path:
        return self.folder / entry["file"]


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser nobody has used yet. Anything that fails in a page fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(context: BrowserContext, site: Site) -> Iterator[Open]:
    """Opens the search page at a query; at the end no page may have met an error of its own."""
    faults: list[str] = []

    def start(query: str = "", *, address: str | None = None, expect_failure: bool = False) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        if not expect_failure:
            page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.goto((address or site.address) + "/" + query)
        return page

    yield start
    assert faults == []
