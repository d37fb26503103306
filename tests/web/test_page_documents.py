"""Pictures that come in, change and go by the page's own hand."""

from __future__ import annotations

import base64
import json

import httpx
import pytest
from acting import cards, ids, searched
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

DROP_MANY = """
(files) => {
  const transfer = new DataTransfer();
  for (const [data, type, name] of files) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = { dataTransfer: transfer, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new DragEvent(kind, event));
  }
}
"""


def given(content: bytes, type_: str, name: str) -> list[str]:
    return [base64.b64encode(content).decode(), type_, name]


@pytest.fixture
def nothing_left(site):
    """The empty collection is empty again, whatever a test put into it."""
    documents = f"{site.address}/v1/collections/empty/documents"
    yield documents
    for each in httpx.get(documents).json()["items"]:
        httpx.delete(f"{documents}/{each['document_id']}").raise_for_status()


def test_dropped_files_are_added_changed_and_deleted(open_page, site, nothing_left):
    pictures = [
        given(site.picture(entry).read_bytes(), "image/jpeg", name)
        for entry, name in zip(site.entries, ["red <b>mug</b>.jpg", "лампа.jpg"], strict=False)
    ]
    page = open_page("?in=void", expect_failure=True)
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()
    page.evaluate(
        DROP_MANY,
        [
            *pictures,
            given(b"hello", "text/plain", "notes.txt"),
            given(b"\xff\xd8\xff\xe0 half", "image/jpeg", "half.jpg"),
            given(b"x", "", ".DS_Store"),
        ],
    )
    tray = page.get_by_role("region", name="2 pictures in empty, 2 failed")
    expect(tray).to_be_visible()
    expect(tray.locator(".failed").filter(has_text="notes.txt")).to_contain_text("not a picture")
    expect(tray.locator(".failed").filter(has_text="half.jpg")).to_contain_text("The picture is")
    expect(tray.locator("li")).to_have_count(4)
    expect(cards(page)).to_have_count(2)
    expect(cards(page).filter(has_text="red <b>mug</b>")).to_have_count(1)
    tray.get_by_role("button", name="Close").click()

    page.evaluate(DROP_MANY, pictures)
    expect(page.locator("#adding .added").first).to_contain_text("Is there already.")
    page.locator("#adding").get_by_role("button", name="Close").click()

    cards(page).filter(has_text="лампа").locator(".card-open").click()
    dialog = page.locator("#details")
    dialog.get_by_role("button", name="Edit").click()
    dialog.get_by_label("Price").fill("cheap")
    dialog.get_by_label("Name", exact=True).fill("lamp")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("“cheap” is no number.")).to_be_visible()
    dialog.get_by_label("Price").fill("9,5")
    dialog.get_by_label("Name of a new value").fill("note")
    page.keyboard.press("Enter")
    dialog.get_by_label("Note").fill("<i>good</i>")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.locator("dl")).to_contain_text("<i>good</i>")
    stored = {each["metadata"]["name"]: each for each in httpx.get(nothing_left).json()["items"]}
    assert stored["lamp"]["metadata"] == {"name": "lamp", "price": 9.5, "note": "<i>good</i>"}
    expect(cards(page).filter(has_text="lamp")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(dialog).to_be_hidden()
    expect(cards(page).filter(has_text="лампа")).to_have_count(1)

    cards(page).first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Select all shown").click()
    bar = page.get_by_role("region", name="Selected pictures")
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete these 2 pictures?").get_by_text("Keep").click()
    expect(cards(page)).to_have_count(2)
    bar.get_by_role("button", name="Delete").click()
    page.locator("#confirm").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(cards(page)).to_have_count(2)
    assert len(httpx.get(nothing_left).json()["items"]) == 2
    cards(page).first.locator(".card-open").click()
    dialog.get_by_role("button", name="Delete").click()
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.locator("#confirm").get_by_role("button", name="Delete").click()
        expect(cards(page)).to_have_count(1)
        page.get_by_role("button", name="Close the message").click()
    expect(cards(page)).to_have_count(1)
    assert len(httpx.get(nothing_left).json()["items"]) == 1
    page.evaluate(DROP_MANY, pictures)
    expect(cards(page)).to_have_count(2)


def test_a_picture_for_one_of_several_collections_waits_for_the_choice(
    open_page, context, site, nothing_left
):
    def both(route):
        answer = route.fetch()
        told = answer.json()
        names = [{"name": name, "weight": 1} for name in ("catalogue", "empty")]
        told["items"][0]["collections"] = names
        route.fulfill(response=answer, json=told)

    context.route("**/v1/retrievers?*", both)
    page = open_page()
    expect(cards(page)).to_have_count(48)
    page.locator("#add-files").set_input_files(site.picture(site.entries[2]))
    page.get_by_label("Collection to add to").select_option("empty")
    page.get_by_role("button", name="Add 1 picture").click()
    expect(page.get_by_role("region", name="1 picture in empty")).to_be_visible()
    assert len(httpx.get(nothing_left).json()["items"]) == 1


def test_ids_and_documents_of_a_selection_are_saved(open_page):
    page = open_page("?q=mug")
    searched(page)
    found = ids(page)
    boxes = cards(page).get_by_role("checkbox")
    boxes.nth(1).check()
    boxes.nth(3).click(modifiers=["Shift"])
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save ids").click()
    assert saved.value.path().read_text().split() == found[1:4]
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export JSON").click()
    documents = json.loads(saved.value.path().read_text())
    assert [each["document_id"] for each in documents] == found[1:4]
    assert all(each["metadata"]["kind"] and each["score"] for each in documents)
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(cards(page).get_by_role("checkbox", checked=True)).to_have_count(0)


def test_what_was_deleted_is_gone_although_the_page_is_left_at_once(open_page, site, nothing_left):
    picture = site.picture(site.entries[4]).read_bytes()
    metadata = json.dumps({"camera": {"make": "Leica"}, "place": {"lat": 48.2, "lon": 16.4}})
    sent = httpx.post(nothing_left, files={"image": picture}, data={"metadata": metadata})
    sent.raise_for_status()
    page = open_page("?in=void")
    cards(page).first.locator(".card-open").click()
    expect(page.locator("dl")).to_contain_text("Camera makeLeica")
    expect(page.locator("dl")).to_contain_text("48.2, 16.4")
    page.keyboard.press("Escape")
    cards(page).first.get_by_role("checkbox").check()
    page.get_by_role("button", name="Delete").click()
    page.locator("#confirm").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()
    page.goto("about:blank")
    page.goto(f"{site.address}/?in=void")
    expect(page.get_by_role("heading", name="No pictures here yet")).to_be_visible()
