"""Rows of Parquet files: tables, and rows that hold an image themselves."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from lookalike_serving.images.files import open_regular
from lookalike_serving.ingest.sources.csv_rows import MAX_ROW
from lookalike_serving.ingest.sources.protocol import SourceError
from lookalike_serving.ingest.sources.tables import MAX_ROWS, Row, Unreadable
from lookalike_serving.parquet import BadRow, Damaged, ImageRow, ParquetProcess
from lookalike_serving.parquet.process import MEMORY_BYTES

SUFFIXES = (".parquet", ".pq")


def parquet_rows(path: Path, columns: Collection[str] | None) -> Iterator[Row]:
    """Each row as plain JSON values, of these columns alone where given. Raises SourceError."""
    process = ParquetProcess(MEMORY_BYTES)
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            for row in process.rows(file, most_rows=MAX_ROWS, most_row=MAX_ROW, columns=columns):
                yield Unreadable(row.place, row.cause) if isinstance(row, BadRow) else row
    except Damaged as error:
        raise SourceError(f"{path} {error}") from None
    finally:
        process.close()


def image_rows(
    file: BinaryIO, image_column: str | None, columns: Collection[str] | None
) -> Iterator[ImageRow | BadRow]:
    """The rows of a file that holds images, without their bytes. Raises NoImages and Damaged."""
    process = ParquetProcess(MEMORY_BYTES)
    try:
        yield from process.image_rows(
            file,
            image_column=image_column,
            most_rows=MAX_ROWS,
            most_row=MAX_ROW,
            columns=columns,
        )
    finally:
        process.close()
