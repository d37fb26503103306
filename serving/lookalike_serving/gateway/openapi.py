"""The API's description. Routes read bodies themselves: their schemas are added here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field

from lookalike_serving.gateway.shapes import FILTERS, FILTERS_MODEL

_REF = "#/components/schemas/{model}"


class ProblemPart(BaseModel):
    path: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457: what every failed request is answered with, as `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What is wrong, where, and what to do.")
    code: str = Field(description="A stable name for programs.")
    errors: list[ProblemPart] | None = Field(
        default=None, description="Each wrong part of the request."
    )
    request_id: str | None = None


_WHEN = {
    400: "The body does not match its headers",
    401: "The API key is missing or invalid",
    403: "Without API keys: a web page of another origin sent the request",
    404: "There is no such resource",
    408: "The body arrived too slowly",
    409: "The state of the resource does not allow the request, or its index was created for "
    "other settings",
    412: "If-None-Match: * was sent, and the document exists",
    413: "The body or the image is too large",
    415: "The body has another media type",
    421: "Without API keys: the Host header does not name this machine",
    422: "The request is wrong; `errors` lists each wrong part",
    429: "Too many requests: see Retry-After",
    501: "The service lacks an optional part",
    502: "The image cannot be fetched from its address",
    503: "A collection, its index or its model does not answer: see Retry-After",
    504: "The time that X-Request-Timeout allows was over before the answer was there",
    507: "The disk is full: nothing can be stored",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: the problems it may answer, and those that stand before every route.

    A route that may answer 415 reads a body, which may be too large or too slow; one that may
    answer 503 asks an index, which may have been made for other settings.
    """
    before = {401, 403, 421, 422, 429} | ({408, 413} if 415 in statuses else set())
    before |= {409} if 503 in statuses else set()
    return {
        status: {
            "description": _WHEN[status],
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": _REF.format(model="ProblemDocument")}
                }
            },
        }
        for status in sorted({*before, *statuses})
    }


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra=` of a route that reads a model from its JSON body."""
    return {"requestBody": {"required": True, "content": {"application/json": _media(model)}}}


def json_or_multipart(model: type[BaseModel], form: Mapping[str, Any]) -> dict[str, Any]:
    """`openapi_extra=` of a route that takes JSON, or a form (see `shapes.form`)."""
    extra = json_body(model)
    extra["requestBody"]["content"]["multipart/form-data"] = {"schema": dict(form)}
    return extra


FILE_PART = {"type": "string", "format": "binary"}


def reference(model: type[BaseModel]) -> dict[str, Any]:
    """A schema that is one of the described models."""
    return {"$ref": _REF.format(model=model.__name__)}


def _media(model: type[BaseModel]) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": reference(model)}
    examples = model.model_config.get("json_schema_extra")
    if isinstance(examples, dict) and isinstance(listed := examples.get("examples"), list):
        media["examples"] = {str(i): {"value": each} for i, each in enumerate(listed, 1)}
    return media


def _refer(part: Any) -> None:
    """Where a model says `x-ref`, refer: pydantic lets a model refer to its own parts alone."""
    if isinstance(part, dict):
        if "x-ref" in part:
            part["$ref"] = _REF.format(model=part.pop("x-ref"))
        part = part.values()
    if not isinstance(part, str | bytes) and isinstance(part, Iterable):
        for each in part:
            _refer(each)


def _say_what_is_json(schema: dict[str, Any]) -> None:
    """A parameter whose text is JSON is described by that, for which FastAPI has no word."""
    for methods in schema["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                inner = parameter.get("schema", {}).get("contentSchema")
                if inner is not None:
                    kind = parameter.pop("schema")["contentMediaType"]
                    parameter["content"] = {kind: {"schema": inner}}


def describe(app: FastAPI, bodies: Sequence[type[BaseModel]]) -> None:
    """Make `/openapi.json` hold the body models and the problem document, and Bearer keys."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
            )
            components = schema.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            models: list[type[BaseModel]] = [ProblemDocument, *bodies]
            for model in models:
                part = model.model_json_schema(ref_template=_REF)
                for name, definition in part.pop("$defs", {}).items():
                    schemas.setdefault(name, definition)
                schemas[model.__name__] = part
            schemas[FILTERS_MODEL] = deepcopy(FILTERS)
            _refer(schema)
            _say_what_is_json(schema)
            components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"apiKey": []}, {}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
