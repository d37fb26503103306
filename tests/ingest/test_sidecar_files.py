"""A JSON file beside each image is its metadata: in folders, and in buckets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.object_store import S3Server, keys_of_s3

from .conftest import Place


@pytest.mark.parametrize("kind", ["volume", "s3"])
def test_the_object_beside_an_image_is_its_metadata(
    kind: str, place: Place, s3: S3Server, paint: Callable[..., Path], tmp_path: Path
) -> None:
    keys_of_s3(tmp_path / "secrets")

    def put(name: str, data: bytes) -> None:
        if kind == "volume":
            (place.images / name).write_bytes(data)
        else:
            s3.put("beside", f"in/{name}", data)

    if kind == "s3":
        s3.bucket("beside")
    for number, name in enumerate(("a.jpg", "b.png", "c.jpg", "d.jpg", "e.jpg")):
        put(name, paint(tmp_path / name, number).read_bytes())
    put("a.json", json.dumps({"status": "new", "price": 3}).encode())
    put("b.json", json.dumps({"price": 4}).encode())
    put("c.json", b"[1]")
    put("d.json", b'{"price": "no number"}')
    named = {
        "bucket": "beside",
        "prefix": "in/",
        "endpoint": s3.url,
        "credentialsSecretRef": "keys",
    }
    where: dict[str, Any] = {"volume": {"path": str(place.images)}, "s3": named}
    source = {"name": "src", kind: where[kind], "metadata": {"sidecars": True}}

    progress = place.ingest(source)
    assert [(each.key, each.code) for each in progress.errors] == [("c.jpg", "entry-bad-metadata")]
    assert "is no JSON object" in progress.errors[0].cause
    told = {name: each["metadata"] for name, each in place.documents().items()}
    assert told == {
        "a.jpg": {"status": "new", "price": 3.0},
        "b.png": {"price": 4.0},
        "d.jpg": {},
        "e.jpg": {},
    }
    assert progress.total.skipped == 0
    put("b.json", json.dumps({"price": 5}).encode())
    put("e.json", json.dumps({"price": 6}).encode())
    progress = place.ingest(source)
    assert (progress.total.updated, progress.total.unchanged, progress.bytes) == (2, 2, 0)
    assert place.documents()["e.jpg"]["metadata"] == {"price": 6.0}
