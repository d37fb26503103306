"""A row of a table says the same as the same metadata in an upload."""

from __future__ import annotations

from typing import Any

import pytest

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.sources import MetadataMapping
from lookalike_serving.documents.metadata import checked_metadata
from lookalike_serving.ingest.sources.cells import Reading
from lookalike_serving.ingest.sources.rows import BadRow, RowReader

FIELDS = tuple(FieldSpec(name=kind.value.lower(), type=kind) for kind in FieldType)


def read(row: dict[str, Any], **mapping: Any) -> dict[str, Any]:
    reader = RowReader(MetadataMapping(**mapping), FIELDS, "path", Reading())
    return reader.read({"path": "a.jpg", **row}, "a.jpg").metadata


@pytest.mark.parametrize("value", [None, [], "", "a", ["a", "b"], {"deep": [None, {"x": None}]}])
@pytest.mark.parametrize("key", ["keyword", "free"])
def test_a_row_is_read_as_an_upload_is(key: str, value: Any) -> None:
    if key == "keyword" and isinstance(value, dict):
        with pytest.raises(BadRow):
            read({key: value}, onBadValue="Fail")
        assert read({key: value}) == {}
    else:
        assert read({key: value}) == checked_metadata({key: value}, FIELDS) == {key: value}


@pytest.mark.parametrize("kind", [kind.value.lower() for kind in FieldType])
def test_null_is_kept_for_every_type(kind: str) -> None:
    assert read({kind: None}) == {kind: None}


def test_an_empty_cell_of_a_number_is_null() -> None:
    assert read({"float": "", "integer": " ", "keyword": ""}) == {
        "float": None,
        "integer": None,
        "keyword": "",
    }


def test_a_constant_stands_in_for_null_alone() -> None:
    assert read({"free": None}, constants={"free": "x"}) == {"free": "x"}
    assert read({"free": "y"}, constants={"free": "x"}) == {"free": "y"}


def test_what_json_lacks_is_an_error_of_its_row() -> None:
    with pytest.raises(BadRow, match="bytes, not a JSON value"):
        read({"free": b"raw"}, onBadValue="Fail")


def test_an_empty_cell_of_a_column_that_cannot_be_a_key_is_no_loss() -> None:
    assert read({"Weight [kg]": "", "free": "x"}, onBadValue="Fail") == {"free": "x"}
    with pytest.raises(BadRow, match="brackets"):
        read({"Weight [kg]": "3"}, onBadValue="Fail")
