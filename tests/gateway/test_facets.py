"""Facets through the API, compared with a plain Python count of the same documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from tests.gateway.conftest import Gateway, collection, usual_config

from lookalike_crds.config import ServingConfig
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index.protocol import Point

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPES = {
    "kind": FieldType.KEYWORD,
    "tags": FieldType.KEYWORD,
    "year": FieldType.INTEGER,
    "price": FieldType.FLOAT,
    "sold": FieldType.BOOL,
    "added": FieldType.DATETIME,
    "title": FieldType.TEXT,
    "code": FieldType.KEYWORD,
}


def fields(**changes: FieldType | None) -> tuple[FieldSpec, ...]:
    types = {**TYPES, **changes}
    return tuple(FieldSpec(name=name, type=each) for name, each in types.items() if each)


def document(n: int) -> dict[str, Any]:
    """Deterministic, and of every shape: values, lists with repeats, nulls, nothing."""
    made: dict[str, Any] = {
        "kind": ["mug", "cup", "bowl"][n % 3],
        "tags": [["a", "a", "b"], ["b"], [], None][n % 4],
        "year": 2000 + n % 7 if n % 5 else None,
        "price": round(n * 0.1, 1),
        "sold": n % 2 == 0,
        "added": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n * 5)).isoformat(),
        "code": str(n % 2),
    }
    if n % 6 == 0:
        del made["price"]
    return made


CATALOGUE = [document(n) for n in range(40)]
ARCHIVE = [document(n) | {"code": n % 2} for n in range(40, 52)]
"""Its `code` is an Integer, and it declares no `tags`."""


@pytest.fixture(scope="module")
def config(folder: Path) -> ServingConfig:
    catalogue = collection(folder, "catalogue").model_copy(update={"fields": fields()})
    archive = collection(folder, "archive").model_copy(
        update={"fields": fields(code=FieldType.INTEGER, tags=None)}
    )
    usual = usual_config(folder)
    return usual.model_copy(update={"collections": (catalogue, archive, *usual.collections[2:])})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(gateway: Gateway) -> httpx.AsyncClient:
    for name, documents in (("catalogue", CATALOGUE), ("archive", ARCHIVE)):
        state = gateway.service.collections[name]
        vectors = np.random.default_rng(1).standard_normal(
            (len(documents), state.embedder.info.dimension), dtype=np.float32
        )
        await state.index.upsert(
            [
                Point(
                    point_id(name, str(n)),
                    vector,
                    payload(metadata, Origin(str(n), f"https://example.com/{n}.jpg")),
                )
                for n, (metadata, vector) in enumerate(zip(documents, vectors, strict=True))
            ]
        )
    return gateway.client


Ask = Callable[..., Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ask(filled: httpx.AsyncClient) -> Ask:
    async def asked(
        *fields: dict[str, Any], filters: Any = None, of: str = "collections/catalogue"
    ) -> Any:
        body = {"fields": list(fields), **({"filters": filters} if filters else {})}
        answer = await filled.post(f"/v1/{of}/facets", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refused(filled: httpx.AsyncClient) -> Ask:
    async def asked(*fields: dict[str, Any], of: str = "collections/catalogue") -> list[Any]:
        answer = await filled.post(f"/v1/{of}/facets", json={"fields": list(fields)})
        assert answer.status_code == 422, answer.text
        return [(each["path"], each["message"]) for each in answer.json()["errors"]]

    return asked


def values(facet: dict[str, Any]) -> dict[Any, int]:
    return {each["value"]: each["count"] for each in facet["values"]}


def counts(facet: dict[str, Any]) -> list[tuple[Any, Any, int]]:
    return [(each["from"], each["to"], each["count"]) for each in facet["buckets"]]


async def test_values_are_counted_most_frequent_first(ask: Ask):
    told = await ask({"field": "kind"}, {"field": "tags", "missing": True}, {"field": "sold"})
    assert (told["total"], told["warnings"]) == (40, [])
    kind, tags, sold = told["facets"]
    assert kind == {
        "field": "kind",
        "type": "terms",
        "exact": True,
        "values": [
            {"value": "mug", "count": 14},
            {"value": "bowl", "count": 13},
            {"value": "cup", "count": 13},
        ],
        "distinct": 3,
    }
    # A list counts once for each distinct member; an empty one, and null, are missing.
    assert (values(tags), tags["missing"]) == ({"b": 20, "a": 10}, 20)
    assert values(sold) == {True: 20, False: 20}


async def test_without_fields_the_total_alone_is_told(ask: Ask):
    told = await ask(filters={"kind": "mug"})
    assert (told["total"], told["facets"]) == (14, [])


async def test_a_field_leaves_out_its_own_choice_and_the_total_does_not(ask: Ask):
    chosen = {"kind": "mug", "sold": True}
    told = await ask({"field": "kind"}, {"field": "sold"}, {"field": "year"}, filters=chosen)
    both = [d for d in CATALOGUE if d["kind"] == "mug" and d["sold"]]
    kind, sold, year = told["facets"]
    assert told["total"] == len(both)
    assert values(kind) == Counter(d["kind"] for d in CATALOGUE if d["sold"])
    assert values(sold) == Counter(d["sold"] for d in CATALOGUE if d["kind"] == "mug")
    assert values(year) == Counter(d["year"] for d in both if d["year"])


@pytest.mark.parametrize(
    ("filters", "left_out"),
    [
        ({"kind": ["mug", "cup"]}, True),
        ({"AND": [{"AND": [{"key": "kind", "operator": "eq", "value": "mug"}]}]}, True),
        ({"NOT": [{"key": "kind", "operator": "eq", "value": "mug"}]}, True),
        ({"OR": [{"kind": "mug"}, {"kind": "cup"}]}, True),
        ({"OR": [{"kind": "mug"}, {"sold": True}]}, False),
        ({"NOT": [{"kind": "mug"}, {"sold": True}]}, False),
        ({"OR": [{"AND": [{"kind": "mug"}]}, {"year": 2001}]}, False),
    ],
)
async def test_what_counts_as_a_fields_own_choice(ask: Ask, filters: Any, left_out: bool):
    told = await ask({"field": "kind"}, filters=filters)
    all_of_it = values((await ask({"field": "kind"}))["facets"][0])
    assert (values(told["facets"][0]) == all_of_it) is left_out


async def test_values_are_searched_and_named_ones_always_told(ask: Ask):
    told = await ask(
        {"field": "kind", "contains": "U"},
        {"field": "kind", "limit": 1, "include": ["cup", "jug"]},
    )
    searched, named = told["facets"]
    assert (list(values(searched)), searched["distinct"]) == (["mug", "cup"], 2)
    assert values(named) == {"mug": 14, "cup": 13, "jug": 0}


async def test_a_histogram_has_round_buckets_that_hold_everything(ask: Ask):
    told = await ask(
        {"field": "price", "buckets": 4, "missing": True},
        {"field": "price", "type": "histogram", "interval": 0.3},
        {"field": "year", "type": "histogram", "buckets": 50},
    )
    price, tenths, year = told["facets"]
    prices = [d["price"] for d in CATALOGUE if "price" in d]
    assert (price["min"], price["max"], price["interval"]) == (min(prices), max(prices), 1)
    assert [bucket[:2] for bucket in counts(price)] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    for facet in (price, tenths):
        for low, high, count in counts(facet):
            assert count == sum(low <= each < high for each in prices)
        assert sum(each["count"] for each in facet["buckets"]) == len(prices)
    assert tenths["buckets"][1] | {"count": 0} == {"from": 0.3, "to": 0.6, "count": 0}
    assert price["missing"] == 40 - len(prices)
    assert counts(year) == [
        (each, each + 1, sum(d["year"] == each for d in CATALOGUE)) for each in range(2000, 2007)
    ]


async def test_dates_are_counted_by_the_calendar(ask: Ask):
    told = await ask(
        {"field": "added", "buckets": 7},
        {"field": "added", "type": "date_histogram", "interval": "quarter"},
    )
    month, quarter = told["facets"]
    assert (month["interval"], len(month["buckets"])) == ("month", 7)
    assert month["buckets"][0] == {
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-02-01T00:00:00Z",
        "count": 7,
    }
    assert [each["count"] for each in quarter["buckets"]] == [18, 19, 3]
    assert (quarter["min"], quarter["max"]) == ("2026-01-01T00:00:00Z", "2026-07-15T00:00:00Z")


async def test_ranges_are_counted_as_they_are_given(ask: Ask):
    told = await ask(
        {
            "field": "price",
            "type": "range",
            "ranges": [{"to": 1}, {"from": 1, "to": 2}, {"from": 2}],
        },
        {"field": "added", "type": "range", "ranges": [{"from": "2026-02-01"}]},
        filters={"price": {"lt": 1}},
    )
    price, added = told["facets"]
    prices = [d["price"] for d in CATALOGUE if "price" in d]
    assert counts(price) == [
        (None, 1, sum(each < 1 for each in prices)),
        (1, 2, sum(1 <= each < 2 for each in prices)),
        (2, None, sum(each >= 2 for each in prices)),
    ]
    cheap = [d for d in CATALOGUE if d.get("price", 1) < 1]
    assert counts(added) == [("2026-02-01", None, sum(d["added"] >= "2026-02" for d in cheap))]


async def test_where_nothing_matches_there_is_nothing_to_count(ask: Ask):
    told = await ask(
        {"field": "kind"}, {"field": "price"}, {"field": "added"}, filters={"code": "none"}
    )
    kind, price, added = told["facets"]
    assert (told["total"], kind["values"], kind["distinct"]) == (0, [], 0)
    assert (price["buckets"], price["min"], added["buckets"]) == ([], None, [])


async def test_a_retrievers_collections_add_up_by_value(ask: Ask):
    told = await ask(
        {"field": "kind", "limit": 2}, {"field": "year"}, {"field": "price"}, of="retrievers/both"
    )
    kind, year, price = told["facets"]
    everything = CATALOGUE + ARCHIVE
    expected = Counter(d["kind"] for d in everything)
    best = sorted(expected.items(), key=lambda each: (-each[1], each[0]))[:2]
    assert (told["total"], list(values(kind).items()), kind["distinct"]) == (52, best, 3)
    assert values(year) == Counter(d["year"] for d in everything if d["year"])
    assert sum(each["count"] for each in price["buckets"]) == sum("price" in d for d in everything)
    assert told["warnings"] == []


async def test_collections_that_differ_in_a_field_are_told(ask: Ask):
    told = await ask(
        {"field": "tags"},
        {"field": "code"},
        {"field": "code", "type": "histogram"},
        of="retrievers/both",
    )
    tags, code, histogram = told["facets"]
    assert values(tags) == {"b": 20, "a": 10}
    assert values(code) == {"0": 20, "1": 20, 0: 6, 1: 6}
    assert sum(each["count"] for each in histogram["buckets"]) == 12
    assert told["warnings"] == [
        "facets: archive declares no field 'tags': its documents are not counted there",
        "facets: 'code' is Keyword in catalogue, Integer in archive: '1' and 1 are counted as two "
        "values",
        "facets: 'code' is a Keyword field in catalogue, which has no histogram: its documents are "
        "not counted there",
    ]


@pytest.mark.parametrize(
    ("field", "path", "message"),
    [
        (
            {"field": "knid"},
            "fields[0].field",
            "catalogue declares no field 'knid', and only declared fields have an index that "
            "counts. Did you mean 'kind'? List it in spec.fields with its type.",
        ),
        ({"field": "title"}, "fields[0].type", "'title' is a Text field, which cannot be counted"),
        (
            {"field": "kind", "type": "histogram"},
            "fields[0].type",
            "'kind' is a Keyword field, which has no histogram: ask for terms",
        ),
        (
            {"field": "price", "type": "terms"},
            "fields[0].type",
            "'price' is a Float field, which has no terms: ask for histogram or range",
        ),
        ({"field": "price", "type": "range"}, "fields[0].ranges", "is missing: write"),
        (
            {"field": "price", "type": "range", "ranges": [{}]},
            "fields[0].ranges[0]",
            "needs from, to or both",
        ),
        (
            {"field": "price", "type": "range", "ranges": [{"from": 2, "to": 1}]},
            "fields[0].ranges[0]",
            "from 2 is not below to 1",
        ),
        (
            {"field": "price", "type": "range", "ranges": [{"from": 1, "to": "2026-01-01"}]},
            "fields[0].ranges",
            "mixes numbers and times",
        ),
        (
            {"field": "added", "type": "range", "ranges": [{"from": "soon"}]},
            "fields[0].ranges[0]",
            'from takes a number or a time, not "soon"',
        ),
        (
            {"field": "price", "type": "range", "ranges": [{"from": "2026-01-01"}]},
            "fields[0].type",
            "'price' is a Float field",
        ),
        (
            {"field": "price", "limit": 3},
            "fields[0].limit",
            "belongs to type terms, and this facet has type histogram",
        ),
        ({"field": "price", "interval": "day"}, "fields[0].interval", "'day' is not a number"),
        ({"field": "added", "interval": 3}, "fields[0].interval", "3 is none of hour, day"),
        (
            {"field": "price", "interval": 0.001},
            "fields[0].interval",
            "0.001 results in more than 100 buckets from 0.1 to 3.9: use a larger interval",
        ),
        (
            {"field": "added", "interval": "hour"},
            "fields[0].interval",
            "hour results in more than 100",
        ),
        ({"field": "kind", "limit": 1001}, "fields[0].limit", "1000"),
    ],
)
async def test_what_cannot_be_counted_is_refused_with_the_remedy(
    refused: Ask, field: dict[str, Any], path: str, message: str
):
    ((told_path, told),) = await refused(field)
    assert told_path == path
    assert message in told


async def test_a_search_counts_all_that_its_filters_leave(filled: httpx.AsyncClient):
    body = {
        "queries": [{"type": "text", "value": "a red cup"}],
        "filters": {"kind": "mug"},
        "top_k": 2,
        "min_score": 0.99,
        "facets": [{"field": "kind"}, {"field": "sold"}],
    }
    answer = (await filled.post("/v1/retrievers/shop/search", json=body)).json()
    kind, sold = answer["facets"]
    assert (answer["total"], len(answer["results"])) == (14, 0)
    assert values(kind) == {"mug": 14, "bowl": 13, "cup": 13}
    assert values(sold) == Counter(d["sold"] for d in CATALOGUE if d["kind"] == "mug")
    assert "facets" in [stage["name"] for stage in answer["stages"]]
    wrong = await filled.post(
        "/v1/retrievers/shop/search", json=body | {"facets": [{"field": "nope"}]}
    )
    assert wrong.json()["errors"][0]["path"] == "facets[0].field"
    without = await filled.post("/v1/retrievers/shop/search", json={"queries": body["queries"]})
    assert not {"facets", "total"} & without.json().keys()


async def test_a_list_of_documents_tells_its_total_where_it_is_asked_for(filled: httpx.AsyncClient):
    path = "/v1/collections/catalogue/documents"
    params = {"limit": 5, "filters": '{"kind": "mug"}'}
    assert (await filled.get(path, params=params | {"total": "true"})).json()["total"] == 14
    assert "total" not in (await filled.get(path, params=params)).json()


async def test_a_collection_or_retriever_that_is_not_there_is_404(filled: httpx.AsyncClient):
    for of in ("collections/none", "retrievers/none"):
        assert (await filled.post(f"/v1/{of}/facets", json={})).status_code == 404
