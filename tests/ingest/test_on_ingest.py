"""Images of sources that are copies of other documents: linked or left out, by uploads' rule."""

from __future__ import annotations

from collections import Counter

import httpx
from PIL import Image
from tests.duplicates.pictures import edited, photograph
from tests.ingest.conftest import Place
from tests.support.pictures import encoded

from lookalike_crds.image_collection import DuplicatesSpec, OnIngest
from lookalike_crds.progress import Counts, RunState
from lookalike_serving.ingest.rejections import REJECTED
from lookalike_serving.ingest.worker import LINKED


def ask_for(place: Place, on_ingest: OnIngest) -> None:
    duplicates = DuplicatesSpec(on_ingest=on_ingest, features=True)
    place.collection = place.collection.model_copy(update={"duplicates": duplicates})
    place.restart(collections=(place.collection,))


def test_of_two_copies_in_one_run_one_is_rejected_and_then_linked(place: Place) -> None:
    one, other, alone = photograph("coffee.png"), photograph("coffee.png"), photograph("rocket.jpg")
    pictures = {"one.png": one, "other.png": edited(other, "cropped"), "alone.png": alone}
    for name, pixels in pictures.items():
        (place.images / name).write_bytes(encoded(Image.fromarray(pixels)))
    ask_for(place, OnIngest.REJECT)
    made = place.ingest()
    assert made.state is RunState.COMPLETED
    assert made.sources["disk"] == Counts(listed=3, new=2, skipped=1)
    assert made.sources["disk"].left == 0
    [first] = place.documents().keys() & {"one.png", "other.png"}
    [second] = {"one.png", "other.png"} - {first}
    [told] = made.skipped
    assert (told.cause, told.count) == (REJECTED, 1)
    assert told.example == f"{second}: a copy of {first}"
    again = place.ingest()
    assert again.sources["disk"] == Counts(listed=3, unchanged=2, skipped=1)
    assert Counter(each.cause for each in again.skipped) == {REJECTED: 1}
    assert again.skipped[0].example == f"{second}: a copy of {first}"
    assert again.bytes == 0  # nothing was read
    listed = httpx.get(f"{place.url}/v1/collections/shop/runs").json()["items"]
    assert [run["sources"][0]["skipped"] for run in listed] == [1, 1]
    ask_for(place, OnIngest.LINK)
    linked = place.ingest()
    assert linked.sources["disk"] == Counts(listed=3, unchanged=2, new=1)
    assert [(each.cause, each.example) for each in linked.warnings] == [
        (LINKED, f"{second}: a copy of {first}")
    ]
    documents = place.documents()
    assert documents[second]["duplicate_of"] == first
    assert "duplicate_of" not in documents[first]
    # The image is another one now, and no copy of anything.
    (place.images / second).write_bytes(encoded(Image.fromarray(photograph("chelsea.png"))))
    assert place.ingest().sources["disk"] == Counts(listed=3, unchanged=2, updated=1)
    assert "duplicate_of" not in place.documents()[second]
    # What was left out comes in once the document that it is a copy of is gone.
    third = encoded(Image.fromarray(edited(other, "half")))
    (place.images / "third.png").write_bytes(third)
    ask_for(place, OnIngest.REJECT)
    assert place.ingest().sources["disk"] == Counts(listed=4, unchanged=3, skipped=1)
    httpx.delete(f"{place.url}/v1/collections/shop/documents/{first}").raise_for_status()
    assert place.ingest().sources["disk"] == Counts(listed=4, unchanged=2, new=1, skipped=1)
