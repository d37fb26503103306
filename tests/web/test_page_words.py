"""What the page says when something is not as it should be: in people's words, never the API's."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

import pytest
from acting import DROP, cards, searched, state_of
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\x00" * 64


def upload(content: bytes, type_: str, name: str) -> list[str]:
    return [base64.b64encode(content).decode(), type_, name, ""]


def test_a_slash_goes_to_the_search_from_wherever_no_text_is_typed(open_page):
    page = open_page("?q=mug")
    searched(page)
    box = page.get_by_label("What to look for, in words")
    tick = page.locator('[data-field="kind"]').get_by_role("checkbox").first
    for place in (tick, page.get_by_label("Score from"), page.get_by_label("How many results")):
        place.focus()
        page.keyboard.press("/")
        expect(box).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.type(" 1/2 ")
    expect(box).to_have_value("mug 1/2 ")
    expect(tick).not_to_be_checked()
    page.get_by_label("Price from").focus()
    page.keyboard.press("/")
    expect(page.get_by_label("Price from")).to_be_focused()


def test_the_slash_that_one_arrives_with_is_not_typed(open_page):
    page = open_page()
    expect(cards(page)).to_have_count(48)
    page.keyboard.press("/")
    expect(page.get_by_label("What to look for, in words")).to_be_focused()
    expect(page.get_by_label("What to look for, in words")).to_have_value("")


def test_files_that_cannot_be_read_are_told_as_the_service_found_them(open_page):
    page = open_page(expect_failure=True)
    expect(cards(page)).to_have_count(48)
    alert = page.get_by_role("alert")
    for content, title in (
        (b"%PDF-1.7 not a picture", "That is not a picture"),
        (b"\xff\xd8\xff\xe0 half of one", "The picture is"),
        (HEIC, "Pictures of this kind cannot be read here"),
    ):
        with page.expect_response("**/search") as answer:
            page.evaluate(DROP, upload(content, "image/jpeg", "IMG_1.HEIC"))
        problem = answer.value.json()
        expect(alert).to_contain_text(problem["detail"][1:40])
        if content != HEIC or problem["code"] == "image-unsupported-format":
            expect(alert.get_by_role("heading")).to_contain_text(title)


def test_a_picture_too_large_to_send_is_told_from_a_service_that_is_gone(open_page):
    page = open_page(expect_failure=True)
    expect(cards(page)).to_have_count(48)
    alert = page.get_by_role("alert")
    told = [
        "The image has 40 MB, more than 33.6 MB",
        "The picture (is too large to|could not be) sen",
    ]
    for size, sentence in zip((40e6, 70e6), told, strict=True):
        grown = DROP.replace("[bytes]", f"[bytes, new Uint8Array({size - 3})]")
        page.evaluate(grown, upload(b"\xff\xd8\xff", "image/jpeg", "large.jpg"))
        expect(alert).to_contain_text(re.compile(sentence))


def test_a_range_that_is_upside_down_can_be_turned_round(open_page):
    page = open_page("?q=mug&filters=" + quote('{"price":{"gte":80,"lte":20}}'))
    expect(page.get_by_role("heading", name="The range of Price is upside down")).to_be_visible()
    page.get_by_role("button", name="Turn it round").click()
    searched(page)
    assert json.loads(state_of(page)["filters"]) == {"price": {"gte": 20, "lte": 80}}


def test_a_filter_that_is_not_understood_is_named_and_can_be_removed(open_page):
    wrong = {"price": {"gte": "cheap"}, "kind": {"in": ["mug"]}}
    page = open_page("?q=mug&filters=" + quote(json.dumps(wrong)), expect_failure=True)
    alert = page.get_by_role("alert")
    expect(alert.get_by_role("heading")).to_have_text("The filter Price is not understood")
    expect(alert).not_to_contain_text("filters")
    page.get_by_role("button", name="Remove the filter", exact=True).click()
    searched(page)
    assert json.loads(state_of(page)["filters"]) == {"kind": {"in": ["mug"]}}


def test_a_document_that_is_gone_can_be_left_out_of_the_search(open_page):
    page = open_page("?q=mug&not=catalogue/none", expect_failure=True)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("A picture that is left out cannot be searched for")
    page.get_by_role("button", name="Search without it").click()
    searched(page)
    assert state_of(page) == {"q": "mug"}


def test_no_results_under_filters_offer_to_clear_them(open_page):
    page = open_page("?q=mug&filters=" + quote('{"price":{"gte":100000}}'))
    expect(page.get_by_text("No picture is left under these filters.")).to_be_visible()
    page.get_by_role("button", name="Clear the filters").click()
    searched(page)


def test_a_key_that_was_withdrawn_is_asked_for_anew(open_page, context):
    page = open_page("?q=mug", expect_failure=True)
    searched(page)
    page.evaluate("sessionStorage.setItem('lookalike.api-key', 'old')")
    page.reload()
    searched(page)
    refused = {"status": 401, "code": "unauthorized", "detail": "Send `Authorization`."}
    context.route("**/search", lambda route: route.fulfill(status=401, json=refused))
    page.get_by_label("What to look for, in words").fill("shoe")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="The API key is no longer accepted")
    expect(dialog).not_to_contain_text("Authorization")
    context.unroute("**/search")
    dialog.get_by_label("API key").fill("new")
    page.keyboard.press("Enter")
    searched(page)


def test_pictures_that_are_read_in_are_told_and_come_into_view(open_page, context):
    run = {"listed": 60, "listed_all": True, "done": 12, "failed": 2, "images_per_second": 8.5}
    answers = iter(
        [
            {"documents": 0, "ingestion": run | {"eta_seconds": 5.6}},
        ]
    )

    def told(route):
        answer = route.fetch()
        body = answer.json()
        changes = next(answers, {})
        for each in body.get("items", [body]):
            each |= changes
        route.fulfill(response=answer, json=body)

    context.route("**/v1/collections?*", told)
    context.route("**/v1/collections/catalogue", told)
    page = open_page()
    bar = page.locator("#ingesting")
    expect(bar).to_contain_text("12 of 60 · 8.5 a second · about 6 s left · 2 could not be read")
    expect(bar).to_be_hidden()
    expect(page.locator("#news")).to_have_text("All pictures have been read in.")
    expect(cards(page)).to_have_count(48)


def test_pictures_that_could_not_be_read_in_are_told_by_cause(open_page, context):
    left = [
        {"code": "image-truncated", "count": 2, "remedy": "Send the whole file."},
        {"code": "entry-bad-id", "count": 1, "remedy": "Correct the id."},
    ]
    items = [{"key": f"<b>{name}</b>.jpg"} for name in ("one", "two", "three")]

    def told(route):
        answer = route.fetch()
        assert set(answer.json()) == {"items", "next_cursor", "by_code"}
        route.fulfill(json={"items": items, "next_cursor": None, "by_code": left})

    context.route("**/v1/collections/catalogue/failures?*", told)
    page = open_page()
    summary = page.locator("#failed summary")
    expect(summary).to_have_text("3 pictures could not be read in")
    summary.click()
    causes = page.locator("#failed li")
    expect(causes.nth(0)).to_have_text("2 × The picture is not whole Send the whole file.")
    expect(causes.nth(1)).to_have_text("1 × The name or id cannot be used Correct the id.")
    expect(page.locator("#failed p")).to_contain_text("That is <b>one</b>.jpg, <b>two</b>.jpg")


def test_nothing_is_said_of_failures_where_there_are_none(open_page):
    page = open_page()
    expect(cards(page)).to_have_count(48)
    expect(page.locator("#failed")).to_be_hidden()
