"""Which index a collection has, which it is to have, and which one is served in the meantime.

A different model has a different index. The new index is filled before it is searched: until then,
`status.indexName` and `status.activeModelSpec` say what is served. Afterwards `status.previous`
says what was served before, for as long as a rollback is possible.
"""

from __future__ import annotations

from pydantic import ValidationError

from lookalike_crds.image_collection import (
    CollectionModel,
    Engine,
    ImageCollectionSpec,
    ImageCollectionStatus,
)
from lookalike_crds.naming import index_name
from lookalike_crds.ownership import is_anothers
from lookalike_operator.plan.model import CollectionFacts, CollectionSnapshot, IndexFacts, Meta
from lookalike_operator.plan.names import ROLLBACK, index_owner


def wanted_index(
    meta: Meta, spec: ImageCollectionSpec, model: CollectionModel | None = None
) -> str:
    """Name that a new index for the spec's model, or for another `model`, is given."""
    model = model or spec.made_by
    if spec.index.engine is Engine.EDGE:
        return index_name(meta.name, model)
    # A server may be shared by namespaces.
    return index_name(meta.name, model, meta.namespace)


def _names(meta: Meta, spec: ImageCollectionSpec, model: CollectionModel) -> tuple[str, ...]:
    """All names that an index of this collection and model may have, the usual one first."""
    usual = wanted_index(meta, spec, model)
    if spec.index.engine is Engine.EDGE:
        return (usual,)
    return (
        usual,
        _own(meta, model),
        # Of releases that put a dash between namespace and name: it holds the same vectors.
        index_name(f"{meta.namespace}-{meta.name}", model),
    )


def names_for(meta: Meta, spec: ImageCollectionSpec) -> tuple[str, ...]:
    """All names that the index for the spec's model may have."""
    return _names(meta, spec, spec.made_by)


def _own(meta: Meta, model: CollectionModel) -> str:
    """A name that belongs to this very resource, if the usual one belongs to another."""
    return index_name(meta.name, model, meta.namespace, meta.uid)


def index_for_spec(
    meta: Meta,
    spec: ImageCollectionSpec,
    status: ImageCollectionStatus,
    facts: IndexFacts | None = None,
    cluster: str = "",
) -> str:
    """Name of the index for the spec's model: the one in the status, if it is for this model, else
    a new one. An index that `facts` show to belong to another collection is not used."""
    names = _names(meta, spec, spec.made_by)
    name = status.index_name if status.index_name in names else names[0]
    assert name is not None
    if facts is not None and facts.name == name and is_taken(meta, facts, cluster):
        return _own(meta, spec.made_by)
    return name


def index_of(snapshot: CollectionSnapshot, spec: ImageCollectionSpec) -> str:
    """Name of the index for the spec's model, as the snapshot shows it."""
    return index_for_spec(
        snapshot.meta, spec, snapshot.status, snapshot.index, snapshot.settings.cluster_id
    )


def is_taken(meta: Meta, facts: IndexFacts, cluster: str) -> bool:
    """Whether the index is another collection's."""
    return is_anothers(facts.owner, index_owner(meta, cluster))


def active(
    meta: Meta, spec: ImageCollectionSpec, status: ImageCollectionStatus
) -> tuple[str, CollectionModel]:
    """(index name, model) that Retrievers serve now, by the status."""
    wanted = index_for_spec(meta, spec, status)
    if status.index_name in (None, wanted):
        return wanted, spec.made_by
    model = model_of(status.active_model_spec)
    if model is None or status.index_name not in _names(meta, spec, model):
        return wanted, spec.made_by
    return status.index_name or wanted, model


def active_of(collection: CollectionFacts) -> tuple[str, CollectionModel]:
    meta, status = collection.meta, collection.status
    return active(meta, effective(meta, collection.spec, status), status)


def effective(
    meta: Meta, spec: ImageCollectionSpec, status: ImageCollectionStatus
) -> ImageCollectionSpec:
    """The spec, with the former model in it if an annotation takes the change of the model back.

    Everything follows from that as if somebody had set spec.model back. The former model has
    answered before, so no gate is asked of it.
    """
    taken_back = meta.annotations.get(ROLLBACK)
    if taken_back is None or taken_back not in names_for(meta, spec):
        return spec
    if status.index_name == taken_back:
        kept = status.previous if status.previous and not status.previous.removed else None
        former = None if kept is None else model_of(kept.model_spec)
    else:
        former = model_of(status.active_model_spec)
    return spec if former is None else spec.with_made_by(former)


def observed_index(snapshot: CollectionSnapshot) -> str | None:
    """The index whose facts a snapshot of this collection holds; None: no server to ask."""
    spec = snapshot.spec
    if spec is None or spec.index.engine is Engine.EDGE:
        return None
    meta, status = snapshot.meta, snapshot.status
    return active(meta, effective(meta, spec, status), status)[0]


def kept(status: ImageCollectionStatus) -> tuple[str, ...]:
    """The index of the former model, for as long as it is kept."""
    previous = status.previous
    return () if previous is None or previous.removed else (previous.index,)


def unsettled(status: ImageCollectionStatus) -> tuple[str, CollectionModel] | None:
    """(index name, model) of the former model, until the present index has what was stored in its
    own during the change."""
    previous = status.previous
    if previous is None or previous.level or previous.removed:
        return None
    model = model_of(previous.model_spec)
    return None if model is None else (previous.index, model)


def alias_of(meta: Meta) -> str:
    """The name under which others find the active index on the server."""
    return f"{meta.namespace}.{meta.name}"


def stored(model: CollectionModel) -> str:
    """A model as `status.activeModelSpec` holds it."""
    # Where it is kept, and what is asked of a change of it, say nothing of the model.
    asked = {"cache", "gate", "keep_previous"}
    return model.model_dump_json(by_alias=True, exclude_none=True, exclude=asked)


def model_of(stored_spec: str | None) -> CollectionModel | None:
    """A model that `stored` has written; None if there is none that this version can read."""
    if stored_spec is None:
        return None
    try:
        return CollectionModel.model_validate_json(stored_spec)
    except ValidationError:
        return None
