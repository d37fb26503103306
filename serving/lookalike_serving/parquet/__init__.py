"""Parquet files, read by a process of its own with bounded memory.

A few hundred bytes of Parquet unpack to gigabytes: a page of repeated values, a dictionary entry
that every row refers to. How much, only unpacking tells. So a child process unpacks, under a limit
on its memory. It opens nothing itself: it asks its parent for ranges of the file, which may lie on
a disk or in a bucket.

    parent  --rows / image-->  child      (`process.py`, `child.py`)
    parent  <----range-------  child      the parent reads it and answers with the bytes
    parent  <--rows, bytes---  child

Rows come as plain JSON values, a row group at a time; the bytes of an image come alone, from the
row group that holds it.
"""

from lookalike_serving.parquet.process import (
    BadRow,
    Damaged,
    ImageRow,
    NoImages,
    ParquetProcess,
    TooLarge,
)

__all__ = ["BadRow", "Damaged", "ImageRow", "NoImages", "ParquetProcess", "TooLarge"]
