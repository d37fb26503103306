"""The search page as a person uses it, in Chromium, against the real service."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections import Counter
from urllib.parse import quote, urlsplit

import httpx
import pytest
from acting import (
    DROP,
    PASTE,
    as_file,
    cards,
    ids,
    scores,
    search,
    searched,
    state_of,
)
from playwright.sync_api import Page, expect
from tests.support.servers import serving
from website import config

pytestmark = pytest.mark.browser


def test_before_any_search_it_shows_what_there_is(open_page, site):
    page = open_page()
    expect(cards(page)).to_have_count(48)
    expect(page.locator("#status")).to_have_text("60 documents")
    page.get_by_role("button", name="Show more").click()
    expect(cards(page)).to_have_count(60)
    assert set(ids(page)) == {entry["document_id"] for entry in site.entries}


def test_words_find_results_with_pictures_and_falling_scores(open_page):
    page = open_page()
    search(page, "red striped mug")
    expect(cards(page)).to_have_count(24)
    expect(page.locator(".card img.loaded").first).to_be_visible()
    found = scores(page)
    assert found == sorted(found, reverse=True)
    assert "red striped mug" in page.title()


def test_the_words_matter(open_page):
    page = open_page()
    search(page, "mug")
    mugs = ids(page)
    search(page, "umbrella")
    assert ids(page) != mugs


def test_a_dropped_picture_finds_itself(open_page, site):
    page = open_page()
    entry = site.entries[5]
    page.evaluate(DROP, as_file(site.picture(entry)))
    searched(page)
    assert ids(page)[0] == entry["document_id"]
    assert scores(page)[0] > 0.999


def test_a_chosen_picture_finds_itself(open_page, site):
    page = open_page()
    entry = site.entries[9]
    page.locator("#file").set_input_files(site.picture(entry))
    searched(page)
    assert ids(page)[0] == entry["document_id"]


def test_a_pasted_picture_finds_itself(open_page, site):
    page = open_page()
    entry = site.entries[3]
    page.evaluate(PASTE, as_file(site.picture(entry))[:3])
    searched(page)
    assert ids(page)[0] == entry["document_id"]


def test_a_result_dragged_onto_the_page_is_a_document_not_an_upload(open_page, site):
    page = open_page()
    id = site.entries[2]["document_id"]
    thumbnail = f"{site.address}/v1/collections/catalogue/documents/{id}/thumbnail?size=384"
    page.evaluate(DROP, ["", "", "", thumbnail])
    searched(page)
    assert state_of(page) == {"like": id, "of": "catalogue"}


@pytest.mark.parametrize("dropped", ["picture", "words"])
def test_what_is_dropped_before_the_page_is_ready_is_not_lost(open_page, site, context, dropped):
    waiting = []
    context.route("**/v1/retrievers?*", lambda route: waiting.append(route))
    page = open_page()
    deadline = time.monotonic() + 60
    while not waiting:
        assert time.monotonic() < deadline, "the page never asked for its retrievers"
        page.wait_for_timeout(10)
    picture = as_file(site.picture(site.entries[5]))
    words = [base64.b64encode(b"hello").decode(), "text/plain", "notes.txt", ""]
    page.evaluate(DROP, picture if dropped == "picture" else words)
    for route in waiting:
        route.continue_()
    if dropped == "picture":
        searched(page)
        assert ids(page)[0] == site.entries[5]["document_id"]
    else:
        expect(page.locator("#notice")).to_have_text("notes.txt is text/plain, not a picture.")


def test_something_dropped_that_is_no_picture_is_refused_in_words(open_page):
    page = open_page()
    page.evaluate(DROP, [base64.b64encode(b"hello").decode(), "text/plain", "notes.txt", ""])
    expect(page.locator("#notice")).to_have_text("notes.txt is text/plain, not a picture.")


def test_words_and_a_picture_are_searched_together(open_page, site):
    page = open_page(f"?like={site.entries[0]['document_id']}&of=catalogue")
    searched(page)
    alone = ids(page)
    with page.expect_request(re.compile("/search$")) as sent:
        page.get_by_label("What to look for, in words").fill("green")
        page.keyboard.press("Enter")
    queries = sent.value.post_data_json["queries"]
    assert [(q["type"], q["weight"]) for q in queries] == [("document", 0.5), ("text", 0.5)]
    searched(page)
    page.locator("#balance").fill("90")
    with page.expect_request(re.compile("/search$")) as sent:
        page.locator("#balance").dispatch_event("change")
    assert [q["weight"] for q in sent.value.post_data_json["queries"]] == [0.1, 0.9]
    searched(page)
    assert ids(page) != alone
    assert state_of(page)["words"] == "0.9"


def test_a_keyword_filter_narrows_to_its_value(open_page, site):
    page = open_page("?q=striped")
    searched(page)
    kind = site.entries[0]["kind"]
    group = page.locator('[data-field="kind"]')
    group.get_by_role("button", name=re.compile("Show all")).click()
    with page.expect_response(re.compile("/search$")):
        group.get_by_role("checkbox", name=kind).check()
    searched(page)
    expected = {entry["document_id"] for entry in site.entries if entry["kind"] == kind}
    assert set(ids(page)) == expected
    with page.expect_response(re.compile("/search$")):
        page.get_by_role("button", name=f"Remove the filter Kind: {kind}").click()
    expect(cards(page)).to_have_count(24)


def counts(page: Page, field: str) -> dict[str, int]:
    """What the panel tells of a field's values."""
    options = page.locator(f'[data-field="{field}"] .option')
    told = options.evaluate_all(
        "all => all.map((each) => [...each.querySelectorAll('span')].map((s) => s.textContent))"
    )
    return {value: int(count) for value, count in told}


def test_counts_are_of_all_documents_and_follow_the_other_filters(open_page, site):
    colour = site.entries[0]["colour"]
    page = open_page("?q=mug&k=12&filters=" + quote(json.dumps({"colour": {"in": [colour]}})))
    searched(page)
    same = [entry for entry in site.entries if entry["colour"] == colour]
    total = "1 document" if len(same) == 1 else f"{len(same)} documents"
    expect(page.locator("#total")).to_have_text(f"of {total}")
    expect(page.locator(".filters-total")).to_have_text(total)
    assert counts(page, "kind") == Counter(entry["kind"] for entry in same)
    # The field's own choice takes nothing from its other values.
    page.locator('[data-field="colour"]').get_by_role("button", name="Show").click()
    colours = Counter(entry["colour"] for entry in site.entries)
    expect(page.locator('[data-field="colour"] .option')).to_have_count(len(colours))
    assert counts(page, "colour") == colours
    in_stock = sum(entry["status"] == "active" for entry in same)
    expect(page.locator('[data-field="in_stock"]').get_by_text("Yes")).to_contain_text(
        str(in_stock)
    )


def test_values_of_a_long_list_are_found_by_a_part_of_their_name(open_page, site):
    page = open_page("?q=striped")
    searched(page)
    kinds = {entry["kind"] for entry in site.entries}
    group = page.locator('[data-field="kind"]')
    expect(group.get_by_role("button", name=f"Show all {len(kinds)}")).to_be_visible()
    part = sorted(kinds)[-1][1:4]
    page.get_by_label("Kind: find a value").fill(part.upper())
    expected = {kind for kind in kinds if part in kind}
    expect(group.locator(".option")).to_have_count(len(expected))
    assert set(counts(page, "kind")) == expected
    page.get_by_label("Kind: find a value").fill("spaceship")
    expect(group.get_by_text("No value contains “spaceship”.")).to_be_visible()
    page.get_by_label("Kind: find a value").fill("")
    expect(group.locator(".option")).to_have_count(8)


def test_ranges_show_how_their_values_are_spread(open_page, site):
    page = open_page()
    prices = sorted(entry["price"] for entry in site.entries)
    bars = page.locator('[data-field="price"] .bars rect')
    expect(bars.first).to_be_attached()
    told = [int(text.rsplit(": ")[1]) for text in bars.locator("title").all_text_contents()]
    assert sum(told) == len(site.entries)
    expect(page.get_by_label("Price from", exact=True)).to_have_attribute(
        "placeholder", re.compile(f"^{prices[0]:.3g}")
    )
    expect(page.locator('[data-field="price"] .beyond')).to_have_count(0)
    page.get_by_label("Price up to").fill(str(prices[len(prices) // 2]))
    page.keyboard.press("Tab")
    expect(page.locator('[data-field="price"] .beyond').first).to_be_attached()
    # The bars stay: a field leaves out its own choice.
    expect(bars).to_have_count(len(told))
    expect(page.locator('[data-field="added"] .bars rect').first).to_be_attached()


def test_without_counts_the_filters_work_and_the_page_says_so(open_page, context, site):
    context.route("**/facets", lambda route: route.fulfill(status=503, json={"detail": "Busy."}))
    chosen = quote(json.dumps({"kind": {"in": ["mug"]}}))
    page = open_page(f"?q=mug&filters={chosen}", expect_failure=True)
    searched(page)
    expect(page.get_by_text("The service does not tell counts at present.")).to_be_visible()
    expect(page.get_by_role("checkbox", name="mug", exact=True)).to_be_checked()
    page.get_by_label("Price up to").fill("40")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Active filters").locator("li")).to_have_count(2)
    context.unroute("**/facets")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".filters-total")).to_have_text("60 documents")
    expect(page.get_by_text("The service does not tell counts at present.")).to_be_hidden()


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"price": {"gte": 20, "lte": 80}}, lambda e: 20 <= e["price"] <= 80),
        ({"in_stock": {"eq": False}}, lambda e: e["status"] != "active"),
        (
            {"added": {"gte": "2024-06-01", "lte": "2025-02-28"}},
            lambda e: "2024-06-01" <= e["added"][:10] <= "2025-02-28",
        ),
    ],
    ids=["number", "bool", "date"],
)
def test_filters_of_every_type_hold_what_they_say(open_page, site, filters, holds):
    page = open_page(f"?q=mug&k=200&filters={quote(json.dumps(filters))}")
    searched(page)
    expected = {entry["document_id"] for entry in site.entries if holds(entry)}
    assert expected
    assert set(ids(page)) == expected


def test_filters_are_set_from_the_panel(open_page):
    page = open_page("?q=mug")
    searched(page)
    page.get_by_label("Price up to").fill("40")
    page.keyboard.press("Tab")
    page.locator('[data-field="in_stock"]').get_by_text("Yes").click()
    page.get_by_label("Added from").fill("2024-03-01")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Active filters").locator("li")).to_have_count(3)
    assert json.loads(state_of(page)["filters"]) == {
        "price": {"lte": 40},
        "in_stock": {"eq": True},
        "added": {"gte": "2024-03-01"},
    }


def test_what_is_typed_into_a_filter_outlives_the_counts_that_arrive_meanwhile(open_page, context):
    held = []
    context.route("**/facets", lambda route: held.append(route))
    page = open_page("?q=mug")
    searched(page)
    page.get_by_label("Price up to").focus()
    page.keyboard.type("4")
    for route in held:
        route.continue_()
    context.unroute("**/facets")
    expect(page.locator('[data-field="kind"]').get_by_role("checkbox").first).to_be_visible()
    page.keyboard.type("0")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Active filters").locator("li")).to_have_count(1)
    assert json.loads(state_of(page)["filters"]) == {"price": {"lte": 40}}


def test_filters_hold_without_a_query_too(open_page, site):
    colour = site.entries[0]["colour"]
    page = open_page("?filters=" + quote(json.dumps({"colour": {"in": [colour]}})))
    expected = {entry["document_id"] for entry in site.entries if entry["colour"] == colour}
    expect(cards(page)).to_have_count(len(expected))
    assert set(ids(page)) == expected


def test_the_slider_leaves_out_low_scores(open_page, site):
    page = open_page(f"?like={site.entries[0]['document_id']}&of=catalogue&k=48")
    searched(page)
    before = scores(page)
    middle = round(before[len(before) // 2], 2)
    with page.expect_response(re.compile("/search$")):
        page.get_by_label("Score from").fill(str(middle))
    searched(page)
    after = scores(page)
    assert 0 < len(after) < len(before)
    assert min(after) >= middle - 0.0005
    assert state_of(page)["min"] == str(middle)


def test_how_many_are_shown_can_be_chosen_and_raised(open_page):
    page = open_page("?q=mug&k=12")
    searched(page)
    expect(cards(page)).to_have_count(12)
    page.get_by_role("button", name="Show more").click()
    expect(cards(page)).to_have_count(24)
    page.get_by_label("How many results to show").select_option("48")
    expect(cards(page)).to_have_count(48)


def test_more_like_this_searches_with_the_result(open_page):
    page = open_page("?q=mug")
    searched(page)
    chosen = ids(page)[3]
    cards(page).nth(3).hover()
    with page.expect_response(re.compile("/search$")):
        cards(page).nth(3).get_by_role("button", name=re.compile("^More like")).click()
    searched(page)
    assert state_of(page) == {"like": chosen, "of": "catalogue"}
    expect(page.locator("#chip")).to_contain_text(chosen)
    assert chosen not in ids(page)


def test_details_tell_everything_and_lead_on(open_page, site):
    page = open_page("?q=mug")
    searched(page)
    chosen = ids(page)[0]
    entry = next(entry for entry in site.entries if entry["document_id"] == chosen)
    cards(page).first.locator(".card-open").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=entry["title"])).to_be_visible()
    for told in (chosen, entry["colour"], str(entry["price"])):
        expect(dialog.locator("dl")).to_contain_text(told)
    expect(dialog.locator("img.loaded")).to_be_visible()
    dialog.get_by_role("button", name="More like this").click()
    expect(dialog).to_be_hidden()
    assert state_of(page)["like"] == chosen
    page.go_back()
    searched(page)
    assert state_of(page) == {"q": "mug"}


def test_the_code_in_the_details_is_the_search(open_page, tmp_path):
    page = open_page("?q=it%27s%20%22red%22&min=0.01&filters=" + quote('{"in_stock":{"eq":true}}'))
    searched(page)
    found = ids(page)
    cards(page).first.locator(".card-open").click()
    code = page.get_by_label("This search as code")
    curl = code.inner_text()
    answered = subprocess.run(["bash", "-c", curl], capture_output=True, check=True, timeout=120)
    results = json.loads(answered.stdout)["results"]
    assert [result["document_id"] for result in results] == found
    page.get_by_role("tab", name="Python").click()
    python = code.inner_text()
    assert "True" in python
    compile(python, "snippet", "exec")
    assert 'client.retrievers.search(\n    retriever_id="products"' in python


def test_an_address_brings_the_whole_search_back(open_page):
    page = open_page()
    search(page, "blue shoe")
    page.get_by_label("Price from").fill("10")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Active filters").locator("li")).to_have_count(1)
    page.get_by_label("How many results to show").select_option("12")
    expect(cards(page)).to_have_count(12)
    found = ids(page)
    again = open_page("?" + urlsplit(page.url).query)
    searched(again)
    assert ids(again) == found
    expect(again.get_by_label("What to look for, in words")).to_have_value("blue shoe")
    expect(again.get_by_label("Price from", exact=True)).to_have_value("10")


def test_an_uploaded_picture_is_not_in_the_address_and_the_page_says_so(open_page, site):
    page = open_page()
    page.locator("#file").set_input_files(site.picture(site.entries[0]))
    searched(page)
    expect(page.locator("#notice")).to_contain_text("cannot carry it")
    assert state_of(page) == {"image": "upload"}
    again = open_page("?" + urlsplit(page.url).query)
    heading = again.get_by_role("heading", name="This search was made with an uploaded picture")
    expect(heading).to_be_visible()
    again.get_by_role("button", name="Search without it").click()
    expect(cards(again)).to_have_count(48)


@pytest.mark.parametrize(
    "query",
    [
        "?filters=nonsense&min=abc&k=-3&image=javascript:alert(1)",
        "?filters=[1,2]&k=99999&words=7",
        "?filters=" + quote(json.dumps({"kind": {"in": [1, None]}, "__proto__": {"eq": True}})),
    ],
)
def test_an_address_that_makes_no_sense_shows_the_plain_page(open_page, query):
    page = open_page(query)
    expect(cards(page)).to_have_count(48)


def test_an_unknown_retriever_in_the_address_is_told(open_page):
    page = open_page("?in=nowhere")
    expect(page.locator("#notice")).to_contain_text("There is no retriever “nowhere”")
    expect(cards(page)).to_have_count(48)


def test_back_and_forward_go_through_searches(open_page, site):
    page = open_page()
    search(page, "mug")
    mugs = ids(page)
    search(page, "shoe")
    shoes = ids(page)
    page.locator("#file").set_input_files(site.picture(site.entries[0]))
    expect(page.locator("#chip")).to_be_visible()
    searched(page)
    page.go_back()
    expect(page.locator("#chip")).to_be_hidden()
    searched(page)
    assert ids(page) == shoes
    page.go_back()
    expect(page.get_by_label("What to look for, in words")).to_have_value("mug")
    searched(page)
    assert ids(page) == mugs
    page.go_back()
    expect(page.locator("#status")).to_have_text("60 documents")


def test_going_forward_to_an_upload_still_has_the_picture(open_page, site):
    page = open_page()
    page.locator("#file").set_input_files(site.picture(site.entries[7]))
    searched(page)
    page.go_back()
    expect(page.locator("#status")).to_have_text("60 documents")
    page.go_forward()
    searched(page)
    assert ids(page)[0] == site.entries[7]["document_id"]


def test_back_closes_the_details_and_nothing_else(open_page):
    page = open_page("?q=mug")
    searched(page)
    found = ids(page)
    cards(page).first.locator(".card-open").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert ids(page) == found
    assert state_of(page) == {"q": "mug"}


def test_closing_the_details_leaves_no_step_in_the_history(open_page):
    page = open_page("?q=mug")
    searched(page)
    before = page.evaluate("history.length")
    cards(page).first.locator(".card-open").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.wait_for_function("() => !history.state?.details")
    search(page, "shoe")
    assert page.evaluate("history.length") == before + 1


def test_an_error_is_shown_with_its_title_and_detail(open_page):
    page = open_page("?like=no-such-document&of=catalogue", expect_failure=True)
    alert = page.get_by_role("alert")
    expect(alert.get_by_role("heading")).to_be_visible()
    expect(alert).to_contain_text("There is no document “no-such-document” in catalogue.")
    expect(alert).not_to_contain_text("queries[")
    expect(alert).to_contain_text("Request ")
    expect(alert.get_by_role("button", name="Search without it")).to_be_visible()


def test_a_service_that_went_away_is_told_and_tried_again(open_page, context):
    page = open_page("?q=mug", expect_failure=True)
    searched(page)
    context.set_offline(True)
    page.get_by_label("What to look for, in words").fill("shoe")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This computer is offline")
    context.set_offline(False)
    context.route("**/search", lambda route: route.abort())
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    context.unroute("**/search")
    page.get_by_role("button", name="Try again").click()
    searched(page)


def test_an_empty_collection_says_what_will_appear(open_page):
    page = open_page("?in=void")
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()
    search_box = page.get_by_label("What to look for, in words")
    search_box.fill("mug")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()


def test_words_the_model_does_not_know_find_nothing_and_the_reason_is_shown(open_page):
    page = open_page("?q=zeppelin")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    expect(page.locator(".warning")).to_contain_text("knows none of “zeppelin”")


def test_what_the_model_can_do_is_said_before_a_search(open_page):
    page = open_page()
    expect(page.locator("#ability")).to_contain_text("demo-clip knows the demo catalogue only")


def test_a_model_that_knows_no_words_is_not_asked_for_any(open_page, context):
    def blind(route):
        answer = route.fetch()
        told = answer.json()
        for each in told["items"]:
            each |= {"supports_text": False, "model_ability": "knows no words"}
        route.fulfill(response=answer, json=told)

    context.route("**/v1/collections?*", blind)
    page = open_page()
    box = page.get_by_label("Address of a picture to look for")
    expect(box).to_have_attribute("placeholder", "Drop a picture, or paste one or its address")
    box.fill("mug")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("No words are known here")
    assert "q=" not in page.url


def test_another_retriever_is_another_search(open_page):
    page = open_page()
    expect(cards(page)).to_have_count(48)
    page.get_by_label("Search in").select_option("void")
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()
    assert state_of(page) == {"in": "void"}


def test_warnings_of_the_service_are_shown(open_page):
    page = open_page("?q=mug&filters=" + quote(json.dumps({"title": {"in": ["none such"]}})))
    expect(page.locator(".warning").first).to_contain_text("Filtering by Title is slow")


MARKUP = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def test_markup_in_metadata_is_text(open_page, site):
    metadata = {
        "title": f"xss {MARKUP}",
        "kind": MARKUP,
        "link": "javascript:window.hacked=1",
        MARKUP.replace(".", "").replace('"', ""): MARKUP,
    }
    image = base64.b64encode(site.picture(site.entries[1]).read_bytes()).decode()
    documents = f"{site.address}/v1/collections/catalogue/documents"
    id = "evil'\"><svg onload=alert(1)>"
    sent = httpx.post(documents, json={"document_id": id, "image": image, "metadata": metadata})
    sent.raise_for_status()
    try:
        page = open_page(f"?like={site.entries[1]['document_id']}&of=catalogue")
        searched(page)
        evil = cards(page).filter(has_text="xss").first
        expect(evil).to_contain_text("onerror=")
        evil.locator(".card-open").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("<script>window.hacked=1</script>")
        assert dialog.locator("script").count() == 0
        assert dialog.locator("a[href^=javascript]").count() == 0
        dialog.get_by_role("button", name="More like this").click()
        searched(page)
        assert page.evaluate("window.hacked") is None
    finally:
        httpx.delete(f"{documents}/{quote(id, safe='')}").raise_for_status()


def test_the_keyboard_alone_reaches_everything(open_page):
    page = open_page()
    expect(cards(page)).to_have_count(48)
    expect(page.get_by_label("What to look for, in words")).to_be_focused()
    page.keyboard.type("mug")
    page.keyboard.press("Enter")
    searched(page)
    cards(page).first.locator(".card-open").focus()
    page.keyboard.press("ArrowRight")
    expect(cards(page).nth(1).locator(".card-open")).to_be_focused()
    page.keyboard.press("ArrowDown")
    columns = page.locator(".grid").evaluate(
        "g => getComputedStyle(g).gridTemplateColumns.split(' ').length"
    )
    expect(cards(page).nth(1 + columns).locator(".card-open")).to_be_focused()
    page.keyboard.press("End")
    expect(cards(page).last.locator(".card-open")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(cards(page).last.locator(".card-open")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("What to look for, in words")).to_be_focused()


def test_every_control_has_a_name(open_page):
    page = open_page("?q=mug&filters=" + quote('{"price":{"gte":1}}'))
    searched(page)
    cards(page).first.locator(".card-open").click()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, img")]
             .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim()
               || node.title || node.labels?.length || node.hasAttribute("alt")))
             .map((node) => node.outerHTML)"""
    )
    assert nameless == []


def test_on_a_phone_nothing_is_wider_than_the_screen(chromium, site):
    context = chromium.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    page.goto(site.address + "/?q=mug")
    searched(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator("#filters")).to_be_hidden()
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(page.locator("#filters")).to_be_visible()
    page.locator('[data-field="colour"]').get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("button", name="Filters (1)")).to_be_focused()
    cards(page).first.locator(".card-open").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_a_service_with_keys_asks_for_one_and_keeps_it_for_the_tab(
    chromium, site, tmp_path, context
):
    keys = tmp_path / "keys"
    keys.write_text("open sesame\n")
    with serving(config(tmp_path / "data", keys)) as address:
        picture = site.picture(site.entries[0]).read_bytes()
        sent = httpx.post(
            f"{address}/v1/collections/catalogue/documents",
            files={"image": picture},
            headers={"Authorization": "Bearer open sesame"},
        )
        sent.raise_for_status()
        page = context.new_page()
        page.goto(address)
        page.get_by_label("API key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="That API key is not accepted")).to_be_visible()
        page.get_by_label("API key", exact=True).fill("open sesame")
        page.keyboard.press("Enter")
        expect(cards(page)).to_have_count(1)
        expect(page.locator(".card img.loaded")).to_be_visible()
        page.reload()
        expect(cards(page)).to_have_count(1)
        assert page.evaluate("localStorage.length") == 0


def test_the_page_talks_to_its_own_service_alone(open_page, site):
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    search(page, "mug")
    page.reload()
    searched(page)
    own = (site.address, f"blob:{site.address}")
    assert [url for url in asked if not url.startswith(own)] == []
