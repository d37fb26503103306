"""Our own resources as the API server sends them -> typed metadata, spec and status.

The API server has checked them against the schema of its time; an older stored object, or one that
broke a rule that only Python checks, must still come out as something to report, never as an
exception.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

from cachetools import LRUCache
from pydantic import ValidationError

from lookalike_crds.base import Status
from lookalike_crds.image_collection import ImageCollectionSpec, ImageCollectionStatus
from lookalike_crds.load import load_resources
from lookalike_crds.resources import ImageCollection, Retriever
from lookalike_crds.retriever import RetrieverSpec, RetrieverStatus
from lookalike_crds.rules import broken_rules
from lookalike_operator.plan.model import Manifest, Meta

_S = TypeVar("_S", bound=Status)
_Spec = TypeVar("_Spec")

_REMEMBERED = 4096


def meta_of(live: Manifest) -> Meta:
    meta = live["metadata"]
    return Meta(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=int(meta.get("generation") or 0),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        finalizers=tuple(meta.get("finalizers") or ()),
        deleting="deletionTimestamp" in meta,
        created=_moment(meta.get("creationTimestamp")),
        deletion_started=_moment(meta.get("deletionTimestamp")),
    )


def parsed_collection(live: Manifest) -> tuple[ImageCollectionSpec | None, tuple[str, ...]]:
    """(spec, problems): one of the two is empty."""
    document = _as_written(live)
    try:
        resource = ImageCollection.model_validate(document)
    except ValidationError:
        return None, _problems(document)
    if any(broken_rules(resource)):
        return None, _problems(document)
    return resource.spec, ()


def parsed_retriever(live: Manifest) -> tuple[RetrieverSpec | None, tuple[str, ...]]:
    """(spec, problems): one of the two is empty."""
    document = _as_written(live)
    try:
        resource = Retriever.model_validate(document)
    except ValidationError:
        return None, _problems(document)
    if any(broken_rules(resource)):
        return None, _problems(document)
    return resource.spec, ()


class Specs(Generic[_Spec]):
    """Specs that have been read lately: each generation of a resource is read once.

    A resource is looked at whenever one of its children changes, and by the resources that name
    it; its spec is the same for as long as its generation is.
    """

    def __init__(self, parse: Callable[[Manifest], tuple[_Spec | None, tuple[str, ...]]]) -> None:
        self._parse = parse
        self._read: LRUCache[tuple[str, int | None], tuple[_Spec | None, tuple[str, ...]]] = (
            LRUCache(_REMEMBERED)
        )

    def of(self, live: Manifest) -> tuple[_Spec | None, tuple[str, ...]]:
        """(spec, problems): one of the two is empty."""
        place = (live["metadata"]["uid"], live["metadata"].get("generation"))
        found = self._read.get(place)
        if found is None:
            found = self._read[place] = self._parse(live)
        return found


def collection_status(live: Manifest) -> ImageCollectionStatus:
    return _status(ImageCollectionStatus, live)


def retriever_status(live: Manifest) -> RetrieverStatus:
    return _status(RetrieverStatus, live)


def _status(model: type[_S], live: Manifest) -> _S:
    """A status that cannot be read is as good as none: it is written again."""
    try:
        return model.model_validate(live.get("status") or {})
    except ValidationError:
        return model()


def _as_written(live: Manifest) -> dict[str, Any]:
    meta = live["metadata"]
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "spec": live.get("spec") or {},
    }


def _problems(document: dict[str, Any]) -> tuple[str, ...]:
    """The same words as `lookalike validate` has for them."""
    loaded = load_resources(json.dumps(document), document["metadata"]["name"])
    said = tuple(f"{p.path}: {p.message}" if p.path else p.message for p in loaded.errors)
    return said or ("spec: is not valid",)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
