"""Nobody is shut out: axe-core over the page's states, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from acting import cards, searched
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def faults(page: Page, *rules: str) -> list[str]:
    """What axe finds; of these rules alone, or by all standards."""
    options = {"runOnly": list(rules or STANDARDS), "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {node['html'][:160]}: {node['failureSummary']}"
        for each in found
        for node in each["nodes"][:3]
    ]


def browsing(page: Page) -> None:
    expect(cards(page)).to_have_count(48)


def found(page: Page) -> None:
    searched(page)
    cards(page).nth(1).hover()
    cards(page).nth(1).get_by_role("checkbox").check()
    cards(page).nth(2).get_by_role("checkbox").check()


def details(page: Page) -> None:
    found(page)
    cards(page).first.locator(".card-open").click()
    expect(page.locator("#details img.loaded")).to_be_visible()


def edited(page: Page) -> None:
    details(page)
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Price", exact=True).fill("cheap")
    page.get_by_role("button", name="Save", exact=True).click()


def compared(page: Page) -> None:
    found(page)
    page.get_by_role("button", name="Compare").click()


def cropped(page: Page) -> None:
    searched(page)
    page.get_by_role("button", name="Search by a part of the picture").click()
    expect(page.get_by_role("group", name="Part to search by")).to_be_focused()


def asked(page: Page) -> None:
    found(page)
    page.locator("#picked").get_by_role("button", name="Delete").click()


def empty(page: Page) -> None:
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()
    text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    page.locator("#add-files").set_input_files(text)
    expect(page.get_by_role("region", name="1 failed")).to_be_visible()


def failed(page: Page) -> None:
    expect(page.get_by_role("alert")).to_be_visible()


STATES: dict[Callable[[Page], None], str] = {
    browsing: "",
    found: "?q=zeppelin+mug&not=catalogue/product-000001&filters=" + quote('{"price":{"gte":1}}'),
    edited: "?q=mug",
    compared: "?q=mug",
    cropped: "?like=product-000001&of=catalogue",
    asked: "?q=mug",
    empty: "?in=void",
    failed: "?like=none&of=catalogue",
}


def test_axe_finds_nothing_in_any_state(open_page, site):
    page = open_page(expect_failure=True)
    page.emulate_media(reduced_motion="reduce")
    told = {}
    light = [(reach, "light", ()) for reach in STATES]
    dark = [(reach, "dark", ("color-contrast",)) for reach in (found, edited, empty, failed)]
    for reach, scheme, rules in light + dark:
        page.goto("about:blank")
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{site.address}/{STATES[reach]}")
        reach(page)
        told[f"{reach.__name__}, {scheme}"] = faults(page, *rules)
    assert {state: found for state, found in told.items() if found} == {}


def test_axe_finds_nothing_on_a_phone(open_page):
    page = open_page("?q=mug")
    page.emulate_media(reduced_motion="reduce")
    page.set_viewport_size({"width": 360, "height": 740})
    searched(page)
    page.get_by_role("button", name="Filters", exact=True).click()
    assert faults(page) == []
