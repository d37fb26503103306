"""Images in tar archives, in a folder and in a bucket."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.support.object_store import keys_of_s3, s3_server
from tests.support.pictures import drawn, encoded

from lookalike_crds.config import FetchPolicy
from lookalike_crds.sources import SourceSpec
from lookalike_serving.images import ImageError, ImageFetcher, Reader
from lookalike_serving.images.local_files import ServedFiles
from lookalike_serving.images.reader import for_sources
from lookalike_serving.ingest.sources import Entry, Item, Rejected, open_source

RED, BLUE = (encoded(drawn(colour), "JPEG") for colour in ("red", "blue"))
SHARD = {
    "0001.jpg": RED,
    "0001.json": json.dumps({"price": 3, "tags": ["a", "b"]}).encode(),
    "0001.txt": b"a red thing\n",
    "deep/0002.left.jpg": BLUE,
    "deep/0002.right.png": encoded(drawn("blue")),
    "deep/0002.json": b'{"price": 4}',
    "0003.json": b"[no object]",
    "0003.jpg": RED,
    "notes.cls": b"7",
}


def tar(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


async def listed(
    spec: dict[str, Any], scratch: Path
) -> tuple[list[Entry], dict[str, int], dict[str, bytes]]:
    """(entries, skipped by cause, bytes of each image by its key)."""
    source_spec = SourceSpec.model_validate({"name": "s", **spec})
    fetcher = ImageFetcher(FetchPolicy())
    try:
        bucket = source_spec.kind.as_bucket(scratch / "secrets")
        reader = for_sources(fetcher, () if bucket is None else (bucket,))
        source = open_source(source_spec, (), scratch, reader, scratch / "secrets")
        entries = [entry async for entry in source.list()]
        return entries, dict(source.skipped.counts), await read(reader, entries)
    finally:
        await fetcher.close()


async def read(reader: Reader, entries: list[Entry]) -> dict[str, bytes]:
    """Without those that there are not."""
    images = {}
    for each in entries:
        if isinstance(each, Item):
            with contextlib.suppress(ImageError):
                images[each.key] = await reader.read(each.uri)
    return images


def check(entries: list[Entry], skipped: dict[str, int], images: dict[str, bytes]) -> None:
    found = {each.key: each for each in entries if isinstance(each, Item)}
    assert {key: item.metadata for key, item in found.items()} == {
        "a/000.tar/0001.jpg": {"price": 3, "tags": ["a", "b"], "text": "a red thing"},
        "a/000.tar/deep/0002.left.jpg": {"price": 4},
        "a/000.tar/deep/0002.right.png": {"price": 4},
        "a/001.tar/1.jpg": {},  # what comes before the damage
    }
    assert {key: item.document_id for key, item in found.items()} == {key: key for key in found}
    assert images.pop("a/001.tar/1.jpg") == RED
    assert images == {key: SHARD[key.removeprefix("a/000.tar/")] for key in images}
    bad = {each.key: each.cause for each in entries if isinstance(each, Rejected)}
    assert bad.keys() == {"a/000.tar/0003.jpg", "a/001.tar"}
    assert "0003.json is not JSON" in bad["a/000.tar/0003.jpg"]
    assert "damaged" in bad["a/001.tar"]
    assert skipped == {".cls is no name of an image: if it is one, rename it": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "000.tar").write_bytes(tar(SHARD))
    cut = tar({"1.jpg": RED, "2.jpg": BLUE})[: 512 + -(-len(RED) // 512) * 512 + 512 + 100]
    (tmp_path / "root" / "a" / "001.tar").write_bytes(cut)
    return tmp_path / "root"


def test_in_a_folder(folder: Path, tmp_path: Path) -> None:
    volume = {"path": str(folder), "archives": True}
    check(*asyncio.run(listed({"volume": volume}, tmp_path)))


def test_archives_are_passed_over_unless_the_source_asks_for_them(
    folder: Path, tmp_path: Path
) -> None:
    entries, skipped, _ = asyncio.run(listed({"volume": {"path": str(folder)}}, tmp_path))
    assert entries == []
    assert skipped == {".tar is no name of an image: if it is one, rename it": 2}


def test_in_a_bucket(folder: Path, tmp_path: Path) -> None:
    keys_of_s3(tmp_path / "secrets")
    with s3_server() as s3:
        s3.bucket("shards")
        for name in ("000", "001"):
            s3.put("shards", f"x/a/{name}.tar", (folder / "a" / f"{name}.tar").read_bytes())
        bucket = {"bucket": "shards", "prefix": "x/", "endpoint": s3.url, "archives": True}
        spec = {"s3": {**bucket, "credentialsSecretRef": "keys"}}
        check(*asyncio.run(listed(spec, tmp_path)))


def test_a_member_is_served_from_the_folders_that_may_be_served_alone(
    folder: Path, tmp_path: Path
) -> None:
    volume = {"path": str(folder), "archives": True}
    entries, _, _ = asyncio.run(listed({"volume": volume}, tmp_path))
    item = next(each for each in entries if isinstance(each, Item))
    assert asyncio.run(ServedFiles(10_000, [folder]).read(item.uri)) == RED
    for most, root, code in (
        (100, folder, "too_large"),
        (10_000, tmp_path / "x", "forbidden_path"),
    ):
        with pytest.raises(ImageError) as refused:
            asyncio.run(ServedFiles(most, [root]).read(item.uri))
        assert refused.value.code == code
