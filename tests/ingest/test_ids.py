"""Pictures that claim one document id: one has it, the other is told, none is written over."""

from __future__ import annotations

import unicodedata
from typing import Any

from lookalike_crds.progress import RunState


def folder(place: Any, name: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "volume": {"path": str(place.folder / name)}, **rest}


def failures(progress: Any) -> list[tuple[str, str, str]]:
    return [(error.source, error.key, error.cause) for error in progress.errors]


def test_two_sources_with_the_same_names_are_told_of_both(place, paint) -> None:
    paint(place.folder / "north" / "a.png", 1)
    paint(place.folder / "south" / "a.png", 2)
    for _ in range(2):
        progress = place.ingest(folder(place, "north"), folder(place, "south"))
        assert progress.state is RunState.COMPLETED_WITH_ERRORS
        ((source, key, cause),) = failures(progress)
        assert (source, key) == ("south", "a.png")
        assert "of source north: set idPrefix of one of the two sources" in cause
        assert place.documents()["a.png"]["source"] == "north"


def test_with_a_prefix_both_come_in_and_the_first_keeps_its_id(place, paint) -> None:
    paint(place.folder / "north" / "a.png", 1)
    paint(place.folder / "south" / "a.png", 2)
    place.ingest(folder(place, "north"))
    progress = place.ingest(folder(place, "north"), folder(place, "south", idPrefix="south/"))
    assert (progress.total.unchanged, progress.total.new, progress.total.failed) == (1, 1, 0)
    assert set(place.documents()) == {"a.png", "south/a.png"}


def test_a_run_of_one_source_does_not_write_over_those_of_another(place, paint) -> None:
    paint(place.folder / "north" / "a.png", 1)
    paint(place.folder / "south" / "a.png", 2)
    place.ingest(folder(place, "north"))
    before = place.documents()
    both = {"sources": ("north", "south")}
    place.collection = place.collection.model_copy(update=both)
    progress = place.ingest(folder(place, "south"))  # as a CronJob of one source does
    ((_, _, cause),) = failures(progress)
    assert "document of source north" in cause
    assert place.documents() == before


def test_a_source_that_has_another_name_now_has_its_documents_still(place, paint) -> None:
    paint(place.folder / "north" / "a.png", 1)
    place.ingest(folder(place, "north"))
    renamed = {**folder(place, "north"), "name": "northern"}
    progress = place.ingest(renamed)
    assert (progress.total.failed, progress.total.updated) == (0, 1)
    assert place.documents()["a.png"]["source"] == "northern"


def test_a_picture_that_moved_to_another_source_goes_with_it(place, paint) -> None:
    path = paint(place.folder / "north" / "a.png", 1)
    paint(place.folder / "north" / "b.png", 2)
    (place.folder / "south").mkdir()
    both = folder(place, "north"), folder(place, "south")
    place.ingest(*both)
    path.rename(place.folder / "south" / "a.png")
    assert place.ingest(*both).total.failed == 0
    assert place.documents()["a.png"]["source"] == "south"


def test_one_id_from_a_column_for_two_files_is_told(place, paint) -> None:
    for name in ("a", "b"):
        paint(place.images / f"{name}.png", ord(name))
    (place.images / "rows.csv").write_text("file,sku\na.png,7\nb.png,7\n")
    mapping = {"file": "rows.csv", "documentId": "sku"}
    source = {"name": "disk", "volume": {"path": str(place.images)}, "metadata": mapping}
    ((_, key, cause),) = failures(place.ingest(source))
    assert key == "b.png"
    assert "make ids unique (id '7', taken by 'a.png' of source disk)" in cause


def test_names_that_differ_in_capitals_are_two_and_in_composition_one(place, paint) -> None:
    for seed, name in enumerate(("A.png", "a.png")):
        paint(place.images / name, seed)
    for seed, form in enumerate(("NFC", "NFD"), 2):
        paint(place.images / unicodedata.normalize(form, "café.png"), seed)
    progress = place.ingest()
    assert set(place.documents()) == {"A.png", "a.png", "café.png"}
    ((_, _, cause),) = failures(progress)
    assert "differs only in how its letters are composed: rename one" in cause


def test_an_id_that_its_prefix_makes_too_long_is_told(place, paint) -> None:
    paint(place.images / ("x" * 100 + "/" + "y" * 100 + "/" + "z" * 200 + ".png"), 1)
    paint(place.images / ("x" * 100 + "/" + "y" * 100 + "/" + "z" * 250 + ".png"), 2)
    source = {"name": "disk", "volume": {"path": str(place.images)}, "idPrefix": "p" * 64}
    ((_, _, cause),) = failures(place.ingest(source))
    assert "with idPrefix has 520 characters" in cause
