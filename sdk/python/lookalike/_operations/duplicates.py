"""Copies of a picture: which documents are this picture, copies of it, or similar to it."""

from __future__ import annotations

import json
from typing import Any, Literal

from lookalike._exchange import Answer, Call, Operation, Part, Request, call
from lookalike._images import Address, image
from lookalike._operations import paths
from lookalike.types import Duplicates, ImageValue


def of_image(
    collection: str,
    image: ImageValue,
    *,
    sensitivity: Literal["strict", "balanced", "loose"] | None = None,
    top_k: int | None = None,
    similar: bool = True,
    target_fpr: float | None = None,
) -> Operation[Duplicates]:
    """Find the documents that are this image (`exact`), copies of it, or similar to it.

    image: a path, encoded bytes, an open binary file, a PIL image (sent as PNG), or a URL that the
        server fetches.
    sensitivity: how much evidence a copy needs. Default: the collection's.
    top_k: the number of matches; 10 if it is not given.
    similar: also return pictures that only look alike, after all copies.
    target_fpr: the share of the pairs of different pictures that may be called similar by chance,
        up to 0.1. Default: the collection's, or 0.001. It decides about no copy.
    """
    given = {
        "sensitivity": sensitivity,
        "top_k": top_k,
        "similar": None if similar else False,
        "target_fpr": target_fpr,
    }
    asked = {key: value for key, value in given.items() if value is not None}
    return (yield from call(Call(_asked(collection, image, asked), _told)))


def _asked(collection: str, value: ImageValue, asked: dict[str, Any]) -> Request:
    path = f"{paths.collection(collection)}/duplicates"
    found = image(value)
    if isinstance(found, Address):
        return Request("POST", path, json={"image": found.text, **asked})
    parts = {
        "image": Part(found.content, found.media_type, found.filename or "image"),
        "request": Part(json.dumps(asked).encode(), "application/json"),
    }
    return Request("POST", path, parts=parts)


def _told(answer: Answer) -> Duplicates:
    body = answer.json()
    for match in body["matches"]:
        for name in ("image_url", "thumbnail_url"):
            match[name] = answer.absolute(match[name])
    return Duplicates.model_validate(body)
