"""Looking closer: a part of a picture, two side by side, "not this", and back to where one was."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from acting import cards, ids, search, searched, state_of
from PIL import Image
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def part_shown(page: Page) -> list[int]:
    """Width and height of the part that is searched by, in pixels."""
    page.wait_for_function("() => document.querySelector('#chip img')?.naturalWidth > 0")
    picture = page.locator("#chip img")
    return picture.evaluate("({naturalWidth: w, naturalHeight: h}) => [w, h]")


def test_a_part_of_a_picture_is_searched_for(open_page, site, tmp_path):
    entry, other = site.entries[5], site.entries[6]
    with Image.open(site.picture(entry)) as one, Image.open(site.picture(other)) as two:
        side = min(*one.size, *two.size)
        both = Image.new("RGB", (2 * side, side))
        both.paste(one.convert("RGB").resize((side, side)), (0, 0))
        both.paste(two.convert("RGB").resize((side, side)), (side, 0))
    both.save(tmp_path / "both.png")
    page = open_page()
    page.locator("#file").set_input_files(tmp_path / "both.png")
    searched(page)
    page.get_by_role("button", name="Search by a part of the picture").click()
    dialog = page.get_by_role("dialog", name="Search by a part")
    expect(dialog.get_by_role("group", name="Part to search by")).to_be_focused()
    page.wait_for_function("() => document.querySelector('.crop-stage img').naturalWidth > 0")
    box = dialog.locator(".crop-stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.502, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.7)
    page.mouse.move(box["x"] + box["width"] + 30, box["y"] + box["height"] + 30)
    page.mouse.up()
    with page.expect_response(re.compile("/search$")):
        dialog.get_by_role("button", name="Search by this part").click()
    searched(page)
    assert all(abs(length - side) < side * 0.03 for length in part_shown(page))
    assert ids(page)[0] == other["document_id"]


def test_a_part_of_a_document_is_chosen_by_keys_and_is_in_the_address(open_page, site):
    entry = site.entries[5]
    page = open_page(f"?like={entry['document_id']}&of=catalogue")
    searched(page)
    page.get_by_role("button", name="Search by a part of the picture").click()
    frame = page.get_by_role("group", name="Part to search by")
    expect(frame).to_be_focused()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator("#crop-told")).to_contain_text("62 % wide, 62 % high, 18 % from the left")
    with page.expect_response(re.compile("/search$")):
        page.keyboard.press("Enter")
    searched(page)
    with Image.open(site.picture(entry)) as whole:
        assert part_shown(page) == [round(0.62 * length) for length in whole.size]
    assert state_of(page)["crop"] == "0.18,0.18,0.62,0.62"
    again = open_page("?" + urlsplit(page.url).query)
    searched(again)
    assert ids(again) == ids(page)
    expect(again.locator("#chip")).to_contain_text(f"part of {entry['document_id']}")


def test_not_this_leaves_out_what_is_like_it_and_can_be_taken_back(open_page):
    page = open_page("?q=striped")
    searched(page)
    before = ids(page)
    cards(page).first.hover()
    with page.expect_request(re.compile("/search$")) as sent:
        cards(page).first.get_by_role("button", name=re.compile("^Not like")).click()
    searched(page)
    asked = sent.value.post_data_json["queries"][1]
    assert (asked["type"], asked["value"], asked["weight"]) == ("document", before[0], -0.4)
    assert before[0] not in ids(page)
    left_out = page.get_by_label("Left out").get_by_role("button")
    expect(left_out).to_have_count(1)
    assert state_of(page)["not"] == f"catalogue/{before[0]}"
    page.reload()
    searched(page)
    assert before[0] not in ids(page)
    left_out.click()
    searched(page)
    expect(left_out).to_have_count(0)
    assert ids(page) == before


def test_two_pictures_stand_side_by_side(open_page, site):
    page = open_page("?q=mug")
    searched(page)
    boxes = cards(page).get_by_role("checkbox")
    boxes.nth(0).check()
    compare = page.get_by_role("button", name="Compare")
    expect(compare).to_be_disabled()
    boxes.nth(1).check()
    compare.click()
    dialog = page.get_by_role("dialog", name="Side by side")
    expect(dialog.locator("img.loaded")).to_have_count(2)
    by_id = {entry["document_id"]: entry for entry in site.entries}
    for id in ids(page)[:2]:
        expect(dialog.locator("tbody")).to_contain_text(str(by_id[id]["price"]))
    expect(dialog.locator(".differs").filter(has_text="Price")).to_have_count(1)
    dialog.get_by_role("button", name="Is it a copy?").click()
    expect(dialog.get_by_role("status")).to_contain_text("Not a copy")
    expect(dialog.locator(".region")).to_have_count(0)
    page.keyboard.press("Escape")
    search(page, "hat")
    expect(page.locator("#picked")).to_contain_text("2 selected")


def test_a_copy_is_told_with_the_region_that_both_show(open_page, site, tmp_path):
    entry = site.entries[5]
    with Image.open(site.picture(entry)) as image:
        width, height = image.size
        part = image.convert("RGB").crop((width // 12, height // 12, width, height))
        part.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "copy.png")
    page = open_page()
    page.locator("#file").set_input_files(tmp_path / "copy.png")
    searched(page)
    place = ids(page).index(entry["document_id"])
    cards(page).nth(place).locator(".card-open").click()
    page.get_by_role("dialog").get_by_role("button", name="Compare").click()
    dialog = page.get_by_role("dialog", name="Side by side")
    dialog.get_by_role("button", name="Is it a copy?").click()
    expect(dialog.get_by_role("status")).to_contain_text("A copy, cropped, mirrored")
    expect(dialog.locator(".region polygon")).to_have_count(2)
    (query, document) = [
        dialog.locator(".compare-stage")
        .nth(side)
        .evaluate(
            "stage => [stage.querySelector('.region'), stage.querySelector('img')]"
            ".map((each) => each.getBoundingClientRect().toJSON())"
        )
        for side in (0, 1)
    ]
    for mark, picture in (query, document):
        for name in ("left", "top", "width", "height"):
            assert abs(mark[name] - picture[name]) < 1.5


def test_back_leads_to_the_place_one_left(open_page):
    page = open_page()
    page.emulate_media(reduced_motion="reduce")
    expect(cards(page)).to_have_count(48)
    expect(page.locator(".card img.loaded").first).to_be_visible()
    # Thumbnails far below are not asked for yet, and the others in the size they are shown in.
    assert cards(page).locator("img[src]").count() < 40
    assert "size=256" in cards(page).first.locator("img").get_attribute("src")
    page.get_by_role("button", name="Show more").click()
    expect(cards(page)).to_have_count(60)
    card = cards(page).nth(52)
    card.scroll_into_view_if_needed()
    page.wait_for_function("() => history.state?.anchor")
    place = card.bounding_box()["y"]
    card.hover()
    card.get_by_role("button", name=re.compile("^More like")).click()
    searched(page)
    page.go_back()
    expect(cards(page)).to_have_count(60)
    page.wait_for_function(
        "y => Math.abs(document.querySelectorAll('.card')[52].getBoundingClientRect().top - y) < 3",
        arg=place,
    )


def test_results_keep_their_place_while_more_load(open_page):
    page = open_page("?q=mug&k=12")
    page.emulate_media(reduced_motion="reduce")
    searched(page)
    page.evaluate("document.querySelectorAll('.card')[5].dataset.mark = 'here'")
    place = cards(page).nth(5).bounding_box()
    page.get_by_role("button", name="Show more").focus()
    page.keyboard.press("Enter")
    expect(cards(page)).to_have_count(24)
    assert cards(page).nth(5).get_attribute("data-mark") == "here"
    top = page.evaluate("scrollY")
    assert abs(cards(page).nth(5).bounding_box()["y"] + top - place["y"]) < 2
