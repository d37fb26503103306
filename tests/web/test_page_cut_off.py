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


def test_a_threshold_that_no_longer_holds_is_told_and_not_used(open_page, context, calibrate):
    calibrate(text=0.99)

    def changed_since(route):
        told = route.fetch().json()
        for each in told["items"]:
            if each["calibration"]:
                each["calibration"] |= {"holds": False, "changed": ["model of catalogue"]}
        route.fulfill(json=told)

    context.route("**/v1/retrievers?*", changed_since)
    page = open_page("?q=mug&k=12")
    searched(page)
    expect(cards(page)).to_have_count(12)
    expect(control(page)).to_be_disabled()
    tool = page.locator("#auto-score-tool")
    expect(tool).to_contain_text("(outdated)")
    expect(tool).to_have_attribute("title", re.compile("has changed: model of catalogue"))
    page.goto(f"{page.url}&min=auto")
    searched(page)
    told = "Nothing is left out. The threshold for confident matches is not used"
    expect(page.locator("#warnings")).to_contain_text(told)


@pytest.mark.parametrize(
    "words", ["red mug", "rote Tasse", "taza roja", "tasse rouge", "赤いマグカップ"]
)
def test_confident_matches_are_found_in_every_language_of_the_model(open_page, calibrate, words):
    calibrate(text=0.1)
    page = open_page(f"?q={words}&min=auto&k=12")
    searched(page)
    expect(control(page)).to_be_checked()
    expect(page.locator("#warnings")).not_to_contain_text("Nothing is left out")


def test_an_address_that_asks_for_a_threshold_that_is_not_there_is_answered_in_full(open_page):
    page = open_page("?q=mug&min=auto&k=12")
    searched(page)
    expect(cards(page)).to_have_count(12)
    expect(page.locator("#warnings")).to_contain_text("Nothing is left out: no threshold")
