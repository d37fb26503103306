"""Folders: what a first run, a rerun, and a run after changes do."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike_crds.progress import RunState, errors_file


def rows(place: Any, lines: list[dict[str, Any]], **mapping: Any) -> dict[str, Any]:
    """Writes a metadata file; the source that reads it."""
    file = place.images / "catalogue.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "name": "disk",
        "volume": {"path": str(place.images)},
        "metadata": {"file": "catalogue.jsonl", "documentId": "sku", **mapping},
    }


def test_every_image_below_the_folder_becomes_a_document(place, paint) -> None:
    for i in range(5):
        paint(place.images / ("deep/down" if i % 2 else "") / f"{i}.png", i)
    paint(place.images / ".hidden" / "x.png", 9)
    (place.images / "notes.pdf").write_bytes(b"%PDF")
    (place.images / "link.png").symlink_to(paint(place.folder / "elsewhere.png", 8))
    progress = place.ingest()
    assert progress.state is RunState.COMPLETED
    assert progress.total.new == 5
    assert progress.total.skipped == 2
    assert {(each.cause.split(":")[0], each.example) for each in progress.skipped} == {
        (".pdf is no name of an image", "notes.pdf"),
        ("is a link that leads out of the folder", "link.png"),
    }
    assert set(place.documents()) == {
        "0.png",
        "deep/down/1.png",
        "2.png",
        "deep/down/3.png",
        "4.png",
    }


def test_a_rerun_leaves_everything_as_it_is(place, paint) -> None:
    for i in range(3):
        paint(place.images / f"{i}.png", i)
    place.ingest()
    before = place.documents()
    progress = place.ingest()
    assert (progress.total.unchanged, progress.total.new, progress.total.updated) == (3, 0, 0)
    assert place.documents() == before


def test_a_changed_image_is_embedded_again_and_keeps_its_birthday(place, paint) -> None:
    paint(place.images / "a.png", 1)
    place.ingest()
    before = place.documents()["a.png"]
    paint(place.images / "a.png", 2, size=(120, 90))
    assert place.ingest().total.updated == 1
    after = place.documents()["a.png"]
    assert after["created_at"] == before["created_at"]
    assert after["width"] == 120


def test_changed_metadata_rewrites_the_payload_without_touching_the_image(place, paint) -> None:
    image = paint(place.images / "a.png", 1)
    place.ingest(rows(place, [{"file": "a.png", "sku": "A", "price": 1.0}]))
    state = image.stat()
    source = rows(place, [{"file": "a.png", "sku": "A", "price": 2.5}])
    # Were the image opened, this would fail it: same size and time, other bytes.
    image.write_bytes(b"x" * state.st_size)
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))
    progress = place.ingest(source)
    assert (progress.total.updated, progress.total.failed) == (1, 0)
    assert place.documents()["A"]["metadata"] == {"price": 2.5}


def test_broken_images_are_listed_with_their_cause_and_the_others_go_in(place, paint) -> None:
    whole = paint(place.images / "good.png", 1).read_bytes()
    (place.images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (place.images / "empty.jpg").write_bytes(b"")
    (place.images / "page.jpg").write_text("<html>not found</html>")
    progress = place.ingest()
    assert progress.state is RunState.COMPLETED_WITH_ERRORS
    assert (progress.total.new, progress.total.failed) == (1, 3)
    listed = errors_file(place.folder / "progress.json").read_text().splitlines()
    causes = {json.loads(line)["key"]: json.loads(line)["cause"] for line in listed}
    assert causes.keys() == {"cut.png", "empty.jpg", "page.jpg"}
    assert all(causes.values())


def test_a_mended_image_goes_in_with_the_next_run(place, paint) -> None:
    (place.images / "a.png").write_bytes(b"broken")
    assert place.ingest().total.failed == 1
    paint(place.images / "a.png", 1)
    progress = place.ingest()
    assert (progress.total.new, progress.state) == (1, RunState.COMPLETED)


def test_a_removed_image_stays_unless_delete_missing_says_otherwise(place, paint) -> None:
    for i in range(3):
        paint(place.images / f"{i}.png", i)
    source = {"name": "disk", "volume": {"path": str(place.images)}}
    place.ingest(source)
    (place.images / "1.png").unlink()
    place.ingest(source)
    assert set(place.documents()) == {"0.png", "1.png", "2.png"}
    progress = place.ingest({**source, "deleteMissing": True})
    assert progress.total.deleted == 1
    assert set(place.documents()) == {"0.png", "2.png"}


def test_an_empty_or_missing_folder_never_deletes_everything(place, paint) -> None:
    paint(place.images / "a.png", 1)
    source = {"name": "disk", "volume": {"path": str(place.images)}, "deleteMissing": True}
    place.ingest(source)
    (place.images / "a.png").unlink()
    progress = place.ingest(source)
    assert "nothing was deleted" in (progress.message or "")
    place.images.rmdir()
    progress = place.ingest(source)
    assert progress.state is RunState.FAILED
    assert "is not a folder" in (progress.message or "")
    assert set(place.documents()) == {"a.png"}


def test_a_file_that_fails_is_still_there_and_holds_no_deletion_back(place, paint) -> None:
    for name in ("gone", "worse", "unnamed"):
        paint(place.images / f"{name}.png", len(name))
    lines = [{"file": f"{name}.png", "sku": name} for name in ("gone", "worse", "unnamed")]
    source = {**rows(place, lines), "deleteMissing": True}
    place.ingest(source)
    (place.images / "gone.png").unlink()
    (place.images / "worse.png").write_bytes(b"no image any more")
    (place.images / "always.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    rows(place, lines[:2])  # the row of unnamed.png is gone, and with it the name of its document
    progress = place.ingest(source)
    assert (progress.total.deleted, progress.total.failed) == (1, 3)
    assert set(place.documents()) == {"worse", "unnamed"}


def test_an_incomplete_listing_holds_back_deletion_and_says_so(place, paint) -> None:
    paint(place.images / "a.png", 1)
    paint(place.images / "b.png", 2)
    manifest = place.folder / "list.jsonl"
    source = {"name": "list", "urls": {"manifest": str(manifest)}, "deleteMissing": True}
    manifest.write_text('{"url": "images/a.png"}\n{"url": "images/b.png"}\n')
    place.ingest(source)
    manifest.write_text('{"url": "images/a.png"}\n{"url": "ima')
    progress = place.ingest(source)
    assert progress.total.deleted == 0
    assert "deleteMissing waits for a complete listing: line 2" in (progress.message or "")
    manifest.write_text('{"url": "images/a.png"}\n')
    assert place.ingest(source).total.deleted == 1


def test_documents_of_other_sources_are_not_this_sources_to_delete(place, paint) -> None:
    paint(place.folder / "other" / "b.png", 2)
    paint(place.images / "a.png", 1)
    first = {"name": "disk", "volume": {"path": str(place.images)}, "deleteMissing": True}
    second = {"name": "more", "volume": {"path": str(place.folder / "other")}}
    place.ingest(first, second)
    place.ingest(first)
    assert set(place.documents()) == {"a.png", "b.png"}


def test_two_files_of_one_document_id_are_told_apart(place, paint) -> None:
    paint(place.images / "a.png", 1)
    paint(place.images / "b.png", 2)
    lines = [{"file": "a.png", "sku": "A"}, {"file": "b.png", "sku": "A"}]
    progress = place.ingest(rows(place, lines))
    assert (progress.total.new, progress.total.failed) == (1, 1)
    assert "taken by 'a.png'" in progress.errors[0].cause


def test_rows_that_do_not_fit_name_column_and_value(place, paint) -> None:
    for name in ("a", "b", "c"):
        paint(place.images / f"{name}.png", ord(name))
    lines = [{"file": "a.png", "sku": "A", "price": "cheap"}, {"file": "b.png", "sku": ""}]
    progress = place.ingest(rows(place, lines, onBadValue="Fail"))
    causes = {e.key: e.cause for e in progress.errors}
    assert "price" in causes["a.png"]
    assert "cheap" in causes["a.png"]
    assert "'sku'" in causes["b.png"]
    assert "has no row" in causes["c.png"]


def test_too_many_failures_end_the_run_early(place) -> None:
    for i in range(5):
        (place.images / f"{i}.png").write_bytes(b"bad")
    import pytest

    from lookalike_serving.ingest.dispatch import TooManyFailures

    with pytest.raises(TooManyFailures, match=r"maxFailures \(2\)"):
        place.ingest(maxFailures=2)


def test_pictures_in_formats_that_are_not_read_are_counted_by_cause(place, paint) -> None:
    paint(place.images / "a.png", 1)
    for name in ("b.NEF", "c.nef", "d.psd", "e.svg", "notes.txt"):
        (place.images / name).write_bytes(b"raw")
    progress = place.ingest()
    assert progress.state is RunState.COMPLETED
    assert progress.total.skipped == 5
    assert [each.told() for each in progress.skipped] == [
        "2 files: .nef: camera raw files are not supported: export JPEGs (such as b.NEF)",
        "1 file: .psd: Photoshop files are not read: export JPEGs or PNGs (such as d.psd)",
        "1 file: .svg: drawings (SVG) are not read: export PNGs (such as e.svg)",
        "1 file: .txt is no name of an image: if it is one, rename it (such as notes.txt)",
    ]


def test_heic_and_jpeg_xl_are_taken_in_by_their_content(place) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    imagecodecs = pytest.importorskip("imagecodecs")
    pillow_heif.register_heif_opener()
    grey = np.arange(96 * 80, dtype=np.uint16).reshape(80, 96) // 32
    picture = Image.fromarray(np.dstack([grey] * 3).astype(np.uint8))
    for name, format in (("a.heic", "HEIF"), ("b.HEIF", "HEIF"), ("c.avif", "AVIF")):
        picture.save(place.images / name, format)
    (place.images / "d.jxl").write_bytes(imagecodecs.jpegxl_encode(np.asarray(picture)))
    progress = place.ingest()
    assert (progress.total.new, progress.total.skipped) == (4, 0)
    formats = {name: each["format"] for name, each in place.documents().items()}
    assert formats == {"a.heic": "HEIC", "b.HEIF": "HEIC", "c.avif": "AVIF", "d.jxl": "JXL"}
