"""Generated requests against our own description: what it says is what happens, and nothing is 5xx.

Bounded and derandomised: each run makes the same requests, to a server in this process.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection
from schemathesis.transport.serialization import Binary
from tests.support.servers import api_of, listening

from lookalike_crds.config import ServingConfig
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service

CASES = 30
"""Of each operation."""

DIMENSION = 128
"""Of the demo model."""

KNOWN = {"collection": "catalogue", "retriever": "shop", "document_id": "red"}

OPERATIONS = [
    (method.upper(), path)
    for path, methods in create_api(Service.start).openapi()["paths"].items()  # type: ignore[arg-type]
    for method in methods
]


def completed(case: Any, image: bytes) -> None:
    """Puts into a request that keeps to the description what no schema can say: images that can be
    decoded, vectors of the model's dimension, documents that there are, boxes whose top is north of
    their bottom, texts with words, numbers of 64 bits, names of files that are sent, facets that
    the collection's fields have, ids that differ."""
    body = case.body
    if "filters" in (case.query or {}):
        tree = json.loads(case.query["filters"])
        mend(tree)
        case.query["filters"] = json.dumps(tree)
    if not isinstance(body, dict):
        return
    encoded = base64.b64encode(image).decode()
    values = {"image": encoded, "text": "mug", "document": "red", "vector": [1.0] * DIMENSION}
    mend(body)
    has_file = case.media_type == "multipart/form-data" and "image" in body
    if "image" in body:
        body["image"] = Binary(image) if has_file else encoded
    search = body.get("request", {}) if case.media_type == "multipart/form-data" else body
    for part in (body, search or {}, *body.get("searches", ())):
        for facet in part.get("fields") or part.get("facets") or ():
            for option in ("ranges", "buckets", "interval"):
                facet.pop(option, None)
            facet |= {"field": "status", "type": "terms"}
        for query in part.get("queries") or ():
            query |= {"value": values[query["type"]], "collection": None, "embedding_model": None}
            query.pop("weight", None)  # several could cancel one another out
    if has_file and search and search.get("queries"):
        search["queries"][0] |= {"type": "image", "value": "part:image"}
    named: set[str] = set()
    for item in body.get("items") or ():
        if isinstance(item, dict) and item.get("document_id") is not None:
            name = unicodedata.normalize("NFC", item["document_id"])
            if name in named:
                del item["document_id"]
            named.add(name)
    if case.media_type == "multipart/form-data" and "items" in body:
        body["items"] = [{"file": "image.jpg"}] if has_file else [{"image": values["image"]}]


def mend(part: Any) -> None:
    """Boxes, words and large numbers of a JSON value, in place."""
    if isinstance(part, dict):
        box = [part.get(corner) for corner in ("top_left", "bottom_right")]
        if all(isinstance(corner, dict) and "lat" in corner for corner in box):
            low, high = sorted(corner["lat"] for corner in box)
            box[0]["lat"], box[1]["lat"] = high, low
        if isinstance(part.get("text"), str):
            part["text"] = "mug"
        if part.get("operator") == "text":
            part["value"] = "mug"
    if isinstance(part, dict | list):
        for key, each in list(part.items() if isinstance(part, dict) else enumerate(part)):
            mend(each)
            if isinstance(each, int) and abs(each) >= 2**63:
                part[key] = 1


class Running:
    """The API on loopback, and its description."""

    def __init__(self, address: str, description: dict[str, Any]) -> None:
        self.address = address
        self._document = description
        self.schema = schemathesis.openapi.from_dict(self._document)

    def describes(self, method: str, path: str, case: Any) -> bool:
        """Whether a JSON body is what the description allows."""
        described = self._document["paths"][path][method.lower()].get("requestBody", {})
        media = described.get("content", {}).get(case.media_type or "")
        if media is None or "json" not in case.media_type:
            return False
        if not isinstance(case.body, dict | list):
            return False
        whole = {**media["schema"], "components": self._document["components"]}
        return bool(jsonschema_rs.validator_for(whole).is_valid(case.body))


@pytest.fixture(scope="module")
def api(serving: Callable[..., ServingConfig], picture: Any) -> Iterator[Running]:
    app = api_of(serving())
    with listening(app) as address:
        added = httpx.post(
            f"{address}/v1/collections/catalogue/documents",
            data={"document_id": "red", "metadata": '{"price": 1, "status": "active"}'},
            files={"image": ("red.jpg", picture("red"))},
            timeout=60,
        )
        assert added.status_code == 201
        yield Running(address, app.openapi())


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_the_description_says_is_what_happens(
    api: Running, picture: Any, method: str, path: str
) -> None:
    image = picture("red")
    operation = api.schema[path][method]
    cases = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if operation.body:  # and bodies that are wrong
        cases |= operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @given(case=cases, known=st.integers(0, 3))
    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def conforms(case: Any, known: int) -> None:
        if known:  # mostly what is there: what is not says 404 before anything else is looked at
            names = {n: v for n, v in KNOWN.items() if n in (case.path_parameters or {})}
            case.path_parameters = {**(case.path_parameters or {}), **names}
        if case.meta.generation.mode is GenerationMode.POSITIVE:
            completed(case, image)
        answer = case.call(base_url=api.address, timeout=60)
        # A body that was to be wrong may be right by another alternative of the description; and a
        # parameter that nobody knows is ignored, as everywhere. A body that is too large is refused
        # before anything else is looked at.
        # A search of a batch has its refusal in its place among the answers.
        right = api.describes(method, path, case) or case.query or answer.status_code == 413
        right = right or (path.endswith("/search/batch") and b'"invalid-request"' in answer.content)
        excluded = [negative_data_rejection] if right else []
        if answer.status_code == 504:
            assert "X-Request-Timeout" in (case.headers or {})
            excluded.append(not_a_server_error)
        case.validate_response(answer, excluded_checks=excluded)

    conforms()


def test_every_operation_is_tried() -> None:
    assert len(OPERATIONS) >= 20
