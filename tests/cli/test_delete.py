"""`lookalike delete` over a real service: what goes is what was told, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import Command
from scripted_server import Reply, scripted
from tests.support.configs import collection, retriever, serving_config
from tests.support.servers import serving

from lookalike import Lookalike
from lookalike_crds.config import (
    AccessConfig,
)
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index.protocol import Point
from lookalike_serving.index.remote import RemoteIndex


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("delete") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[str]:
    token = data.parent / "token"
    token.write_text("secret")
    config = serving_config(
        data,
        collection(data, "shop"),
        retrievers=(retriever("r", "shop"),),
        access=AccessConfig(internal_token_file=token),
    )
    with serving(config) as address:
        yield address


@pytest.fixture
def url(server: str) -> str:
    """With documents d0 to d9, of prices 0 to 9; d0 to d3 are of the source `scans`."""
    with Lookalike(server) as client:
        dimension = client.collections.get("shop").dimension
        for left in client.documents.list("shop"):
            client.documents.delete("shop", left.document_id)
    points = [
        Point(
            point_id("shop", f"d{n}"),
            np.eye(dimension, dtype=np.float32)[n],
            payload(
                {"price": n}, Origin(f"d{n}", "file:///d.jpg", source="scans" if n < 4 else None)
            ),
        )
        for n in range(10)
    ]

    async def store() -> None:
        index = RemoteIndex(server, "shop", "secret", index="shop")
        await index.upsert(points)
        await index.close()

    asyncio.run(store())
    return server


def left(url: str) -> str:
    with Lookalike(url) as client:
        return "".join(sorted(each.document_id[1:] for each in client.documents.list("shop")))


@pytest.mark.parametrize(
    ("options", "count", "stay"),
    [
        (["--filter", "price>6"], 3, "0123456"),
        (["--filter", "price>6", "--filter", "price<9"], 2, "01234569"),
        (["--source", "scans"], 4, "456789"),
        (["--source", "scans", "--filter", "price=2"], 1, "013456789"),
        (["--source", "other"], 0, "0123456789"),
        (["--id", "d3", "--id", "d4", "--id", "d3"], 2, "01256789"),
        (["--collection", "shop"], 10, ""),
    ],
)
def test_what_is_named_goes_and_nothing_else(
    lookalike: Command, url: str, options: list[str], count: int, stay: str
) -> None:
    ran = lookalike("delete", *options, "--yes", "--url", url, "--output", "json")
    assert ran.code == 0, ran.err
    assert ran.json == {"collection": "shop", "deleted": count, "missing": 0}
    assert left(url) == stay


def test_nothing_goes_where_nobody_can_be_asked(lookalike: Command, url: str) -> None:
    ran = lookalike("delete", "--filter", "price>6", "--url", url)
    assert ran.code == 6
    assert "3 documents of collection shop will be deleted. Continue?" in ran.err
    assert left(url) == "0123456789"


def test_many_go_page_by_page(
    lookalike: Command, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookalike_cli.delete._PAGE", 2)
    ran = lookalike("delete", "--filter", "price<9", "--yes", "--url", url)
    assert "Deleted 9 documents of shop." in ran.out
    assert left(url) == "9"


def test_what_sources_bring_again_is_told(lookalike: Command, url: str) -> None:
    ran = lookalike("delete", "--filter", "price=0", "--yes", "--url", url)
    assert "1 document came from sources, which do not bring their images again" in ran.err
    away = ("deletions", "--output", "json", "--url", url)
    assert "d0" in {each["document_id"] for each in lookalike(*away).json}
    assert lookalike("restore", "d0", "--url", url).code == 0
    assert "d0" not in {each["document_id"] for each in lookalike(*away).json}
    ran = lookalike("delete", "--source", "scans", "--yes", "--forget", "--url", url)
    assert "3 documents came from sources: source scans adds its images again" in ran.err
    ran = lookalike("delete", "--id", "d9", "--yes", "--url", url)
    assert "sources" not in ran.err


def test_an_id_that_is_not_there_is_told_and_the_others_go(lookalike: Command, url: str) -> None:
    ran = lookalike("delete", "--id", "d1", "--id", "nobody", "--yes", "--url", url)
    assert ran.code == 4
    assert "Deleted 1 document of shop; not found: 1" in ran.out
    assert left(url) == "023456789"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--filter", ""],
        ["--filter", "{}"],
        ["--filter", "{}", "--filter", "price>1"],
        ["--id", "d1", "--source", "scans"],
    ],
)
def test_what_says_nothing_is_refused(lookalike: Command, url: str, options: list[str]) -> None:
    assert lookalike("delete", *options, "--yes", "--url", url).code == 2
    assert left(url) == "0123456789"


@pytest.mark.parametrize("empty", ['{"AND": []}', '{"OR": []}', '{"NOT": []}'])
def test_a_condition_without_parts_deletes_nothing(
    lookalike: Command, url: str, empty: str
) -> None:
    assert lookalike("delete", "--filter", empty, "--yes", "--url", url).code != 0
    assert left(url) == "0123456789"


def test_a_server_that_ends_half_way_leaves_a_count_and_the_remedy(lookalike: Command) -> None:
    documents = [
        {"document_id": f"d{n}", "collection": "shop", "metadata": {}, "image_url": "/i"}
        for n in range(2)
    ]
    facets = Reply(body={"total": 2, "facets": [], "took_ms": 1})
    listed = Reply(body={"items": documents, "next_cursor": None})
    refused = Reply(status=507, body={"title": "full", "status": 507, "detail": "no room"})
    with scripted(facets, listed, refused) as server:
        ran = lookalike("delete", "-c", "shop", "--source", "s", "--yes", "--url", server.url)
    assert ran.code == 1
    assert "At least 0 documents had been deleted by then" in ran.err
    assert "run the same command again" in ran.err
