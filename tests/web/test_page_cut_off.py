"""The page offers the threshold that was measured for a retriever, and only where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from acting import cards, scores, searched, state_of
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PATH = "/v1/retrievers/products/calibration"
Calibrate = Callable[..., None]


@pytest.fixture
def calibrate(site) -> Iterator[Calibrate]:
    """Stores thresholds by kind of query for the retriever `products`, until the test ends."""
    measured = {"wanted": 0.9, "precision": 0.91, "low": 0.86, "high": 0.95, "recall": 0.7}
    with httpx.Client(base_url=site.address) as client:

        def store(**min_scores: float) -> None:
            told = client.get("/v1/retrievers/products").json()
            thresholds = {
                kind: {"min_score": each, "empty": 0.1, "count": 120, "pairs": 1200, **measured}
                for kind, each in min_scores.items()
            }
            body = {"scores": told["scores"], "basis": "judgments", "thresholds": thresholds}
            client.put(PATH, json=body).raise_for_status()

        yield store
        client.delete(PATH)


def control(page: Page):
    return page.get_by_label("Only confident matches")


def test_the_threshold_is_offered_for_searches_that_it_was_measured_for(open_page, site, calibrate):
    page = open_page("?q=mug&k=48")
    searched(page)
    expect(control(page)).to_be_hidden()
    found = scores(page)
    middle = (found[9] + found[10]) / 2
    calibrate(text=middle)

    page.reload()
    searched(page)
    expect(control(page)).not_to_be_checked()
    tool = page.locator("#auto-score-tool")
    expect(tool).to_have_attribute("title", re.compile("91 % of them were right in 120 measured"))
    control(page).check()
    expect(cards(page)).to_have_count(sum(each >= middle for each in found))
    assert state_of(page)["min"] == "auto"
    expect(page.locator("#min-score-value")).to_have_text(f"{middle:.2f}")

    page.get_by_label("Score from").fill("0")
    expect(cards(page)).to_have_count(len(found))
    expect(control(page)).not_to_be_checked()
    assert "min" not in state_of(page)
    page.goto(f"{site.address}/?like={site.entries[0]['document_id']}&of=catalogue")
    searched(page)
    expect(control(page)).to_be_hidden()


def test_an_empty_answer_tells_its_reason_and_the_way_out(open_page, calibrate):
    calibrate(text=0.99)
    page = open_page("?q=mug")
    searched(page)
    control(page).check()
    expect(page.get_by_text("No picture is a confident match.")).to_be_visible()
    reason = "No result reaches the score 0.99, which was measured for searches by words"
    expect(page.locator("#warnings")).to_contain_text(reason)
    page.get_by_role("button", name="Any score").click()
    searched(page)
    expect(control(page)).not_to_be_checked()


def test_an_address_that_asks_for_a_threshold_that_is_not_there_is_answered_in_full(open_page):
    page = open_page("?q=mug&min=auto&k=12")
    searched(page)
    expect(cards(page)).to_have_count(12)
    expect(page.locator("#warnings")).to_contain_text("Nothing is left out: no threshold")
