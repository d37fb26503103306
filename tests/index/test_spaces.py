"""An index with vectors of a copy model beside the others: the same tests against each engine."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from fastapi import FastAPI
from httpx import ASGITransport

from lookalike_crds.image_collection import Distance, VectorSpec
from lookalike_serving.index import bulk
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.protocol import IndexMismatch, IndexRefused, Point, Query
from lookalike_serving.index.remote import RemoteIndex
from lookalike_serving.index.spaces import CopySpace

SPACE = CopySpace(3, "copies-a")
OWN, COPIES = np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32)[::-1]


def uid(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def point(number: int, own: int, copies: int) -> Point:
    """Numbers of axes: of documents that are near in one space, and not in the other."""
    return Point(uid(number), OWN[own], {"n": number}, COPIES[copies])


POINTS = [point(0, 0, 2), point(1, 1, 1), point(2, 2, 0)]


async def test_each_vector_is_searched_by_itself(engine):
    index = await engine.open(copies=SPACE)
    await index.upsert(POINTS)
    (own,) = await index.query(Query(OWN[0], limit=1, with_vector=True))
    (copy,) = await index.query(Query(COPIES[0], limit=1, of_copies=True))
    assert (own.id, copy.id) == (uid(0), uid(2))
    np.testing.assert_allclose(own.vector, OWN[0])
    not_two = condition("n", "lt", 2)
    asked = [Query(COPIES[0], limit=3, filter=not_two, of_copies=True), Query(OWN[1], limit=1)]
    first, second = await index.query_batch(asked)
    assert {hit.id for hit in first} == {uid(0), uid(1)}
    assert [hit.id for hit in second] == [uid(1)]


async def test_both_vectors_are_returned_and_written_again(engine):
    index = await engine.open(copies=SPACE)
    await index.upsert(POINTS)
    (record,) = await index.retrieve([uid(1)], with_vector=True)
    np.testing.assert_allclose(record.vector, OWN[1])
    np.testing.assert_allclose(record.copies, COPIES[1])
    (without,) = await index.retrieve([uid(1)])
    assert (without.vector, without.copies) == (None, None)
    page = await index.scroll(with_vector=True, limit=10)
    assert all(each.vector is not None and each.copies is not None for each in page.records)
    await index.merge_payload(uid(1), {"kind": "mug"})
    await index.upsert([Point(uid(0), OWN[3], {}, COPIES[0])])
    await index.delete([uid(2)])
    hits = await index.query(Query(COPIES[0], limit=3, of_copies=True))
    assert [hit.id for hit in hits] == [uid(0), uid(1)]
    assert hits[1].payload == {"n": 1, "kind": "mug"}
    assert (await index.info()).points == 2


async def test_the_copy_models_vectors_are_compared_by_cosine_whatever_the_others_are(engine):
    index = await engine.open(copies=SPACE, vector=VectorSpec(distance=Distance.EUCLID))
    await index.upsert([Point(uid(0), 3 * OWN[0], {}, COPIES[0] + COPIES[1])])
    (hit,) = await index.query(Query(COPIES[0], limit=1, of_copies=True, min_score=0.7))
    assert (hit.score, hit.distance) == (pytest.approx(0.5**0.5, abs=1e-3), None)
    assert not await index.query(Query(COPIES[0], limit=1, of_copies=True, min_score=0.8))
    (own,) = await index.query(Query(OWN[0], limit=1))
    assert own.distance == pytest.approx(2, abs=1e-3)


async def test_a_point_without_one_of_the_vectors_is_refused(engine):
    index = await engine.open(copies=SPACE)
    with pytest.raises(IndexRefused, match="the copy model's vector of"):
        await index.upsert([Point(uid(0), OWN[0], {})])
    with pytest.raises(IndexRefused, match="4"):
        await index.upsert([Point(uid(0), OWN[0], {}, OWN[0])])
    assert await index.count() == 0


async def test_an_index_without_a_copy_model_refuses_its_vectors(engine):
    index = await engine.open()
    with pytest.raises(IndexRefused, match="has no vectors of a copy model"):
        await index.upsert(POINTS)
    with pytest.raises(IndexRefused, match="has no vectors of a copy model"):
        await index.query(Query(COPIES[0], limit=1, of_copies=True))


@pytest.mark.parametrize("other", [None, CopySpace(3, "copies-b")])
async def test_it_is_not_opened_for_another_copy_model(engine, other):
    index = await engine.open(copies=SPACE)
    await index.upsert(POINTS)
    await index.close()
    with pytest.raises(IndexMismatch, match="cop"):
        await engine.open(copies=other)
    again = await engine.open(copies=SPACE)
    (copy,) = await again.query(Query(COPIES[0], limit=1, of_copies=True))
    assert copy.id == uid(2)


async def test_an_optimised_edge_index_has_both(folder):
    index = await EdgeIndex.open(
        folder / "index", vector=VectorSpec(), dimension=64, fingerprint="a", copies=SPACE
    )
    try:
        own = np.random.default_rng(0).standard_normal((50_000, 64), dtype=np.float32)
        copies = np.random.default_rng(1).standard_normal((50_000, 3), dtype=np.float32)
        made = zip(own, copies, strict=True)
        await index.upsert([Point(uid(n), a, {}, b) for n, (a, b) in enumerate(made)])
        await index.optimize()
        info = await index.info()
        assert (info.points, info.indexed_vectors, info.status) == (50_000, 50_000, "green")
        (hit,) = await index.query(Query(own[7], limit=1))
        (copy,) = await index.query(Query(copies[8], limit=1, of_copies=True))
        assert (hit.id, copy.id) == (uid(7), uid(8))
    finally:
        await index.close()


async def test_the_bulk_route_carries_both(folder):
    index = await EdgeIndex.open(
        folder / "index", vector=VectorSpec(), dimension=4, fingerprint="a", copies=SPACE
    )
    app = FastAPI()
    app.include_router(bulk.bulk_router({"shoes": index}.get, lambda: "a-token"))
    remote = RemoteIndex("http://test", "shoes", "a-token", transport=ASGITransport(app))
    try:
        await remote.upsert(POINTS)
        (record,) = await remote.retrieve([uid(1)], with_vector=True)
        np.testing.assert_allclose(record.vector, OWN[1])
        np.testing.assert_allclose(record.copies, COPIES[1])
        with pytest.raises(IndexRefused, match="copy model"):
            await remote.upsert([Point(uid(0), OWN[0], {})])
    finally:
        await remote.close()
        await index.close()
