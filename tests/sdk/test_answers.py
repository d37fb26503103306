"""How answers are read, and errors told."""

from __future__ import annotations

import pytest
from scripted_server import Reply, scripted

from lookalike import (
    APIError,
    InvalidRequest,
    Lookalike,
    LookalikeError,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    Unauthorized,
)

QUERY = [{"type": "text", "value": "red mug"}]
PROBLEM = {
    "type": "https://lookalike.dev/problems/invalid-request",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "top_k: 2000 is more than 1000",
    "code": "invalid-request",
    "errors": [{"path": "top_k", "message": "2000 is more than 1000"}],
    "request_id": "r-17",
    "extra": 1,
}


def test_results_are_iterable_indexable_and_have_a_length() -> None:
    results = [
        {"document_id": f"d{i}", "score": 1.0 - i / 10, "metadata": {"n": i}} for i in (0, 1)
    ]
    answer = Reply(body={"results": results, "took_ms": 3.5, "stages": [], "warnings": ["w"]})
    with scripted(answer) as server, Lookalike(server.url) as client:
        found = client.retrievers.search("r", QUERY)
    assert [(r.score, r.document_id, r.metadata) for r in found] == [
        (1.0, "d0", {"n": 0}),
        (0.9, "d1", {"n": 1}),
    ]
    assert (found[1].document_id, len(found), found.took_ms) == ("d1", 2, 3.5)
    assert found.warnings == ("w",)


def test_relative_image_addresses_are_made_whole() -> None:
    result = {"document_id": "d", "score": 1, "image_url": "/v1/x/image", "thumbnail_url": None}
    with scripted(Reply(body={"results": [result]})) as server, Lookalike(server.url) as client:
        (found,) = client.retrievers.search("r", QUERY)
        assert found.image_url == f"{server.url}/v1/x/image"


def test_absolute_image_addresses_stay() -> None:
    result = {"document_id": "d", "score": 1, "image_url": "https://cdn.example.com/a.jpg"}
    with scripted(Reply(body={"results": [result]})) as server, Lookalike(server.url) as client:
        (found,) = client.retrievers.search("r", QUERY)
    assert found.image_url == "https://cdn.example.com/a.jpg"


def test_members_of_a_newer_server_do_no_harm() -> None:
    result = {"document_id": "d", "score": 1, "novelty": 0.5}
    with scripted(Reply(body={"results": [result], "x": 1})) as server:
        (found,) = Lookalike(server.url).retrievers.search("r", QUERY)
    assert found.model_extra == {"novelty": 0.5}


def test_a_problem_arrives_whole() -> None:
    with (
        scripted(Reply(422, PROBLEM)) as server,
        Lookalike(server.url) as client,
        pytest.raises(InvalidRequest) as caught,
    ):
        client.retrievers.search("r", QUERY, top_k=2000)
    error = caught.value
    assert error.detail == "top_k: 2000 is more than 1000"
    assert (error.status, error.code, error.request_id) == (422, "invalid-request", "r-17")
    assert [(e.path, e.message) for e in error.errors] == [("top_k", "2000 is more than 1000")]
    assert error.problem["extra"] == 1
    assert str(error) == "422 Unprocessable Entity: top_k: 2000 is more than 1000 (request r-17)"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (413, InvalidRequest),
        (418, APIError),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, APIError),
        (503, ServiceUnavailable),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[APIError]) -> None:
    with (
        scripted(Reply(status, {"detail": "d"})) as server,
        Lookalike(server.url, retries=0) as client,
        pytest.raises(LookalikeError) as caught,
    ):
        client.collections.get("c")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "raw", [b"<html>welcome to nginx</html>", b"", b"[]", b"null", b'{"results": [{"score": "x"}]}']
)
def test_an_answer_that_is_no_lookalike_answer_is_said_to_be_one(raw: bytes) -> None:
    with (
        scripted(Reply(raw=raw)) as server,
        Lookalike(server.url) as client,
        pytest.raises(APIError, match="no Lookalike answer") as caught,
    ):
        client.retrievers.search("r", QUERY)
    assert caught.value.status == 200


def test_an_error_without_a_problem_document_shows_what_came() -> None:
    with (
        scripted(Reply(404, raw=b"<h1>nginx: not here</h1>")) as server,
        Lookalike(server.url) as client,
        pytest.raises(NotFound, match="nginx: not here"),
    ):
        client.collections.get("c")


def test_a_redirect_is_not_followed_but_named() -> None:
    moved = Reply(308, headers={"Location": "https://search.example.com/"}, raw=b"")
    with (
        scripted(moved) as server,
        Lookalike(server.url) as client,
        pytest.raises(APIError, match=r"redirects to https://search\.example\.com/"),
    ):
        client.collections.get("c")


def test_listings_are_read_to_their_last_page() -> None:
    pages = [
        Reply(body={"items": [{"document_id": "a"}, {"document_id": "b"}], "next_cursor": "2"}),
        Reply(body={"items": [{"document_id": "c"}], "next_cursor": None}),
    ]
    with scripted(*pages) as server, Lookalike(server.url) as client:
        found = client.documents.list("cat", filters={"status": "active"}, limit=2)
        assert [document.document_id for document in found] == ["a", "b", "c"]
        first, second = (seen.path for seen in server.seen)
    assert (
        first == "/v1/collections/cat/documents?filters=%7B%22status%22%3A+%22active%22%7D&limit=2"
    )
    assert second == first + "&cursor=2"


def test_a_page_is_asked_for_only_when_it_is_needed() -> None:
    page = Reply(body={"items": [{"document_id": "a"}], "next_cursor": "2"})
    with scripted(page) as server, Lookalike(server.url) as client:
        assert next(client.documents.list("cat")).document_id == "a"
        assert len(server.seen) == 1


def test_document_ids_may_hold_anything() -> None:
    with scripted(Reply(body={"document_id": "a/b?c#d é"})) as server:
        Lookalike(server.url).documents.get("cat", "a/b?c#d é")
        assert server.seen[0].path == "/v1/collections/cat/documents/a%2Fb%3Fc%23d%20%C3%A9"


@pytest.mark.parametrize("document_id", ["", ".", ".."])
def test_ids_that_would_mean_another_address_never_leave(document_id: str) -> None:
    with scripted(Reply()) as server:
        with pytest.raises(ValueError, match="cannot be part of an address"):
            Lookalike(server.url).documents.delete("cat", document_id)
        assert server.seen == []


def test_the_api_key_is_sent_as_a_bearer_token() -> None:
    with scripted(Reply(body={"name": "c"})) as server:
        Lookalike(server.url, "secret").collections.get("c")
        assert server.seen[0].headers["authorization"] == "Bearer secret"


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(Reply(body={"name": "c"})) as server:
        monkeypatch.setenv("LOOKALIKE_URL", server.url + "/")
        monkeypatch.setenv("LOOKALIKE_API_KEY", "secret")
        Lookalike().collections.get("c")
        assert server.seen[0].headers["authorization"] == "Bearer secret"


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with scripted(Reply(body={"name": "c"})) as server:
        assert Lookalike(server.url, retries=0).collections.get("c").name == "c"


def test_a_base_url_may_have_a_path() -> None:
    with scripted(Reply(body={"name": "c"})) as server:
        Lookalike(server.url + "/images/").collections.get("c")
        assert server.seen[0].path == "/images/v1/collections/c"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "/v1"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is no http"):
        Lookalike(url)
