"""The review of duplicates: side by side, decided by keys, deleted after a question."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from tests.duplicates.pictures import edited, photograph
from tests.support.configs import collection, serving_config
from tests.support.servers import serving

from lookalike import Lookalike

pytestmark = pytest.mark.browser


def encoded(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def address(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("review")
    with (
        serving(serving_config(folder, collection(folder, "photos"))) as address,
        Lookalike(address) as client,
    ):
        for name in ("chelsea", "coffee"):
            pixels = photograph(f"{name}.png", 240)
            client.documents.upload("photos", encoded(pixels), document_id=f"{name}.png")
            for edit in ("half", "mirrored"):
                client.documents.upload(
                    "photos", encoded(edited(pixels, edit)), document_id=f"{edit}-{name}.png"
                )
        yield address


def shown(page: Page, kept: str, other: str) -> None:
    """Both pictures are there, and the region that they share is marked."""
    names = page.locator(".review-pictures strong")
    expect(names).to_have_text([kept, other])
    expect(page.locator(".review-stage img.loaded")).to_have_count(2)
    expect(page.locator(".review-stage .region")).to_have_count(2)


def said(client: Lookalike) -> list[set[str]]:
    """Which documents are no duplicates."""
    return [set(each.documents) for each in client.collections.dismissals("photos")]


def test_from_a_scan_to_the_deletion_of_what_was_decided(open_page, address):
    page = open_page("review?collection=photos", address=address)
    page.get_by_role("button", name="Scan for duplicates").click()
    expect(page.locator("#status")).to_have_text("Group 1 of 2, picture 1 of 2")
    names = page.locator(".review-pictures strong")
    first, other = names.all_text_contents()
    shown(page, first, other)
    expect(page.locator(".review-verdict")).to_contain_text(re.compile("^A copy, "))
    expect(page.get_by_text("largest: ")).to_be_visible()
    expect(page.locator("#apply")).to_be_disabled()

    page.keyboard.press("d")
    expect(page.locator("#status")).to_have_text("Group 1 of 2, picture 2 of 2")
    expect(page.locator("#sum")).to_contain_text("1 to delete, which saves")
    dismissed = names.all_text_contents()[1]
    with page.expect_response(re.compile("/decisions$")) as answered:
        page.keyboard.press("n")
    assert answered.value.status == 200
    expect(page.locator("#status")).to_have_text("Group 2 of 2, picture 1 of 2")
    with Lookalike(address) as client:
        assert said(client) == [{first, dismissed}]
        for key, then in (("k", []), ("n", [{first, dismissed}])):  # another decision, and back
            page.keyboard.press("ArrowLeft")
            expect(names.nth(1)).to_have_text(dismissed)
            with page.expect_response(re.compile("/decisions$")):
                page.keyboard.press(key)
            expect(page.locator("#status")).to_have_text("Group 2 of 2, picture 1 of 2")
            assert said(client) == then
    page.keyboard.press("k")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".review-acts [aria-pressed=true]")).to_contain_text("Keep both")

    page = open_page("review?collection=photos", address=address)  # the decisions are still there
    expect(page.locator("#sum")).to_contain_text("3 pictures of 4 decided; 1 to delete")
    names = page.locator(".review-pictures strong")
    page.get_by_role("button", name="Delete 1 picture").click()
    question = page.get_by_role("dialog", name=re.compile("^Delete 1 picture of"))
    question.get_by_role("button", name="Delete").click()
    expect(page.locator("#status")).to_contain_text("1 picture deleted")
    with Lookalike(address) as client:
        there = {each.document_id for each in client.documents.list("photos")}
        assert len(there) == 5
        assert other not in there
        again = client.duplicate_scans.create("photos")
        assert client.duplicate_scans.wait("photos", again.scan_id).groups == 1
        [group] = client.duplicate_scans.groups("photos", again.scan_id)
    assert dismissed not in {group.keeper.document_id, *(m.document_id for m in group.members)}
