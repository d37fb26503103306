"""Search settings found by measuring recall."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from lookalike_crds.image_collection import Quantization, VectorSpec
from lookalike_serving.index import Point, Query, edge_growth, edge_settings
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.edge_growth import Occasion, Share
from lookalike_serving.index.protocol import Hit, Page, Record, Vector
from lookalike_serving.index.recall import BEAMS, tuned
from lookalike_serving.index.tuning import decoded

SCALAR = VectorSpec(quantization=Quantization.SCALAR, recall_target=0.99)
FEW = Share(50 * 1024, 0.0)


@dataclass
class Ranked:
    """An index whose every search finds 100 points; with a beam below `needed`, one of ten not."""

    needed: int
    for_searched: int | None = None
    """The beam that vectors need which are not stored."""
    asked: list[Query] = field(default_factory=list)

    async def scroll(
        self, *, limit: int, after: str | None, with_payload: bool, with_vector: bool
    ) -> Page:
        start = 0 if after is None else uuid.UUID(after).int % 1_000
        ids = [str(uuid.UUID(int=start + number)) for number in range(limit)]
        vector = np.zeros(2, np.float32)
        return Page(tuple(Record(id, {}, vector) for id in ids), None)

    async def query_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        self.asked += queries
        return [self._hits(query) for query in queries]

    def _hits(self, query: Query) -> list[Hit]:
        hits = [Hit(f"p{rank}", 1 - rank / 1_000) for rank in range(query.limit + 20)]
        needed = self.for_searched if query.vector[0] and self.for_searched else self.needed
        beam_for = needed * (4 if query.limit > 50 else 1)
        if not query.exact and query.ef is not None and query.ef < beam_for:
            del hits[::10]
        return hits[: query.limit]


def searched(count: int) -> list[Vector]:
    return [np.ones(2, np.float32)] * count


async def test_the_narrowest_beam_that_reaches_the_target_is_chosen() -> None:
    index = Ranked(90)
    found = await tuned(index, SCALAR, 1_000)
    assert found is not None
    assert found.ef == min(beam for beam in BEAMS if beam >= 90)
    assert found.wide_ef == min(beam for beam in BEAMS if beam >= 360)
    assert (found.recall, found.reached, found.recent) == (1.0, True, 0)
    assert found.beam(10) == found.ef
    assert found.ef < found.beam(55) < found.beam(100) == found.wide_ef < found.beam(200)
    assert found.suits(SCALAR, 1_050)
    assert not found.suits(SCALAR, 2_000)
    assert not found.suits(VectorSpec(), 1_000)
    assert decoded(found.encode()) == found


async def test_texts_that_need_a_wider_beam_decide() -> None:
    found = await tuned(Ranked(40, for_searched=190), SCALAR, 1_000, searched(60))
    assert found is not None
    assert found.recent == 60
    assert found.ef == min(beam for beam in BEAMS if beam >= 190)


async def test_a_target_out_of_reach_gets_the_widest_beam_and_is_told() -> None:
    found = await tuned(Ranked(10_000), SCALAR, 1_000)
    assert found is not None
    assert (found.ef, found.reached) == (BEAMS[-1], False)
    assert found.recall == pytest.approx(0.9, abs=0.01)


async def test_an_empty_index_has_nothing_to_measure() -> None:
    class Empty(Ranked):
        async def scroll(
            self, *, limit: int, after: str | None, with_payload: bool, with_vector: bool
        ) -> Page:
            return Page((), None)

    assert await tuned(Empty(10), SCALAR, 0) is None


def test_a_tuning_of_another_release_counts_as_none() -> None:
    assert decoded({"ef": 10}) is None
    assert decoded("text") is None


@pytest.mark.parametrize(
    ("points", "dimension", "kb"),
    [(0, 512, 10_000), (30_000, 512, 10_000), (120_000, 512, 30_000), (10**7, 512, 64_000)],
)
def test_filters_are_scanned_below_an_eighth_of_the_vectors_within_bounds(
    points: int, dimension: int, kb: int
) -> None:
    assert edge_settings.thresholds(points, dimension).full_scan == kb


def graph_of(folder: Path) -> dict[str, int]:
    """What Edge keeps of the settings of the only graph."""
    [file] = [each for each in folder.rglob("hnsw_config.json") if "vector_index" in each.parts]
    kept: dict[str, int] = json.loads(file.read_text())
    return kept


async def test_an_optimised_shard_scans_for_filters_as_its_points_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_settings, "INDEXING_THRESHOLD_KB", 50)
    monkeypatch.setattr(edge_settings, "_FULL_SCAN_KB", (10, 100))
    monkeypatch.setattr(edge_growth, "ASKED", Occasion(FEW, FEW))
    vectors = np.random.default_rng(0).standard_normal((2_000, 32)).astype(np.float32)
    index = await EdgeIndex.open(tmp_path / "i", vector=SCALAR, dimension=32, fingerprint="f")
    try:
        await index.upsert([Point(str(uuid.UUID(int=n)), v, {}) for n, v in enumerate(vectors)])
        await index.optimize()
    finally:
        await index.close()
    kept = graph_of(tmp_path)
    assert kept["indexed_vector_count"] == 2_000
    assert kept["full_scan_threshold"] == pytest.approx(2_000 / 8, rel=0.05)


async def test_an_edge_index_searches_as_it_has_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_settings, "INDEXING_THRESHOLD_KB", 50)
    monkeypatch.setattr(edge_growth, "ASKED", Occasion(FEW, FEW))
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2_000, 32)).astype(np.float32)
    index = await EdgeIndex.open(tmp_path / "i", vector=SCALAR, dimension=32, fingerprint="f")
    try:
        await index.upsert(
            [Point(str(uuid.UUID(int=n << 96)), v, {}) for n, v in enumerate(vectors)]
        )
        assert (await index.info()).tuning is None
        for vector in vectors[:60]:
            await index.query(Query(vector + 0.5, 10))
        await index.optimize()
        tuning = (await index.info()).tuning
        assert tuning is not None
        assert tuning.recent > 0
        assert tuning.reached
        assert tuning.ef in BEAMS
        assert tuning.points == 2_000
    finally:
        await index.close()
    again = await EdgeIndex.open(tmp_path / "i", vector=SCALAR, dimension=32, fingerprint="f")
    try:
        assert (await again.info()).tuning == tuning
        params = []
        search_params = edge_settings.search_params
        monkeypatch.setattr(
            edge_settings, "search_params", lambda *a: params.append(a) or search_params(*a)
        )
        assert len(await again.query(Query(vectors[0], 10))) == 10
        assert params == [(tuning.beam(10), False, tuning.oversampling)]
    finally:
        await again.close()
