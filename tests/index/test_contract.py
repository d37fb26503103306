"""What every engine promises: the same tests against each."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime

import numpy as np
import pytest

from lookalike_crds.image_collection import Distance, FieldSpec, FieldType, Quantization, VectorSpec
from lookalike_crds.payload_indexes import RESERVED
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.ranges import Bound
from lookalike_serving.index.filters.tree import HasId, Not
from lookalike_serving.index.protocol import (
    IndexMismatch,
    IndexRefused,
    Point,
    Query,
)

AXES = np.eye(4, dtype=np.float32)


def uid(number: int) -> str:
    return str(uuid.UUID(int=number))


def point(number: int, vector=None, **payload) -> Point:
    return Point(uid(number), AXES[number % 4] if vector is None else vector, payload)


def cloud(count: int, dimension: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32)


async def ids_of(index, after=None, **kwargs) -> list[str]:
    """All ids, page by page."""
    found = []
    while True:
        page = await index.scroll(after=after, **kwargs)
        found += [record.id for record in page.records]
        if page.next is None:
            return found
        after = page.next


# Writing


async def test_a_written_point_is_found_at_once(engine):
    index = await engine.open()
    await index.upsert([point(1, kind="mug")])
    (hit,) = await index.query(Query(AXES[1], limit=1))
    assert (hit.id, hit.payload) == (uid(1), {"kind": "mug"})


async def test_writing_a_point_twice_leaves_the_second(engine):
    index = await engine.open()
    await index.upsert([point(1, kind="mug", price=3)])
    await index.upsert([point(1, vector=AXES[2], kind="cup")])
    (record,) = await index.retrieve([uid(1)], with_vector=True)
    assert record.payload == {"kind": "cup"}
    np.testing.assert_allclose(record.vector, AXES[2])
    assert await index.count() == 1


async def test_of_equal_ids_in_one_call_the_last_counts(engine):
    index = await engine.open()
    await index.upsert([point(1, n=1), point(2, n=2), point(1, n=3)])
    (record,) = await index.retrieve([uid(1)])
    assert record.payload == {"n": 3}
    assert await index.count() == 2


async def test_many_points_are_written_in_one_call(engine):
    index = await engine.open()
    await index.upsert([point(n, vector=v) for n, v in enumerate(cloud(1000), start=1)])
    assert await index.count() == 1000


async def test_writing_nothing_is_no_error(engine):
    index = await engine.open()
    await index.upsert([])
    await index.delete([])
    assert await index.count() == 0


async def test_merging_a_payload_sets_its_keys_and_keeps_the_others(engine):
    index = await engine.open()
    await index.upsert([point(1, a=1, b={"x": 1, "y": 2})])
    await index.merge_payload(uid(1), {"b": {"z": 3}, "c": 4})
    (record,) = await index.retrieve([uid(1)])
    assert record.payload == {"a": 1, "b": {"z": 3}, "c": 4}


async def test_merging_a_null_removes_the_key(engine):
    index = await engine.open()
    await index.upsert([point(1, a=1, b=2)])
    await index.merge_payload(uid(1), {"b": None, "c": None})
    (record,) = await index.retrieve([uid(1)])
    assert record.payload == {"a": 1}


async def test_replacing_a_payload_removes_the_other_keys_and_keeps_the_vector(engine):
    index = await engine.open()
    await index.upsert([point(1, a=1, b=2)])
    await index.replace_payload(uid(1), {"c": 3})
    (record,) = await index.retrieve([uid(1)], with_vector=True)
    assert record.payload == {"c": 3}
    np.testing.assert_allclose(record.vector, AXES[1])


@pytest.mark.parametrize("change", ["merge_payload", "replace_payload"])
async def test_changing_the_payload_of_a_missing_point_is_refused(engine, change):
    index = await engine.open()
    with pytest.raises(IndexRefused, match=uid(7)):
        await getattr(index, change)(uid(7), {"a": 1})
    assert await index.count() == 0


async def test_deleted_points_are_gone_and_unknown_ones_ignored(engine):
    index = await engine.open()
    await index.upsert([point(1), point(2)])
    await index.delete([uid(1), uid(99)])
    assert await ids_of(index) == [uid(2)]


# Payloads


@pytest.mark.parametrize(
    "payload",
    [
        {"text": "Tasse – 杯子 ☕ \u0000 \U0001f600", "schlüssel": "ß"},
        {"largest": 2**63 - 1, "smallest": -(2**63), "odd": 2**53 + 1},
        {"float": 0.1, "tiny": 5e-324, "huge": 1.7e308, "whole": 2.0},
        {"flags": [True, False, None], "nested": {"a": [{"b": [1, "2", 3.5]}]}},
        {"empty_list": [], "empty_map": {}, "empty_text": "", "null": None},
        {"dotted.key": 1, "spaced key": 2, "": 3},
    ],
    ids=["unicode", "integers", "floats", "nesting", "empties", "odd keys"],
)
async def test_payloads_come_back_as_they_were(engine, payload):
    index = await engine.open()
    await index.upsert([Point(uid(1), AXES[0], payload)])
    (record,) = await index.retrieve([uid(1)])
    assert record.payload == payload
    assert repr(record.payload.get("flags")) == repr(payload.get("flags"))


async def test_a_payload_of_two_megabytes_comes_back(engine):
    index = await engine.open()
    payload = {"text": "é" * 1_000_000, "list": list(range(10_000))}
    await index.upsert([Point(uid(1), AXES[0], payload)])
    (record,) = await index.retrieve([uid(1)])
    assert record.payload == payload


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"price": float("nan")}, "payload.price is nan"),
        ({"a": {"b": [1, float("inf")]}}, r"payload\.a\.b\[1\] is inf"),
        ({"n": 2**63}, "does not fit 64 signed bits"),
        ({"image": b"\x89PNG"}, "payload.image is bytes"),
        ({"half": "\ud800"}, "not valid Unicode"),
        ({1: "one"}, "key 1 in payload is not text"),
        ({"a": {2: "two"}}, "key 2 in payload.a is not text"),
        ({"when": object()}, "payload.when is object"),
    ],
)
async def test_payloads_that_json_cannot_hold_are_refused(engine, payload, message):
    index = await engine.open()
    with pytest.raises(IndexRefused, match=message):
        await index.upsert([Point(uid(1), AXES[0], payload)])


async def test_a_payload_nested_without_end_is_refused(engine):
    index = await engine.open()
    payload: dict = {}
    for _ in range(5000):
        payload = {"a": payload}
    with pytest.raises(IndexRefused, match="deeper than 32 levels"):
        await index.upsert([Point(uid(1), AXES[0], payload)])


# Vectors and ids


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1, 2, 3], r"shape \(3,\), and the index \(4,\)"),
        ([[1, 2, 3, 4]], r"shape \(1, 4\)"),
        ([1, 2, float("nan"), 4], "NaN or infinity"),
        ([1, 2, float("inf"), 4], "NaN or infinity"),
        ([float("inf"), float("-inf"), 0, 0], "NaN or infinity"),
        (None, "has no vector"),
    ],
)
async def test_bad_vectors_are_refused_and_nothing_of_the_call_is_written(engine, vector, message):
    index = await engine.open()
    bad = None if vector is None else np.array(vector, dtype=np.float32)
    with pytest.raises(IndexRefused, match=message):
        await index.upsert([point(1), Point(uid(2), bad, {})])
    assert await index.count() == 0


async def test_large_but_finite_vectors_are_accepted(engine):
    index = await engine.open(vector=VectorSpec(distance=Distance.DOT))
    await index.upsert([Point(uid(1), np.full(4, 3e38, dtype=np.float32), {})])
    assert await index.count() == 1


@pytest.mark.parametrize("vector", [[1, 2, 3], [float("nan"), 0, 0, 0]])
async def test_bad_query_vectors_are_refused(engine, vector):
    index = await engine.open()
    with pytest.raises(IndexRefused, match="the query vector"):
        await index.query(Query(np.array(vector, dtype=np.float32), limit=1))


@pytest.mark.parametrize("call", ["upsert", "retrieve", "delete", "merge_payload"])
async def test_an_id_that_is_no_uuid_is_refused(engine, call):
    index = await engine.open()
    arguments = {
        "upsert": ([Point("mug-1", AXES[0], {})],),
        "retrieve": (["mug-1"],),
        "delete": (["mug-1"],),
        "merge_payload": ("mug-1", {}),
    }[call]
    with pytest.raises(IndexRefused, match="'mug-1' is not a point id: pass a UUID"):
        await getattr(index, call)(*arguments)


async def test_an_id_is_the_same_in_every_spelling(engine):
    index = await engine.open()
    id = "0B9F2C60-3A53-4BCB-9D3E-6E3D5E7F8A11"
    await index.upsert([Point(id, AXES[0], {})])
    (record,) = await index.retrieve([id.lower(), "{" + id + "}"][:1])
    assert record.id == id.lower()


# Reading by id


async def test_points_are_retrieved_in_the_order_asked_and_missing_ones_left_out(engine):
    index = await engine.open()
    await index.upsert([point(n) for n in range(1, 600)])
    asked = [uid(n) for n in (599, 3, 1000, 1, 300)]
    assert [r.id for r in await index.retrieve(asked)] == [uid(n) for n in (599, 3, 1, 300)]


async def test_a_payload_can_be_asked_for_in_part(engine):
    index = await engine.open()
    await index.upsert([point(1, a=1, b={"x": 1, "y": 2}, **{"odd key": 5})])
    (record,) = await index.retrieve([uid(1)], with_payload=("b.x", "odd key", "missing"))
    assert record.payload == {"b": {"x": 1}, "odd key": 5}
    (record,) = await index.retrieve([uid(1)], with_payload=False)
    assert record.payload == {}
    (hit,) = await index.query(Query(AXES[1], limit=1, with_payload=("a",)))
    assert hit.payload == {"a": 1}
    (hit,) = await index.query(Query(AXES[1], limit=1, with_payload=()))
    assert hit.payload == {}


async def test_vectors_come_only_when_asked_for(engine):
    index = await engine.open()
    await index.upsert([point(1)])
    (record,) = await index.retrieve([uid(1)])
    (hit,) = await index.query(Query(AXES[1], limit=1))
    assert record.vector is None
    assert hit.vector is None
    (hit,) = await index.query(Query(AXES[1], limit=1, with_vector=True))
    assert hit.vector is not None
    assert hit.vector.dtype == np.float32
    np.testing.assert_allclose(hit.vector, AXES[1])


# Scrolling and counting


@pytest.mark.parametrize("limit", [1, 7, 100, 10_000])
async def test_pages_hold_every_point_once_in_id_order(engine, limit):
    index = await engine.open()
    numbers = np.random.default_rng(1).permutation(np.arange(1, 41 if limit == 1 else 701))
    await index.upsert([point(int(n)) for n in numbers])
    assert await ids_of(index, limit=limit) == [uid(n) for n in range(1, len(numbers) + 1)]


async def test_a_page_can_be_filtered(engine):
    index = await engine.open()
    await index.upsert([point(n, even=n % 2 == 0) for n in range(1, 21)])
    even = condition("even", "eq", True)
    assert await ids_of(index, limit=3, filter=even) == [uid(n) for n in range(2, 21, 2)]


async def test_writes_between_pages_neither_hide_nor_repeat_the_points_that_stay(engine):
    index = await engine.open()
    await index.upsert([point(n) for n in range(10, 20)])
    page = await index.scroll(limit=4)
    # The first point of the following page goes, others come before and behind.
    await index.delete([page.next, uid(11)])
    await index.upsert([point(5), point(30)])
    rest = await ids_of(index, limit=4, after=page.next)
    assert [r.id for r in page.records] == [uid(n) for n in range(10, 14)]
    assert rest == [uid(n) for n in (15, 16, 17, 18, 19, 30)]


async def test_a_page_of_no_points_is_refused(engine):
    index = await engine.open()
    with pytest.raises(IndexRefused, match="limit is 0"):
        await index.scroll(limit=0)


async def test_counting_is_exact_with_and_without_a_filter(engine):
    index = await engine.open()
    await index.upsert([point(n, n=n) for n in range(1, 51)])
    assert await index.count() == 50
    assert await index.count(condition("n", "gt", 40)) == 10


# Queries


def expected_scores(distance: Distance, query: np.ndarray, points: np.ndarray) -> np.ndarray:
    q, x = query.astype(np.float64), points.astype(np.float64)
    match distance:
        case Distance.COSINE:
            return (x @ q) / (np.linalg.norm(x, axis=1) * np.linalg.norm(q))
        case Distance.DOT:
            return x @ q
        case Distance.EUCLID:
            return 1 / (1 + np.linalg.norm(x - q, axis=1))


@pytest.mark.parametrize("distance", list(Distance))
async def test_hits_come_best_first_with_higher_scores_for_better_ones(engine, distance):
    index = await engine.open(vector=VectorSpec(distance=distance))
    points, query = cloud(50), cloud(1, seed=9)[0]
    await index.upsert([point(n, vector=v) for n, v in enumerate(points)])
    hits = await index.query(Query(query, limit=10))
    scores = expected_scores(distance, query, points)
    best = np.argsort(-scores)[:10]
    assert [hit.id for hit in hits] == [uid(int(n)) for n in best]
    np.testing.assert_allclose([hit.score for hit in hits], scores[best], rtol=1e-5)


async def test_euclidean_hits_tell_their_distance_and_others_none(engine):
    index = await engine.open(vector=VectorSpec(distance=Distance.EUCLID))
    await index.upsert([Point(uid(1), np.array([3, 4, 0, 0], np.float32), {})])
    (hit,) = await index.query(Query(np.zeros(4, np.float32), limit=1))
    assert hit.distance == pytest.approx(5)
    assert hit.score == pytest.approx(1 / 6)


async def test_cosine_hits_have_no_distance(engine):
    index = await engine.open()
    await index.upsert([point(1)])
    (hit,) = await index.query(Query(AXES[1], limit=1))
    assert hit.distance is None


@pytest.mark.parametrize("distance", list(Distance))
async def test_min_score_cuts_what_scores_less(engine, distance):
    index = await engine.open(vector=VectorSpec(distance=distance))
    points, query = cloud(50), cloud(1, seed=9)[0]
    await index.upsert([point(n, vector=v) for n, v in enumerate(points)])
    scores = np.sort(expected_scores(distance, query, points))[::-1]
    between = float(scores[4] + scores[5]) / 2
    assert len(await index.query(Query(query, limit=50, min_score=between))) == 5


@pytest.mark.parametrize(("min_score", "found"), [(0.5, 1), (0.5001, 0), (1.5, 0), (0.0, 1)])
async def test_a_euclidean_hit_on_the_threshold_is_in(engine, min_score, found):
    index = await engine.open(vector=VectorSpec(distance=Distance.EUCLID))
    await index.upsert([Point(uid(1), np.array([1, 0, 0, 0], np.float32), {})])
    hits = await index.query(Query(np.zeros(4, np.float32), limit=5, min_score=min_score))
    assert len(hits) == found


async def test_a_euclidean_threshold_of_one_finds_the_same_vector(engine):
    index = await engine.open(vector=VectorSpec(distance=Distance.EUCLID))
    await index.upsert([point(1), point(2)])
    hits = await index.query(Query(AXES[1], limit=5, min_score=1.0))
    assert [hit.id for hit in hits] == [uid(1)]


async def test_an_empty_index_answers_with_nothing(engine):
    index = await engine.open()
    assert await index.query(Query(AXES[0], limit=10)) == []
    assert await index.query_batch([Query(AXES[0], limit=10)]) == [[]]
    assert (await index.scroll()).records == ()
    assert await index.retrieve([uid(1)]) == []
    assert await index.count() == 0


async def test_a_limit_above_the_number_of_points_finds_them_all(engine):
    index = await engine.open()
    await index.upsert([point(n) for n in range(1, 6)])
    assert len(await index.query(Query(AXES[0], limit=1000))) == 5


async def test_a_limit_of_zero_finds_nothing(engine):
    index = await engine.open()
    await index.upsert([point(1)])
    assert await index.query(Query(AXES[0], limit=0)) == []


@pytest.mark.parametrize("bounds", [{"limit": -1}, {"limit": 1, "offset": -1}])
async def test_negative_bounds_are_refused(engine, bounds):
    index = await engine.open()
    with pytest.raises(IndexRefused, match="must not be negative"):
        await index.query(Query(AXES[0], **bounds))


async def test_offsets_page_through_the_same_order(engine):
    index = await engine.open()
    await index.upsert([point(n, vector=v) for n, v in enumerate(cloud(40))])
    query = cloud(1, seed=5)[0]
    whole = [hit.id for hit in await index.query(Query(query, limit=40))]
    parts = [
        hit.id
        for offset in range(0, 48, 8)
        for hit in await index.query(Query(query, limit=8, offset=offset))
    ]
    assert parts == whole


async def test_a_query_can_be_filtered_by_payload_and_by_id(engine):
    index = await engine.open()
    await index.upsert([point(n, vector=v, n=n) for n, v in enumerate(cloud(40))])
    query = cloud(1, seed=5)[0]
    low = await index.query(Query(query, limit=40, filter=condition("n", "lt", 3)))
    assert {hit.id for hit in low} == {uid(0), uid(1), uid(2)}
    two = await index.query(Query(query, limit=40, filter=HasId((uid(7), uid(9)))))
    assert {hit.id for hit in two} == {uid(7), uid(9)}


async def test_a_batch_answers_like_its_queries_one_by_one(engine):
    index = await engine.open()
    await index.upsert([point(n, vector=v, n=n) for n, v in enumerate(cloud(60))])
    queries = [
        Query(v, limit=n % 5, filter=condition("n", "gte", n) if n % 3 else None)
        for n, v in enumerate(cloud(40, seed=3))
    ]
    assert await index.query_batch(queries) == [await index.query(query) for query in queries]
    assert await index.query_batch([]) == []


@pytest.mark.parametrize("quantization", list(Quantization))
async def test_exact_queries_and_chosen_beams_find_the_best(engine, quantization):
    index = await engine.open(dimension=64, vector=VectorSpec(quantization=quantization))
    points, query = cloud(300, 64), cloud(1, 64, seed=4)[0]
    await index.upsert([point(n, vector=v) for n, v in enumerate(points)])
    best = [uid(int(n)) for n in np.argsort(-expected_scores(Distance.COSINE, query, points))[:10]]
    exact = await index.query(Query(query, limit=10, exact=True))
    assert [hit.id for hit in exact] == best
    if quantization is not Quantization.BINARY:  # 64 bits of 64 dimensions are too rough for it
        wide = await index.query(Query(query, limit=10, ef=300))
        assert {hit.id for hit in wide} == set(best)


# Settings, lifetime


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 5}, "dimension 4, and the configuration 5"),
        (
            {"vector": VectorSpec(distance=Distance.DOT)},
            "distance Cosine, and the configuration Dot",
        ),
        ({"fingerprint": "model-b"}, "fingerprint model-a, and the configuration model-b"),
    ],
)
async def test_an_index_made_for_something_else_is_refused_with_the_remedy(engine, change, message):
    await (await engine.open()).close()
    with pytest.raises(IndexMismatch, match=message) as raised:
        await engine.open(**change)
    assert "ingest again" in str(raised.value)


async def test_a_refused_opening_leaves_the_index_as_it_was(engine):
    index = await engine.open()
    await index.upsert([point(1)])
    await index.close()
    with pytest.raises(IndexMismatch):
        await engine.open(dimension=5)
    assert await (await engine.open()).count() == 1


async def test_points_are_there_after_reopening(engine):
    index = await engine.open()
    await index.upsert([point(n, n=n) for n in range(1, 11)])
    await index.merge_payload(uid(1), {"n": 100})
    await index.delete([uid(2)])
    await index.close()
    index = await engine.open()
    assert await index.count() == 9
    assert (await index.retrieve([uid(1)]))[0].payload == {"n": 100}


async def test_a_changed_graph_or_quantisation_is_taken_over(engine):
    index = await engine.open(vector=VectorSpec())
    await index.upsert([point(1)])
    await index.close()
    index = await engine.open(vector=VectorSpec(quantization=Quantization.SCALAR))
    await index.optimize()
    assert [hit.id for hit in await index.query(Query(AXES[1], limit=1))] == [uid(1)]


async def test_declared_fields_can_change_between_openings(engine):
    keyword = FieldSpec(name="kind", type=FieldType.KEYWORD)
    text = FieldSpec(name="kind", type=FieldType.TEXT)
    price = FieldSpec(name="price", type=FieldType.FLOAT)
    index = await engine.open(fields=(keyword,))
    await index.upsert([point(1, kind="red mug", price=2.5)])
    await index.close()
    index = await engine.open(fields=(text, price))
    assert await index.count(condition("kind", "text", "mug")) == 1
    assert await index.count(condition("price", "lt", 3)) == 1
    if engine.name != "local":  # local mode has no payload indexes
        assert (await index.info()).payload_indexes == {"kind": "Text", "price": "Float"}


async def test_info_tells_what_the_index_is(engine):
    index = await engine.open(vector=VectorSpec(distance=Distance.EUCLID))
    await index.upsert([point(n) for n in range(1, 4)])
    info = await index.info()
    assert (info.points, info.dimension, info.distance) == (3, 4, "Euclid")
    assert info.status in {"green", "yellow", "grey"}


async def test_optimising_an_index_without_work_changes_nothing(engine):
    index = await engine.open()
    await index.upsert([point(n) for n in range(1, 4)])
    await index.optimize()
    assert await index.count() == 3


async def test_a_dropped_index_is_made_anew(engine):
    index = await engine.open()
    await index.upsert([point(1)])
    await index.drop()
    index = await engine.open(dimension=5, fingerprint="model-b")
    assert await index.count() == 0


async def test_queries_see_whole_points_while_others_write(engine):
    index = await engine.open(dimension=16)
    vectors = cloud(400, 16)
    done = asyncio.Event()

    async def write(start: int) -> None:
        for n in range(start, 400, 4):
            await index.upsert([point(n, vector=vectors[n], n=n, twice=2 * n)])

    async def read() -> int:
        seen = 0
        while not done.is_set():
            for hit in await index.query(Query(vectors[0], limit=20)):
                assert hit.payload["twice"] == 2 * hit.payload["n"]
                seen += 1
            await asyncio.sleep(0)
        return seen

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.gather(*(write(start) for start in range(4)))
    done.set()
    assert min(await asyncio.gather(*readers)) > 0
    assert await index.count() == 400


# Payload-only


async def test_an_index_of_payloads_only_keeps_filters_and_pages_them(engine):
    index = await engine.open_payload()
    await index.upsert(
        [Point(uid(n), None, {"state": "DONE" if n % 2 else "QUEUED"}) for n in range(1, 11)]
    )
    await index.merge_payload(uid(1), {"state": "QUEUED"})
    queued = condition("state", "eq", "QUEUED")
    assert await index.count(queued) == 6
    assert await ids_of(index, filter=queued, limit=4) == [uid(n) for n in (1, 2, 4, 6, 8, 10)]
    await index.optimize()
    info = await index.info()
    assert (info.points, info.dimension, info.distance) == (10, None, None)


async def test_an_index_of_payloads_only_is_there_after_reopening(engine):
    index = await engine.open_payload()
    await index.upsert([Point(uid(1), None, {"a": 1})])
    await index.close()
    index = await engine.open_payload()
    (record,) = (await index.scroll(with_vector=True)).records
    assert (record.payload, record.vector) == ({"a": 1}, None)


async def test_an_index_of_payloads_only_refuses_vectors_and_queries(engine):
    index = await engine.open_payload()
    with pytest.raises(IndexRefused, match="payloads only"):
        await index.upsert([point(1)])
    with pytest.raises(IndexRefused, match="payloads only"):
        await index.query(Query(AXES[0], limit=1))


async def test_an_index_of_payloads_only_is_no_index_of_vectors(engine):
    await (await engine.open_payload()).close()
    with pytest.raises(IndexMismatch):
        await engine.open()


# Keys


_ODD = "a,b:c;d=e(f){g}*$@#!?<>|&%~^`+"


async def test_fields_may_have_spaces_any_letters_and_dots(engine):
    """Each has an index that is found again, not made anew, and that answers."""
    fields = (
        FieldSpec(name="Shot On", type=FieldType.DATETIME),
        FieldSpec(name="camera.make", type=FieldType.KEYWORD),
        FieldSpec(name="Größe €/m²", type=FieldType.KEYWORD),
        FieldSpec(name="a b.c d", type=FieldType.INTEGER),
        FieldSpec(name="2024", type=FieldType.INTEGER),
        FieldSpec(name=_ODD, type=FieldType.KEYWORD),
    )
    payload = {
        "Shot On": "2024-05-01T00:00:00Z",
        "camera": {"make": "Leica"},
        "Größe €/m²": "L",
        "a b": {"c d": 5},
        "2024": 1,
        _ODD: "odd",
    }
    index = await engine.open(fields=fields)
    await index.upsert([point(1, **payload), point(2, kind="mug")])
    again = await engine.open(fields=fields) if engine.name != "edge" else index
    for key, value in (
        ("Shot On", "2024-05-01"),
        ("camera.make", "Leica"),
        ("Größe €/m²", "L"),
        ("a b.c d", 5),
        ("2024", 1),
        (_ODD, "odd"),
    ):
        assert await again.count(condition(key, "eq", value)) == 1, key
        assert await again.count(condition(key, "exists", True)) == 1, key
    # The local mode of qdrant-client has no payload indexes.
    indexes = (await again.info()).payload_indexes
    assert not indexes or indexes == {field.name: field.type.value for field in fields}


async def test_what_was_written_since_a_moment_is_told_by_lookalikes_own_time(engine):
    index = await engine.open()
    times = {1: "2026-05-01T12:00:00.000Z", 2: "2026-05-01T12:00:00.001Z", 3: None}
    await index.upsert(
        [point(n, **({RESERVED: {"updated_at": t}} if t else {})) for n, t in times.items()]
    )
    moment = datetime(2026, 5, 1, 12, 0, 0, 1000, tzinfo=UTC)
    later = Not((Bound(f"{RESERVED}.updated_at", "lt", moment),))
    assert await ids_of(index, filter=later, with_payload=False) == [uid(2), uid(3)]
