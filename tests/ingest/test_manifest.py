"""Manifests in their four formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from lookalike_crds.progress import RunState

ROWS = [
    {"url": "images/a.png", "sku": "A", "price": 1.5, "stock": 3},
    {"url": "images/b.png", "sku": "B", "price": 2.0, "stock": 0},
]


def write(path: Path) -> Path:
    match path.suffix:
        case ".csv":
            lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
            path.write_text("\n".join(lines))
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in ROWS))
        case ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def source(path: Path, **metadata: Any) -> dict[str, Any]:
    return {"name": "list", "urls": {"manifest": str(path)}, "metadata": metadata}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_tables_give_ids_and_metadata_of_the_fields_types(place, paint, suffix) -> None:
    for i, name in enumerate("ab"):
        paint(place.images / f"{name}.png", i)
    manifest = write(place.folder / f"list{suffix}")
    assert place.ingest(source(manifest, documentId="sku")).state is RunState.COMPLETED
    documents = place.documents()
    assert documents["A"]["metadata"] == {"price": 1.5, "stock": 3}
    assert documents["B"]["metadata"] == {"price": 2.0, "stock": 0}
    assert place.ingest(source(manifest, documentId="sku")).total.unchanged == 2


def test_a_text_manifest_is_one_address_a_line(place, paint) -> None:
    paint(place.images / "a.png", 1)
    manifest = place.folder / "list.txt"
    manifest.write_text("# mine\nimages/a.png\n\nimages/none.png\nftp://x/y.png\n../etc/passwd\n")
    progress = place.ingest(source(manifest))
    assert progress.total.new == 1
    causes = {e.key: e.cause for e in progress.errors}
    assert "No such file" in causes["row 2"]
    assert "neither a path nor" in causes["row 3"]
    assert "leads out" in causes["row 4"]


SECRET = "root:x:0:0:hunter2:/root:/bin/bash"


@pytest.mark.parametrize("format", ["Text", "Csv", "JsonLines", "Parquet", "Auto"])
def test_a_file_that_is_no_manifest_is_never_quoted(place, format) -> None:
    """`urls.manifest` may be pointed at a mounted Secret or the users of the machine."""
    manifest = place.folder / ("passwd.txt" if format == "Auto" else "passwd")
    lines = [SECRET, "key: hunter2", "ftp://hunter2", "../hunter2", "/etc/hunter2"]
    lines += [
        "hunter2\0",
        "{hunter2",
        '"hunter2"',
        '["hunter2"]',
        '{"url": "hunter2"}',
        "a,hunter2",
    ]
    manifest.write_text("\n".join(lines))
    for metadata in ({}, {"documentId": "sku"}, {"columns": {"cost": "price"}}):
        asked = source(manifest, **metadata)
        asked["urls"]["format"] = format
        progress = place.ingest(asked)
        assert progress.total.new == 0
        assert "hunter2" not in progress.model_dump_json()


def test_columns_can_be_renamed_and_constants_added(place, paint) -> None:
    for i, name in enumerate("ab"):
        paint(place.images / f"{name}.png", i)
    manifest = write(place.folder / "list.csv")
    place.ingest(source(manifest, columns={"cost": "price"}, constants={"status": "active"}))
    assert place.documents()["images/a.png"]["metadata"] == {"cost": "1.5", "status": "active"}


def test_addresses_on_private_networks_are_refused_one_by_one(place) -> None:
    manifest = place.folder / "list.txt"
    manifest.write_text("http://169.254.169.254/latest/meta-data\nhttp://127.0.0.1:1/x.png\n")
    progress = place.ingest(source(manifest))
    assert progress.total.failed == 2
    assert all("address" in e.cause for e in progress.errors)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("list.parquet", "not parquet", "is not Parquet"),
        ("list.xls", "?", "does not tell its format"),
    ],
)
def test_a_manifest_that_cannot_be_read_fails_with_the_reason(place, name, content, part) -> None:
    (place.folder / name).write_text(content)
    progress = place.ingest(source(place.folder / name))
    assert progress.state is RunState.FAILED
    assert part in (progress.message or "")
