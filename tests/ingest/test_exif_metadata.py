"""What pictures tell of themselves as metadata: on request, below a table's rows, and for good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from lookalike_crds.image_collection import FieldSpec, FieldType


def photograph(path: Path, seed: int, **camera: Any) -> None:
    """A JPEG whose EXIF block has a make, and `camera` by the tags' numbers."""
    exif = Image.Exif()
    exif[0x010F] = "ACME"
    exif.get_ifd(0x8769).update({int(tag[1:], 16): value for tag, value in camera.items()})
    pixels = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)


def source(place: Any, **metadata: Any) -> dict[str, Any]:
    return {"name": "disk", "volume": {"path": str(place.images)}, "metadata": metadata}


def metadata_of(place: Any, name: str = "a.jpg") -> dict[str, Any]:
    found: dict[str, Any] = place.documents()[name]["metadata"]
    return found


def test_nothing_is_told_unless_it_is_asked_for(place) -> None:
    photograph(place.images / "a.jpg", 1, x8827=200)
    place.ingest()
    assert metadata_of(place) == {}


def test_it_is_found_by_filters_with_dots(place) -> None:
    photograph(place.images / "a.jpg", 1, x9003="2024:05:01 12:30:00", x8827=200)
    photograph(place.images / "b.jpg", 2, x9003="2019:05:01 12:30:00", x8827=800)
    fields = (
        *place.collection.fields,
        FieldSpec(name="exif.taken_at", type=FieldType.DATETIME),
    )
    place.collection = place.collection.model_copy(update={"fields": fields})
    place.ingest(source(place, exif=True))
    assert metadata_of(place)["exif"] == {
        "taken_at": "2024-05-01T12:30:00Z",
        "camera": {"make": "ACME"},
        "iso": 200,
        "width": 80,
        "height": 60,
    }
    by_iso = json.dumps({"AND": [{"key": "exif.iso", "operator": "gte", "value": 400}]})
    answer = httpx.get(f"{place.url}/v1/collections/shop/documents", params={"filters": by_iso})
    assert [each["document_id"] for each in answer.json()["items"]] == ["b.jpg"]


def test_asked_for_later_it_is_read_from_pictures_that_are_there(place) -> None:
    photograph(place.images / "a.jpg", 1, x8827=200)
    place.ingest(source(place))
    assert place.ingest(source(place, exif=True)).total.updated == 1
    assert metadata_of(place)["exif"]["iso"] == 200
    assert place.ingest(source(place, exif=True)).total.unchanged == 1
    assert place.ingest(source(place)).total.updated == 1
    assert metadata_of(place) == {}
    assert "exif" not in place.documents()["a.jpg"]


def test_a_row_counts_more_and_its_change_leaves_the_rest(place) -> None:
    photograph(place.images / "a.jpg", 1, x8827=200)
    table = place.images / "rows.jsonl"
    asked = source(place, exif=True, file="rows.jsonl", constants={"shop": "north"})
    table.write_text('{"file": "a.jpg", "exif": {"iso": 100}, "price": 1.5}\n')
    place.ingest(asked)
    assert metadata_of(place)["exif"]["iso"] == 100
    table.write_text('{"file": "a.jpg", "price": 2.5}\n')
    assert place.ingest(asked).total.updated == 1
    found = metadata_of(place)
    assert (found["price"], found["shop"]) == (2.5, "north")
    assert found["exif"]["iso"] == 200
    assert found["exif"]["camera"] == {"make": "ACME"}


def test_what_cannot_be_used_is_counted_and_the_picture_comes_in(place) -> None:
    for name in ("a", "b"):
        photograph(place.images / f"{name}.jpg", ord(name[0]), x9003="0000:00:00 00:00:00", x8827=9)
    fields = (
        *place.collection.fields,
        FieldSpec(name="exif.iso", type=FieldType.KEYWORD),
    )
    place.collection = place.collection.model_copy(update={"fields": fields})
    progress = place.ingest(source(place, exif=True))
    assert (progress.total.new, progress.total.failed) == (2, 0)
    told = {each.cause: each.count for each in progress.warnings}
    assert told["EXIF taken_at was left out: it is no time"] == 2
    assert any(cause.startswith("exif.iso was left out: does not fit") for cause in told)
    assert metadata_of(place)["exif"] == {"camera": {"make": "ACME"}, "width": 80, "height": 60}


def test_pictures_of_a_manifest_tell_it_too(place) -> None:
    photograph(place.images / "a.jpg", 1, x8827=200)
    manifest = place.folder / "list.csv"
    manifest.write_text("url,price\nimages/a.jpg,1.5\n")
    listed = {"name": "list", "urls": {"manifest": str(manifest)}, "metadata": {"exif": True}}
    place.ingest(listed)
    (found,) = (each["metadata"] for each in place.documents().values())
    assert found["exif"]["iso"] == 200
