"""Searching: every kind of query, filters, fusion, stages, groups, and what the answer tells."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from tests.support.pictures import animation

from lookalike_serving.index.protocol import Hit, Query

pytestmark = pytest.mark.asyncio(loop_scope="module")

Picture = Callable[..., bytes]
COLOURS = ("red", "green", "blue", "orange", "black", "purple")
SHAPES = ("ellipse", "rectangle")
DIMENSION = 128
"""Of the demo model's vectors."""


def encoded(image: bytes) -> str:
    return base64.b64encode(image).decode()


async def search(client: httpx.AsyncClient, retriever: str = "shop", **request: Any) -> Any:
    answer = await client.post(f"/v1/retrievers/{retriever}/search", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(client: httpx.AsyncClient, retriever: str = "shop", **request: Any) -> Any:
    answer = await client.post(f"/v1/retrievers/{retriever}/search", json=request)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def ids(answer: Any) -> list[str]:
    return [result["document_id"] for result in answer["results"]]


def text(words: str = "red mug", **more: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "value": words, **more}]


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _stored(client: httpx.AsyncClient, picture: Picture) -> None:
    """Twelve pictures in every collection; in `archive` only the reds, with the same images."""
    for number, (colour, shape) in enumerate(itertools.product(COLOURS, SHAPES)):
        body = {
            "document_id": f"{colour}-{shape}",
            "image": encoded(picture(colour, shape=shape)),
            "metadata": {
                "status": "active" if number % 2 else "sold",
                "price": number,
                "added": f"2026-01-{number + 1:02d}",
                "maker": colour,
                "size": {"width": number},
            },
        }
        for collection in ("catalogue", "euclid", "dot"):
            answer = await client.post(f"/v1/collections/{collection}/documents", json=body)
            assert answer.status_code == 201
        if colour == "red":
            await client.post("/v1/collections/archive/documents", json=body)


async def vector_of(client: httpx.AsyncClient, document: str, collection: str) -> list[float]:
    address = f"/v1/collections/{collection}/documents/{document}"
    vector: list[float] = (await client.get(address, params={"include": "vector"})).json()["vector"]
    return vector


@pytest.mark.parametrize("form", ["base64", "data URL", "multipart", "multipart by name", "vector"])
async def test_an_image_finds_itself(
    client: httpx.AsyncClient, picture: Picture, form: str
) -> None:
    image = picture("blue", shape="rectangle")
    if form.startswith("multipart"):
        request = {"queries": [{"type": "image"}], "top_k": 3}
        if form == "multipart by name":
            request = {"queries": [{"type": "image", "value": "part:photo"}], "top_k": 3}
        answer = await client.post(
            "/v1/retrievers/shop/search",
            data={"request": json.dumps(request)},
            files={"photo": ("x", image)},
        )
        found = answer.json()
    elif form == "vector":
        value = await vector_of(client, "blue-rectangle", "catalogue")
        found = await search(client, queries=[{"type": "vector", "value": value}], top_k=3)
    else:
        value = encoded(image) if form == "base64" else f"data:image/jpeg;base64,{encoded(image)}"
        found = await search(client, queries=[{"type": "image", "value": value}], top_k=3)
    assert ids(found)[0] == "blue-rectangle"
    assert found["results"][0]["score"] == pytest.approx(1, abs=5e-3)
    assert len(found["results"]) == 3


async def test_files_alone_are_queries(client: httpx.AsyncClient, picture: Picture) -> None:
    files = [("a", picture("green")), ("a", picture("green", shape="rectangle"))]
    answer = await client.post(
        "/v1/retrievers/shop/search", files=[(name, ("x", image)) for name, image in files]
    )
    assert set(ids(answer.json())[:2]) == {"green-ellipse", "green-rectangle"}


async def test_a_stored_document_finds_others_but_not_itself(client: httpx.AsyncClient) -> None:
    query = [{"type": "document", "value": "red-ellipse"}]
    found = await search(client, queries=query, top_k=100)
    assert "red-ellipse" not in ids(found)
    assert len(found["results"]) == 11
    kept = await search(client, queries=query, include=["query_document"])
    assert ids(kept)[0] == "red-ellipse"


async def test_a_document_of_two_collections_is_left_out_of_both(
    client: httpx.AsyncClient,
) -> None:
    query = [{"type": "document", "value": "red-ellipse"}]
    assert "red-ellipse" not in ids(await search(client, "both", queries=query, top_k=100))


async def test_results_come_best_first_with_scores_of_the_metric(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    query = [{"type": "image", "value": encoded(picture("red"))}]
    for retriever in ("shop", "euclid", "dot"):
        found = await search(client, retriever, queries=query, top_k=12)
        scores = [result["score"] for result in found["results"]]
        assert scores == sorted(scores, reverse=True)
        assert ids(found)[0] == "red-ellipse"
    euclid = await search(client, "euclid", queries=query, top_k=5)
    for result in euclid["results"]:
        assert result["score"] == pytest.approx(1 / (1 + result["distance"]), abs=1e-5)


async def test_several_queries_rank_as_their_weighted_sum(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    queries = [
        {"type": "image", "value": encoded(picture("red")), "weight": 2.0},
        {"type": "text", "value": "blue square", "weight": 0.7},
        {"type": "document", "value": "green-ellipse", "weight": -0.5},
    ]
    found = await search(client, queries=queries, top_k=12, include=["vector", "query_document"])
    alone = [
        await search(client, queries=[{**q, "weight": 1}], top_k=12, include=["query_document"])
        for q in queries
    ]
    scores = [{r["document_id"]: r["score"] for r in each["results"]} for each in alone]
    summed = {
        name: sum(q["weight"] * each[name] for q, each in zip(queries, scores, strict=True))
        for name in ids(found)
    }
    ordered = [summed[name] for name in ids(found)]
    assert np.all(np.diff(ordered) <= 1e-3)
    ratios = [summed[r["document_id"]] / r["score"] for r in found["results"][:3]]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=0.01)


async def test_explain_contributions_add_up_to_the_score(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    queries = [
        {"type": "image", "value": encoded(picture("red")), "weight": 2.0},
        {"type": "text", "value": "blue square", "weight": -0.7},
    ]
    for retriever in ("shop", "dot"):
        found = await search(client, retriever, queries=queries, explain=True)
        for result in found["results"]:
            parts = result["explanation"]["contributions"]
            assert [part["type"] for part in parts] == ["image", "text"]
            total = sum(part["contribution"] for part in parts)
            assert total == pytest.approx(result["score"], abs=0.01)
            assert result["explanation"]["steps"][0]["stage"] == "index"


async def test_a_text_finds_what_it_says(client: httpx.AsyncClient) -> None:
    found = await search(client, queries=text("blue"), top_k=2)
    assert {name.split("-")[0] for name in ids(found)} == {"blue"}


async def test_words_the_model_does_not_know_are_warned_of(client: httpx.AsyncClient) -> None:
    found = await search(client, queries=text("red zeppelin"))
    assert found["results"]
    assert found["warnings"] == [
        "queries[0].value: the model does not know 'zeppelin' and ignores such words"
    ]


async def test_what_is_past_the_context_of_the_model_is_named(client: httpx.AsyncClient) -> None:
    found = await search(client, queries=text("red " * 16 + "mug"))
    assert found["results"]
    assert found["warnings"] == [
        "queries[0].value: demo-clip reads only the beginning of a text this long; not searched "
        "for: 'mug'"
    ]


@pytest.mark.parametrize("retriever", ["shop", "both", "ranks", "dot", "euclid"])
@pytest.mark.parametrize("words", ["zeppelin", "ein Luftschiff", "飛行船", "???"])
async def test_words_of_which_the_model_knows_none_find_nothing_and_it_says_why(
    client: httpx.AsyncClient, retriever: str, words: str
) -> None:
    found = await search(client, retriever, queries=text(words), filters={"status": "active"})
    assert found["results"] == []
    (warning,) = found["warnings"]
    assert warning.startswith("queries[0].value: demo-clip knows none of ")
    assert words.split()[-1].lower() in warning
    assert warning.endswith(
        "so nothing is searched for; the model knows the demo catalogue only: drawn products and "
        "their words in English, German, Spanish, French and Japanese"
    )


async def test_words_that_name_nothing_find_nothing_and_it_says_why(
    client: httpx.AsyncClient,
) -> None:
    found = await search(client, queries=text("ein Foto von einem"))
    assert found["results"] == []
    (warning,) = found["warnings"]
    assert warning.startswith(
        "queries[0].value: 'ein Foto von einem' names nothing that demo-clip knows, so nothing"
    )


async def test_beside_a_picture_words_of_which_the_model_knows_none_weigh_nothing(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    image = {"type": "image", "value": encoded(picture("red"))}
    alone = await search(client, queries=[image])
    beside = await search(client, queries=[{"type": "text", "value": "zeppelin"}, image])
    assert ids(beside) == ids(alone)
    assert [r["score"] for r in beside["results"]] == [r["score"] for r in alone["results"]]
    assert "'zeppelin'" in beside["warnings"][0]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"AND": [{"key": "status", "operator": "eq", "value": "active"}]}, 6),
        ({"status": "active", "price": {"gte": 6}}, 3),
        ({"OR": [{"price": {"lt": 2}}, {"NOT": [{"price": {"lt": 11}}]}]}, 3),
        ({"maker": ["red", "blue"]}, 4),
        ({"added": {"gt": "2026-01-10"}}, 2),
        ({"size.width": {"lte": 3}}, 4),
        ({"maker": None}, 0),
        ({"key": "nothing", "operator": "exists", "value": False}, 12),
        ({"maker": {"starts_with": "bl"}}, 4),
    ],
)
async def test_filters_narrow_the_results(
    client: httpx.AsyncClient, filters: Any, expected: int
) -> None:
    found = await search(client, queries=text(), filters=filters, top_k=100)
    assert len(found["results"]) == expected


async def test_a_filter_without_an_index_works_and_warns(client: httpx.AsyncClient) -> None:
    found = await search(client, queries=text(), filters={"maker": "red"}, top_k=100)
    assert len(found["results"]) == 2
    assert "'maker'" in found["warnings"][0]
    assert (await search(client, queries=text(), filters={"status": "sold"}))["warnings"] == []


async def test_min_score_leaves_out_and_tells_the_best(
    client: httpx.AsyncClient, picture: Picture
) -> None:
    query = [{"type": "image", "value": encoded(picture("red"))}]
    found = await search(client, queries=query, min_score=0.99)
    assert all(result["score"] >= 0.99 for result in found["results"])
    nothing = await search(client, queries=query, min_score=1.5)
    assert nothing["results"] == []
    assert "the best score was" in nothing["warnings"][0]


async def test_group_by_keeps_the_best_of_each_value(client: httpx.AsyncClient) -> None:
    found = await search(client, queries=text(), group_by="maker", top_k=6)
    makers = [result["metadata"]["maker"] for result in found["results"]]
    assert sorted(makers) == sorted(COLOURS)
    best = await search(client, queries=text(), top_k=12)
    firsts = {r["metadata"]["maker"]: r["document_id"] for r in reversed(best["results"])}
    assert set(ids(found)) == set(firsts.values())


async def test_group_by_asks_again_until_there_are_enough_groups(
    client: httpx.AsyncClient,
) -> None:
    vector = np.zeros(DIMENSION)
    vector[0] = 1
    service: Any = client._transport.app.state.service  # type: ignore[attr-defined]
    await _crowd(service, 400)
    found = await search(
        client,
        queries=[{"type": "vector", "value": vector.tolist()}],
        group_by="crowd",
        filters={"key": "crowd", "operator": "exists", "value": True},
        top_k=3,
    )
    assert [result["metadata"]["crowd"] for result in found["results"]] == [0, 1, 2]
    await service.collections["catalogue"].index.delete(_crowd_ids(402))


def _crowd_ids(count: int) -> list[str]:
    from lookalike_serving.documents.ids import point_id

    return [point_id("catalogue", f"crowd-{i}") for i in range(count)]


async def _crowd(service: Any, count: int) -> None:
    """`count` documents of group 0 nearest to the first axis, then one of 1 and one of 2."""
    from lookalike_serving.documents.layout import Origin, payload
    from lookalike_serving.index.protocol import Point

    points = []
    for i, id in enumerate(_crowd_ids(count + 2)):
        vector = np.zeros(DIMENSION, dtype=np.float32)
        vector[:2] = (1, i / 1000)
        crowd = max(0, i - count + 1)
        origin = Origin(document_id=f"crowd-{i}", image=f"https://example.com/{i}.jpg")
        points.append(Point(id, vector, payload({"crowd": crowd}, origin)))
    await service.collections["catalogue"].index.upsert(points)


async def test_diversity_reorders_and_boost_lifts(client: httpx.AsyncClient) -> None:
    plain = await search(client, queries=text(), top_k=12)
    diverse = await search(
        client, queries=text(), top_k=12, rerank=[{"type": "diversity", "trade_off": 0.2}]
    )
    assert sorted(ids(diverse)) == sorted(ids(plain))
    assert ids(diverse)[0] == ids(plain)[0]
    last = ids(plain)[-1].split("-")[0]
    boosted = await search(
        client,
        queries=text(),
        top_k=1,
        rerank=[{"type": "Boost", "field": "maker", "value": last, "weight": 5}],
    )
    assert ids(boosted)[0].startswith(last)


async def test_explain_tells_the_score_after_each_stage(client: httpx.AsyncClient) -> None:
    found = await search(
        client,
        queries=text(),
        explain=True,
        rerank=[{"type": "Boost", "field": "maker", "value": "red", "weight": 1}],
    )
    first = found["results"][0]
    steps = first["explanation"]["steps"]
    assert [step["stage"] for step in steps] == ["index", "Boost"]
    assert steps[1]["score"] - steps[0]["score"] == pytest.approx(1)
    assert first["score"] == steps[1]["score"]


async def test_include_tells_only_what_is_asked(client: httpx.AsyncClient) -> None:
    found = await search(client, queries=text(), include=["metadata.price", "vector"])
    first = found["results"][0]
    assert first.keys() == {"document_id", "score", "metadata", "vector"}
    assert first["metadata"].keys() == {"price"}
    bare = await search(client, queries=text(), include=[])
    assert bare["results"][0].keys() == {"document_id", "score"}


async def test_a_restricted_include_still_groups_and_boosts(client: httpx.AsyncClient) -> None:
    found = await search(
        client,
        queries=text(),
        include=["metadata.price"],
        group_by="maker",
        rerank=[{"type": "Boost", "field": "status", "value": "sold", "weight": 1}],
    )
    assert len(found["results"]) == 6
    assert all(result["score"] > 0.9 for result in found["results"])


async def test_the_answer_tells_time_by_stage(client: httpx.AsyncClient) -> None:
    found = await search(client, queries=text("a green mug"))
    assert [stage["name"] for stage in found["stages"]] == [
        "load",
        "embed",
        "index",
        "fuse",
        "respond",
    ]
    assert found["took_ms"] >= sum(stage["ms"] for stage in found["stages"]) * 0.99


async def test_fusion_over_collections(client: httpx.AsyncClient, picture: Picture) -> None:
    query = [{"type": "image", "value": encoded(picture("red"))}]
    both = await search(client, "both", queries=query, top_k=100)
    assert len(ids(both)) == len(set(ids(both))) == 12
    assert both["results"][0]["collection"] == "catalogue"
    ranks = await search(client, "ranks", queries=query, top_k=100)
    assert ids(ranks)[0] == "red-ellipse"
    assert ranks["results"][0]["score"] == pytest.approx(2 / 61, abs=1e-6)


async def test_the_embedding_model_is_checked(client: httpx.AsyncClient) -> None:
    model = (await client.get("/v1/models")).json()["items"][0]["name"]
    assert (await search(client, queries=text(embedding_model=model)))["warnings"] == []
    other = await search(client, queries=text(embedding_model="clip-vit-large"))
    assert "is not the model of collection 'catalogue'" in other["warnings"][0]
    vector = {"type": "vector", "value": [1.0] * DIMENSION, "embedding_model": "clip-vit-large"}
    problem = await refused(client, queries=[vector])
    assert problem["errors"][0]["path"] == "queries[0].embedding_model"


@pytest.mark.parametrize(
    ("request_", "path", "message"),
    [
        ({"queries": []}, "queries", "at least 1"),
        ({}, "queries", "is missing"),
        ({"queries": text(), "topk": 3}, "topk", "did you mean 'top_k'"),
        ({"queries": text(wieght=3)}, "queries[0].wieght", "did you mean 'weight'"),
        ({"queries": text(), "top_k": 0}, "top_k", "greater than or equal to 1, not 0"),
        ({"queries": text(), "top_k": 10**30}, "top_k", "less than or equal to 1000"),
        ({"queries": text(), "top_k": "many"}, "top_k", "valid integer"),
        ({"queries": text(weight=1e9)}, "queries[0].weight", "less than or equal to 100"),
        ({"queries": text("  ")}, "queries[0].value", "not empty"),
        ({"queries": text("x" * 3000)}, "queries[0].value", "3000 characters"),
        ({"queries": [{"type": "text"}]}, "queries[0].value", "takes a text"),
        ({"queries": [{"type": "text", "value": [1.0]}]}, "queries[0].value", "takes a text"),
        ({"queries": [{"type": "smell", "value": "x"}]}, "queries[0].type", "'image', 'text'"),
        ({"queries": [{"type": "image"}]}, "queries[0].value", "https URL"),
        (
            {"queries": [{"type": "image", "value": "part:x"}]},
            "queries[0].value",
            "no file part 'x'",
        ),
        ({"queries": [{"type": "vector", "value": "x"}]}, "queries[0].value", "list of numbers"),
        ({"queries": [{"type": "vector", "value": []}]}, "queries[0].value", "list of numbers"),
        ({"queries": [{"type": "vector", "value": [1.0]}]}, "queries[0].value", "1 numbers"),
        ({"queries": [{"type": "vector", "value": [0.0] * DIMENSION}]}, "queries[0].value", "zero"),
        (
            {"queries": [{"type": "vector", "value": [1e300] * DIMENSION}]},
            "queries[0].value",
            "scale",
        ),
        (
            {"queries": [{"type": "document", "value": "nowhere"}]},
            "queries[0].value",
            "no document 'nowhere' in catalogue",
        ),
        (
            {"queries": [{"type": "document", "value": "x", "collection": "mars"}]},
            "queries[0].collection",
            "'mars' is not searched",
        ),
        ({"queries": [*text(), *text(weight=-1)]}, "queries", "cancel"),
        ({"queries": text(), "min_score": "high"}, "min_score", "write a number, or auto"),
        ({"queries": text(), "include": ["everything"]}, "include[0]", "pattern"),
        ({"queries": text(), "rerank": [{"type": "magic"}]}, "rerank[0]", "'Diversity', 'Boost'"),
        (
            {"queries": text(), "rerank": [{"type": "Boost", "field": "a", "value": 1}]},
            "rerank[0].weight",
            "is missing",
        ),
        (
            {"queries": text(), "rerank": [{"type": "Boost", "value": 1}]},
            "rerank[0].field",
            "is missing",
        ),
        (
            {"queries": text(), "rerank": [{"type": "diversity", "tradeOff": 0.5}]},
            "rerank[0].tradeOff",
            "did you mean 'trade_off'",
        ),
        ({"queries": [{"type": "text", "value": {"a": 1}}]}, "queries[0].value", "valid string"),
        ({"queries": text(), "filters": {"price": {"above": 3}}}, "filters.price", "unknown"),
        ({"queries": text(), "group_by": ""}, "group_by", "at least 1"),
    ],
)
async def test_a_wrong_request_is_refused_with_path_and_remedy(
    client: httpx.AsyncClient, request_: Any, path: str, message: str
) -> None:
    problem = await refused(client, **request_)
    assert problem["errors"][0]["path"] == path
    assert message in problem["errors"][0]["message"]
    assert problem["detail"].startswith(path)


async def test_a_file_no_query_uses_is_refused(client: httpx.AsyncClient, picture: Picture) -> None:
    answer = await client.post(
        "/v1/retrievers/shop/search",
        data={"request": json.dumps({"queries": text()})},
        files={"photo": ("x", picture("red"))},
    )
    assert answer.status_code == 422
    assert 'add {"type": "image", "value": "part:photo"}' in answer.json()["detail"]


async def test_a_retriever_that_is_not_there_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/retrievers/none/search", json={"queries": text()})
    assert answer.status_code == 404
    assert "Served here: both, dot, euclid, ranks, shop" in answer.json()["detail"]


@pytest.mark.parametrize("url", ["http://xn--/a.jpg", "http://xn--a/", "https://[::1/a.jpg"])
async def test_an_address_that_is_none_is_the_callers_mistake(
    client: httpx.AsyncClient, url: str
) -> None:
    queries = [{"type": "image", "value": url}]
    answer = await client.post("/v1/retrievers/shop/search", json={"queries": queries})
    assert (answer.status_code, answer.json()["code"]) == (422, "image-bad-reference")


async def test_what_decoding_a_query_leaves_out_is_told(client: httpx.AsyncClient) -> None:
    queries = [{"type": "image", "value": base64.b64encode(animation()).decode()}]
    answer = await client.post("/v1/retrievers/shop/search", json={"queries": queries})
    assert answer.json()["warnings"] == ["queries[0].value: animated: the first frame is used"]


@pytest.mark.parametrize("exact", [False, True])
async def test_exact_search_is_asked_of_the_index(
    gateway: Any, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, exact: bool
) -> None:
    index = gateway.service.collections["catalogue"].index
    asked: list[bool] = []
    query = index.query

    async def recorded(wanted: Query) -> list[Hit]:
        asked.append(wanted.exact)
        return await query(wanted)

    monkeypatch.setattr(index, "query", recorded)
    assert (await search(client, queries=text("blue"), exact=exact))["results"]
    assert asked == [exact]
