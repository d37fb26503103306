"""`lookalike duplicates` against a real server: scan, look, delete."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from PIL import Image
from tests.duplicates.pictures import edited, photograph
from tests.support.configs import collection, serving_config
from tests.support.servers import serving

from lookalike import Lookalike


def encoded(pixels: object, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("data")
    cat, coffee = photograph("chelsea.png"), photograph("coffee.png")
    with (
        serving(serving_config(folder, collection(folder, "photos"))) as address,
        Lookalike(address) as client,
    ):
        for id, picture in {
            "cat.png": encoded(cat),
            "cat.tif": encoded(cat, "TIFF"),
            "small-cat.png": encoded(edited(cat, "half")),
            "coffee.png": encoded(coffee),
        }.items():
            client.documents.upload("photos", picture, document_id=id)
        yield address


def test_from_a_scan_to_the_deletion(lookalike: Command, url: str) -> None:
    def run(*arguments: object) -> str:
        ran = lookalike("duplicates", "--url", url, *arguments)
        assert ran.code == 0, ran.err
        return ran.out

    early = lookalike("duplicates", "--url", url)
    assert early.code == 1
    assert "start one with --scan" in early.err
    found = run("--scan", "--keep", "folders", "--folder", "cat.png")
    assert "4 documents, 1 group: 2 duplicates" in found
    assert "in cat.png, which comes before" in found
    assert "Nothing was deleted." in found
    late = lookalike("duplicates", "--url", url, "--cancel")
    assert (late.code, "is COMPLETED" in late.err) == (1, True)
    asked = lookalike("duplicates", "--url", url, "--apply")
    assert asked.code == 6
    assert "Delete 2 duplicates" in asked.err
    assert "1 document deleted" in run("--apply", "--only", "exact", "--yes")
    assert "1 document deleted" in run("--apply", "--yes")
    again = run("--apply")
    assert again.startswith("Nothing to delete: 2 duplicates of the report are deleted already.")
    with Lookalike(url) as client:
        there = {each.document_id for each in client.documents.list("photos")}
    assert there == {"cat.png", "coffee.png"}


def test_wrong_usage_is_told(lookalike: Command, url: str) -> None:
    for arguments in (
        ("--scan", "--apply"),
        ("--scan", "--keep", "field"),
        ("--scan", "--folder", "a/"),
    ):
        assert lookalike("duplicates", "--url", url, *arguments).code == 2
