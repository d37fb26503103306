"""A survey tells before an ingestion what will come in, what not and why."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.sources import SourceSpec
from lookalike_serving.ingest import survey as room
from lookalike_serving.ingest.survey import SAMPLE, Survey, survey

Paint = Callable[..., Path]


async def surveyed(folder: Path, metadata: dict[str, Any] | None = None, **more: Any) -> Survey:
    spec = {"name": "disk", "volume": {"path": str(folder)}, "metadata": metadata or {}}
    fields = (FieldSpec(name="price", type=FieldType.FLOAT),)
    return await survey(SourceSpec.model_validate(spec), fields, **more)


async def test_good_pictures_will_all_come_in(tmp_path: Path, paint: Paint) -> None:
    for number in range(3):
        paint(tmp_path / f"Bild {number} ü.png", number)
    made = await surveyed(tmp_path)
    assert (made.comes_in, made.sampled, made.complete, made.whole) == (3, 3, True, True)


async def test_what_cannot_be_decoded_is_told_by_cause(tmp_path: Path, paint: Paint) -> None:
    whole = paint(tmp_path / "a.jpg", 1).read_bytes()
    for number in range(3):
        (tmp_path / f"cut{number}.jpg").write_bytes(whole[: 300 + 7 * number])
    (tmp_path / "notes.txt").write_text("x")
    made = await surveyed(tmp_path)
    (cause,) = made.undecodable
    assert cause.count == 3
    assert cause.example.startswith("cut0.jpg: ")
    assert "again" in cause.told(), "the remedy"
    assert (made.complete, made.refused) == (False, 3)
    assert [(each.count, each.example) for each in made.skipped] == [(1, "notes.txt")]


async def test_columns_are_told_with_their_types_and_fields(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "a.png", 1)
    row = {"file": "a.png", "price": 3.5, "taken": "2026-01-02", "sku": "A", "_own": "x"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    made = await surveyed(tmp_path, {"file": "rows.jsonl", "documentId": "sku"})
    assert [(c.name, c.guess, c.field) for c in made.columns] == [
        ("price", "Float", "Float"),
        ("taken", "Datetime", None),
        ("_own", "Keyword", None),
    ]
    assert [c.name for c in made.columns if c.could_be_typed] == ["taken"]


async def test_a_source_that_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    made = await surveyed(tmp_path / "nowhere")
    assert made.error is not None
    assert "nowhere is not a folder" in made.error
    assert not made.complete


async def test_time_is_bounded_and_what_was_not_seen_is_told(tmp_path: Path, paint: Paint) -> None:
    for number in range(5):
        paint(tmp_path / f"{number}.png", number)
    started = time.monotonic()
    made = await surveyed(tmp_path, seconds=0.0)
    assert not made.whole
    assert made.comes_in == 1
    assert time.monotonic() - started < 10


@given(st.integers(0, 3000))
def test_a_sample_is_spread_over_all_of_them(count: int) -> None:
    spread: room._Spread[int] = room._Spread(SAMPLE)
    for number in range(count):
        spread.add(number)
    assert min(count, SAMPLE) <= len(spread.kept) <= 2 * SAMPLE
    steps = {b - a for a, b in zip(spread.kept, spread.kept[1:], strict=False)}
    assert len(steps) <= 1, "evenly"
    assert count == 0 or count - spread.kept[-1] <= max(steps, default=1)
