"""Images in a column of Parquet files, in a folder and in a bucket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from tests.ingest.test_archives import listed
from tests.support.object_store import keys_of_s3, s3_server
from tests.support.pictures import drawn, encoded

from lookalike_serving.images import ImageError
from lookalike_serving.images.local_files import LocalFiles, ServedFiles
from lookalike_serving.images.members import Cell, cell_address, split
from lookalike_serving.ingest.sources import Item, Rejected

RED, BLUE = (encoded(drawn(colour), "JPEG") for colour in ("red", "blue"))


def picture(number: int) -> bytes:
    """No two are the same."""
    return (RED, BLUE)[number % 2] + bytes([number])


def of_hugging_face(path: Path) -> Path:
    """Seven rows in row groups of three, as `datasets` writes them; the sixth has no image."""
    rows = [
        {
            "image": {"bytes": None if at == 5 else picture(at), "path": None},
            "label": at,
            "caption": f"picture {at}",
            "mask": b"\xff\x00",
        }
        for at in range(7)
    ]
    kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    schema = pyarrow.schema(
        {
            "image": kind,
            "label": pyarrow.int64(),
            "caption": pyarrow.string(),
            "mask": pyarrow.binary(),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows, schema)
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    return path


def plain(path: Path, **columns: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    of_hugging_face(root / "train" / "0.parquet")
    plain(root / "plain.parquet", jpg=[RED, BLUE], id=["r", "b"])
    plain(root / "labels.parquet", id=["r", "b"])
    plain(root / "pairs.parquet", left=[RED], right=[BLUE])
    (root / "torn.parquet").write_bytes((root / "plain.parquet").read_bytes()[:-20])
    return root


async def check(spec: dict[str, Any], scratch: Path) -> None:
    entries, skipped, images = await listed(spec, scratch)
    found = {each.key: each for each in entries if isinstance(each, Item)}
    numbers = ["0/0", "0/1", "0/2", "1/0", "1/1", "1/2", "2/0"]
    assert {key: item.metadata for key, item in found.items()} == {
        "plain.parquet/0/0": {"id": "r"},
        "plain.parquet/0/1": {"id": "b"},
        **{
            f"train/0.parquet/{where}": {
                "image": {"path": None},
                "label": at,
                "caption": f"picture {at}",
            }
            for at, where in enumerate(numbers)
        },
    }
    assert images["plain.parquet/0/1"] == BLUE
    assert {key: images[key] for key in images if key.startswith("train/")} == {
        f"train/0.parquet/{where}": picture(at) for at, where in enumerate(numbers) if at != 5
    }
    bad = {each.key: each.cause for each in entries if isinstance(each, Rejected)}
    assert bad.keys() == {"pairs.parquet", "torn.parquet"}
    assert "bytes (left, right): set imageColumn" in bad["pairs.parquet"]
    assert "is not Parquet" in bad["torn.parquet"]
    assert skipped == {
        "a Parquet file without a column of bytes holds no images: leave it out of glob": 1
    }


def test_in_a_folder(folder: Path, tmp_path: Path) -> None:
    asyncio.run(check({"volume": {"path": str(folder), "archives": True}}, tmp_path))


def test_in_a_bucket(folder: Path, tmp_path: Path) -> None:
    keys_of_s3(tmp_path / "secrets")
    with s3_server() as s3:
        s3.bucket("rows")
        for file in folder.rglob("*.parquet"):
            s3.put("rows", f"x/{file.relative_to(folder).as_posix()}", file.read_bytes())
        bucket = {"bucket": "rows", "prefix": "x/", "endpoint": s3.url, "archives": True}
        asyncio.run(check({"s3": {**bucket, "credentialsSecretRef": "keys"}}, tmp_path))


def test_a_row_is_served_from_the_folders_that_may_be_served_alone(folder: Path) -> None:
    plain_file = (folder / "plain.parquet").as_uri()
    address = cell_address(plain_file, Cell(0, 1, "jpg"))
    assert split(address, 1) == (plain_file, Cell(0, 1, "jpg"))
    assert asyncio.run(ServedFiles(10_000, [folder]).read(address)) == BLUE
    for most, root, code in (
        (100, folder, "too_large"),
        (10_000, folder / "x", "forbidden_path"),
    ):
        with pytest.raises(ImageError) as refused:
            asyncio.run(ServedFiles(most, [root]).read(address))
        assert refused.value.code == code


@pytest.mark.parametrize(
    ("cell", "code", "told"),
    [
        (Cell(1, 2, "image.bytes"), "not_found", "no image in row 2 of row group 1"),
        (Cell(2, 1, "image.bytes"), "not_found", "no image in row 1 of row group 2"),
        (Cell(3, 0, "image.bytes"), "not_found", "has no row group 3"),
        (Cell(0, 0, "picture"), "not_found", "has no column 'picture'"),
    ],
)
def test_a_row_without_an_image_is_told(folder: Path, cell: Cell, code: str, told: str) -> None:
    file = (folder / "train" / "0.parquet").as_uri()
    with pytest.raises(ImageError, match=told) as refused:
        asyncio.run(LocalFiles(10_000).read(cell_address(file, cell)))
    assert refused.value.code == code


def test_rows_are_read_in_any_order_and_after_a_failure(folder: Path) -> None:
    file = folder / "train" / "0.parquet"

    async def read() -> None:
        files = LocalFiles(10_000)

        def at(group: int, row: int) -> str:
            return cell_address(file.as_uri(), Cell(group, row, "image.bytes"))

        for group, row in ((2, 0), (0, 2), (0, 0), (1, 1), (0, 1)):
            assert await files.read(at(group, row)) == picture(3 * group + row)
        plain(file, image=[RED])  # another file, under the same name
        with pytest.raises(ImageError, match="has no row group 2"):
            await files.read(at(2, 0))
        assert await files.read(cell_address(file.as_uri(), Cell(0, 0, "image"))) == RED

    asyncio.run(read())


def test_a_row_group_beyond_memory_is_told_and_the_next_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike_serving.parquet.process.MEMORY_BYTES", 64 * 2**20)
    path = tmp_path / "bomb.parquet"
    schema = pyarrow.schema([("image", pyarrow.large_binary())])
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False
    ) as out:
        big = pyarrow.array([bytes(40 * 2**20), bytes(40 * 2**20)], pyarrow.large_binary())
        out.write_table(pyarrow.table([big], schema=schema))
        out.write_table(pyarrow.table([[RED]], schema=schema))

    async def read() -> None:
        files = LocalFiles(10_000)
        with pytest.raises(ImageError, match="64 MiB of memory: write"):
            await files.read(cell_address(path.as_uri(), Cell(0, 0, "image")))
        assert await files.read(cell_address(path.as_uri(), Cell(1, 0, "image"))) == RED

    asyncio.run(read())


def test_the_column_of_images_may_be_named(folder: Path, tmp_path: Path) -> None:
    volume = {"path": str(folder), "archives": True, "imageColumn": "right"}
    entries, _, images = asyncio.run(listed({"volume": volume}, tmp_path))
    assert images == {"pairs.parquet/0/0": BLUE}
    bad = {each.key: each.cause for each in entries if isinstance(each, Rejected)}
    assert "no column 'right'" in bad["train/0.parquet"]
    assert "image.bytes, mask" in bad["train/0.parquet"]


def test_an_id_may_come_from_a_column(folder: Path, tmp_path: Path) -> None:
    volume = {"path": str(folder), "archives": True, "glob": "plain.parquet"}
    metadata = {"documentId": "id", "fileInfo": True}
    entries, _, _ = asyncio.run(listed({"volume": volume, "metadata": metadata}, tmp_path))
    found = [each for each in entries if isinstance(each, Item)]
    assert [each.document_id for each in found] == ["r", "b"]
    assert found[0].metadata["file"].keys() == {"name", "folder", "modified_at"}
    assert found[0].metadata["file"]["name"] == "plain.parquet"
