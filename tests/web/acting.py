"""What a person does on the search page, and what they see of it."""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

DROP = """
([data, type, name, uri]) => {
  const transfer = new DataTransfer();
  if (data) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  if (uri) transfer.setData("text/uri-list", uri);
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = { dataTransfer: transfer, bubbles: true, cancelable: true };
    document.body.dispatchEvent(new DragEvent(kind, event));
  }
}
"""
PASTE = """
([data, type, name]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type }));
  const event = { clipboardData: transfer, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new ClipboardEvent("paste", event));
}
"""


def cards(page: Page):
    return page.locator("#results .grid:not([aria-hidden]) .card")


def searched(page: Page):
    """Wait for results of a search; the cards."""
    expect(page.locator("#status")).to_have_text(re.compile(r"\d+ results? in \d+ ms"))
    expect(page.locator("body:not(.busy)")).to_be_attached()
    return cards(page)


def ids(page: Page) -> list[str]:
    return cards(page).evaluate_all("cards => cards.map((card) => card.dataset.documentId)")


def scores(page: Page) -> list[float]:
    return [float(text) for text in page.locator(".score").all_text_contents()]


def search(page: Page, words: str) -> None:
    page.get_by_label("What to look for, in words").fill(words)
    with page.expect_response(re.compile("/search$")):
        page.keyboard.press("Enter")
    searched(page)


def state_of(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def as_file(path) -> list[str]:
    data = base64.b64encode(path.read_bytes()).decode()
    return [data, "image/jpeg", path.name, ""]
