"""Which index a collection has, which it is to have, and what is served meanwhile.

Another model has another index. With a Qdrant server the new one is filled before anybody asks it:
until then `status.indexName` and `status.activeModelSpec` say what is served. An Edge index is
filled through the pod that serves it, so there is no meanwhile.
"""

from __future__ import annotations

from pydantic import ValidationError

from lookalike_crds.image_collection import (
    Engine,
    ImageCollectionSpec,
    ImageCollectionStatus,
    ModelSpec,
    Provider,
)
from lookalike_crds.naming import index_name
from lookalike_operator.plan.model import CollectionFacts, CollectionSnapshot, Meta


def wanted_index(meta: Meta, spec: ImageCollectionSpec, model: ModelSpec | None = None) -> str:
    """Name of the index for the spec's model, or for another `model`."""
    model = model or spec.model
    if spec.index.engine is Engine.EDGE:
        return index_name(meta.name, model)
    # A server may be shared by namespaces.
    return index_name(f"{meta.namespace}-{meta.name}", model)


def active(
    meta: Meta, spec: ImageCollectionSpec, status: ImageCollectionStatus
) -> tuple[str, ModelSpec]:
    """(index name, model) that Retrievers serve now."""
    wanted = wanted_index(meta, spec)
    if spec.index.engine is Engine.EDGE or status.index_name in (None, wanted):
        return wanted, spec.model
    model = _stored_model(status)
    if model is None or wanted_index(meta, spec, model) != status.index_name:
        return wanted, spec.model
    return status.index_name or wanted, model


def active_of(collection: CollectionFacts) -> tuple[str, ModelSpec]:
    return active(collection.meta, collection.spec, collection.status)


def observed_index(snapshot: CollectionSnapshot) -> str | None:
    """The index whose facts a snapshot of this collection holds; None: no server to ask."""
    spec = snapshot.spec
    if spec is None or spec.index.engine is Engine.EDGE:
        return None
    return active(snapshot.meta, spec, snapshot.status)[0]


def alias_of(meta: Meta) -> str:
    """The name under which others find the active index on the server."""
    return f"{meta.namespace}.{meta.name}"


def described(model: ModelSpec) -> str:
    """A model in a few words, for status and messages."""
    if model.provider is Provider.DEMO:
        return "Demo"
    parts = [f"{model.provider.value} {model.name}"]
    if model.weights:
        parts.append(model.weights)
    if model.revision:
        parts.append(f"@{model.revision}")
    return " ".join(parts)[:512]


def stored(model: ModelSpec) -> str:
    """A model as `status.activeModelSpec` holds it."""
    return model.model_dump_json(by_alias=True, exclude_none=True)


def _stored_model(status: ImageCollectionStatus) -> ModelSpec | None:
    if status.active_model_spec is None:
        return None
    try:
        return ModelSpec.model_validate_json(status.active_model_spec)
    except ValidationError:
        return None
