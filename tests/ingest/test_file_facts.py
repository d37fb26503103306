"""Metadata from where a file lies and what its folder says of it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lookalike_crds.load import load_resources
from lookalike_crds.progress import RunState


def source(place: Any, **metadata: Any) -> dict[str, Any]:
    return {"name": "disk", "volume": {"path": str(place.images)}, "metadata": metadata}


def metadata_of(place: Any) -> dict[str, Any]:
    return {name: each["metadata"] for name, each in place.documents().items()}


def test_parts_of_a_path_are_metadata_and_may_name_the_document(place, paint) -> None:
    paint(place.images / "shoes" / "2024" / "7.png", 1)
    place.ingest(source(place, pathPattern="{kind}/{price}/{sku}.*", documentId="sku"))
    # price is a Float field, and is read as a table's text would be.
    assert metadata_of(place) == {"7": {"kind": "shoes", "price": 2024.0}}


def test_a_path_that_does_not_match_comes_in_and_is_counted(place, paint) -> None:
    paint(place.images / "shoes" / "7.png", 1)
    paint(place.images / "8.png", 2)
    progress = place.ingest(source(place, pathPattern="{kind}/*"))
    assert progress.state is RunState.COMPLETED
    assert metadata_of(place) == {"shoes/7.png": {"kind": "shoes"}, "8.png": {}}
    told = [f"{each}" for each in progress.model_dump()["warnings"]]
    assert len(told) == 1
    assert "its path is not as metadata.pathPattern says" in told[0]
    assert "8.png" in told[0]


@pytest.mark.parametrize(("policy", "failed", "skipped"), [("Fail", 1, 0), ("Skip", 0, 1)])
def test_the_policy_for_bad_values_is_that_for_paths(place, paint, policy, failed, skipped) -> None:
    paint(place.images / "8.png", 2)
    progress = place.ingest(source(place, pathPattern="{kind}/*", onBadValue=policy))
    assert (progress.total.failed, progress.total.skipped, progress.total.new) == (
        failed,
        skipped,
        0,
    )


def test_a_document_that_its_path_cannot_name_is_a_failure(place, paint) -> None:
    paint(place.images / "8.png", 2)
    paint(place.images / "shoes" / "7.png", 1)
    progress = place.ingest(source(place, pathPattern="{kind}/{sku}.*", documentId="sku"))
    assert (progress.total.new, progress.total.failed) == (1, 1)
    assert "which would tell its document id" in progress.errors[0].cause


def test_what_the_folder_says_is_metadata(place, paint) -> None:
    path = paint(place.images / "shoes" / "a b.png", 1)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    place.ingest(source(place, fileInfo=True))
    assert metadata_of(place)["shoes/a b.png"]["file"] == {
        "name": "a b.png",
        "folder": "shoes",
        "bytes": path.stat().st_size,
        "modified_at": "2023-11-14T22:13:20Z",
    }
    assert place.ingest(source(place, fileInfo=True)).total.unchanged == 1
    assert place.ingest(source(place)).total.updated == 1
    assert metadata_of(place) == {"shoes/a b.png": {}}


def test_a_row_counts_more_than_the_path_and_that_more_than_a_constant(place, paint) -> None:
    for seed, name in enumerate("ab"):
        paint(place.images / "shoes" / f"{name}.png", seed)
    (place.images / "rows.csv").write_text("file,kind,more\nshoes/a.png,boots,1\nshoes/b.png,,2\n")
    place.ingest(
        source(
            place,
            file="rows.csv",
            pathPattern="{kind}/{name}.*",
            constants={"kind": "any", "name": "any", "shop": "north"},
        )
    )
    found = metadata_of(place)
    assert found["shoes/a.png"]["kind"] == "boots"
    assert (found["shoes/b.png"]["name"], found["shoes/b.png"]["shop"]) == ("b", "north")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("{ pathPattern: '{kind/{id}.jpg' }", "has a brace without a name"),
        ("{ pathPattern: '{a}/{a}.jpg' }", "{a} stands twice"),
        ("{ pathPattern: '{exif}/a.jpg' }", "Lookalike's own"),
        ("{ exif: true, constants: { exif: no } }", "which metadata.exif fills"),
        ("{ fileInfo: true, constants: { file: no } }", "which metadata.fileInfo fills"),
    ],
)
def test_what_cannot_be_meant_is_told_when_the_file_is_checked(metadata, said) -> None:
    loaded = load_resources(
        "apiVersion: lookalike.dev/v1alpha1\nkind: ImageCollection\nmetadata: { name: shop }\n"
        f"spec: {{ sources: [{{ name: a, volume: {{ path: a }}, metadata: {metadata} }}] }}\n"
    )
    (problem,) = loaded.errors
    assert said in str(problem)
    assert "spec.sources[0].metadata" in problem.path
