"""Custom resources -> the ServingConfig that serving pods read, the same for every runtime."""

from __future__ import annotations

from pathlib import Path

from lookalike_crds.config import (
    AccessConfig,
    CollectionConfig,
    CollectionSources,
    HttpConfig,
    IndexConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    DEFAULT_GRPC_PORT,
    CollectionModel,
    Engine,
    ImageCollectionSpec,
)
from lookalike_crds.naming import joined
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.retriever import AccessMode, AccessSpec, RetrieverSpec
from lookalike_operator.plan import claims, places
from lookalike_operator.plan.indexes import active_of, effective, index_for_spec, unsettled
from lookalike_operator.plan.model import CollectionFacts, Meta, Settings
from lookalike_operator.plan.names import index_owner
from lookalike_operator.plan.secrets import API_KEYS

QDRANT_PORT = 6333
BATCHES = "lookalike-batches"


def serving_config(
    meta: Meta,
    spec: RetrieverSpec,
    collections: tuple[CollectionFacts, ...],
    settings: Settings,
) -> ServingConfig:
    """What one serving pod of this Retriever needs to know. Pure and byte-stable."""
    configs = tuple(_collection(each, settings) for each in _in_order(spec, collections))
    roots = [
        root
        for each in _in_order(spec, collections)
        for root in places.image_roots(each.meta.name, each.spec)
    ]
    buckets = [
        bucket for each in _in_order(spec, collections) for bucket in places.buckets(each.spec)
    ]
    mode = claims.data_mode(spec, collections)
    batches = _batches(meta, configs, settings)
    return ServingConfig(
        collections=_with_books(configs, batches, meta.namespace, settings),
        retrievers=(
            RetrieverConfig(name=meta.name, collections=spec.collections, search=spec.search),
        ),
        data_dir=Path(places.DATA),
        run_dir=Path(places.RUN) if mode is AccessMode.READ_WRITE_MANY else None,
        keeps_uploads=mode is not None,
        image_roots=tuple(Path(root) for root in dict.fromkeys(roots)),
        buckets=tuple(dict.fromkeys(buckets)),
        filling=tuple(
            beside
            for each in _in_order(spec, collections)
            if (beside := _beside(each, settings)) is not None
        ),
        removed=tuple(
            gone
            for each in _in_order(spec, collections)
            if (gone := _removed(each, settings)) is not None
        ),
        sources=tuple(
            changing
            for each in _in_order(spec, collections)
            if (changing := _changing(each)) is not None
        ),
        http=HttpConfig(host="0.0.0.0", port=places.PORT, public_url=public_url(spec.access)),
        access=AccessConfig(
            api_keys_file=Path(places.API_KEYS) / _key_in_secret(spec.access),
            internal_token_file=Path(places.INTERNAL_TOKEN),
            rate_limit_per_second=(
                spec.access.rate_limit.requests_per_second if spec.access.rate_limit else None
            ),
        ),
        batches_index=batches,
    )


def index_config(
    name: str, meta: Meta, spec: ImageCollectionSpec, settings: Settings
) -> IndexConfig:
    """Where the index `name` of a collection lives, as pods reach it."""
    owner = index_owner(meta, settings.cluster_id)
    if spec.index.engine is Engine.EDGE:
        path = Path(places.INDEXES) / meta.name / name
        return IndexConfig(engine=Engine.EDGE, name=name, path=path, owner=owner)
    qdrant = spec.index.qdrant
    urls = qdrant_urls(meta, spec, settings)
    return IndexConfig(
        engine=Engine.QDRANT,
        name=name,
        url=urls[0] if len(urls) == 1 else None,
        urls=urls if len(urls) > 1 else (),
        grpc_port=qdrant.port_of_grpc if qdrant else DEFAULT_GRPC_PORT,
        api_key_file=_path(places.qdrant_key_file(qdrant)),
        ca_file=_path(places.qdrant_ca_file(qdrant)),
        shards=qdrant.shards if qdrant else 1,
        replication_factor=qdrant.replication_factor if qdrant else 1,
        owner=owner,
    )


def _path(file: str | None) -> Path | None:
    return None if file is None else Path(file)


def qdrant_urls(meta: Meta, spec: ImageCollectionSpec, settings: Settings) -> tuple[str, ...]:
    """Addresses of the collection's Qdrant server, in the order of the spec; empty if it names
    none."""
    qdrant = spec.index.qdrant
    if qdrant is None:
        return ()
    if qdrant.service_ref is not None:
        host = f"{qdrant.service_ref}.{meta.namespace}.svc.{settings.cluster_domain}"
        scheme = "http" if qdrant.ca is None else "https"
        return (f"{scheme}://{host}:{QDRANT_PORT}",)
    return qdrant.addresses


def service_url(retriever: str, namespace: str, settings: Settings) -> str:
    """Address at which pods of any namespace of the cluster reach a Retriever."""
    return f"http://{retriever}.{namespace}.svc.{settings.cluster_domain}:{places.PORT}"


def short_url(retriever: str, namespace: str) -> str:
    """The same for people: the DNS search path of any pod completes it."""
    return f"http://{retriever}.{namespace}.svc:{places.PORT}"


def public_url(access: AccessSpec) -> str | None:
    """Address at which clients outside of the cluster reach it, or None."""
    if access.ingress is not None:
        scheme = "https" if access.ingress.tls_secret_name else "http"
        return f"{scheme}://{access.ingress.host}"
    if access.http_route is not None and access.http_route.hostnames:
        return f"https://{access.http_route.hostnames[0]}"
    return None


def _in_order(
    spec: RetrieverSpec, collections: tuple[CollectionFacts, ...]
) -> list[CollectionFacts]:
    """In the order of names, so that writing them in another order restarts nothing."""
    named = {each.name for each in spec.collections}
    found = (each for each in collections if each.meta.name in named)
    return sorted(found, key=lambda each: each.meta.name)


def _collection(collection: CollectionFacts, settings: Settings) -> CollectionConfig:
    return _with_index(collection, *active_of(collection), settings)


def _beside(collection: CollectionFacts, settings: Settings) -> CollectionConfig | None:
    """The other index of an Edge collection whose model changes, which ingestion reaches through
    the pod: the one that is filled, or, until it has been read once more, the former one."""
    if collection.spec.index.engine is not Engine.EDGE:
        return None
    meta, status = collection.meta, collection.status
    spec = effective(meta, collection.spec, status)
    active, wanted = active_of(collection)[0], index_for_spec(meta, spec, status)
    if active != wanted:
        return _with_index(collection, wanted, spec.made_by, settings)
    former = unsettled(status)
    return None if former is None else _with_index(collection, *former, settings)


def _removed(collection: CollectionFacts, settings: Settings) -> IndexConfig | None:
    """The Edge index of a former model that is no longer kept."""
    meta, spec, previous = collection.meta, collection.spec, collection.status.previous
    if spec.index.engine is not Engine.EDGE or previous is None or not previous.removed:
        return None
    return index_config(previous.index, meta, spec, settings)


def _with_index(
    collection: CollectionFacts, name: str, model: CollectionModel, settings: Settings
) -> CollectionConfig:
    return CollectionConfig(
        name=collection.meta.name,
        model=model.own,
        copy_model=model.copies,
        vector=collection.spec.vector,
        index=index_config(name, collection.meta, collection.spec, settings),
        fields=collection.spec.fields,
        duplicates=collection.spec.scanned,
        sources=tuple(source.name for source in collection.spec.sources),
    )


def _changing(collection: CollectionFacts) -> CollectionSources | None:
    """The sources whose change events the pods take."""
    found = tuple(each for each in collection.spec.sources if each.takes_changes)
    if not found:
        return None
    needs_secrets = any(each.kind.secrets for each in found)
    return CollectionSources(
        collection=collection.meta.name,
        sources=found,
        secrets_dir=Path(places.SOURCE_SECRETS) if needs_secrets else None,
    )


def _key_in_secret(access: AccessSpec) -> str:
    return access.api_keys_secret_ref.key if access.api_keys_secret_ref else API_KEYS


def _batches(meta: Meta, configs: tuple[CollectionConfig, ...], settings: Settings) -> IndexConfig:
    """Batch records are stored with the documents: on the same server, or in the data claim.

    On a server they belong to the whole namespace, so that Retrievers of the same collection have
    the same batches; each processes and shows the batches of the collections that it serves.
    """
    if any(config.index.engine is Engine.EDGE for config in configs):
        path = Path(places.DATA) / "indexes" / "batches"
        return IndexConfig(engine=Engine.EDGE, name="batches", path=path)
    return records_on_server(meta.namespace, configs[0].index, settings)


def records_on_server(namespace: str, index: IndexConfig, settings: Settings) -> IndexConfig:
    """The index of the namespace's records on the Qdrant server that `index` is on."""
    earlier = f"{BATCHES}-{namespace}"
    cluster = settings.cluster_id
    return index.model_copy(
        update={
            "name": joined(BATCHES, namespace, cluster) if cluster else earlier,
            "adopts": earlier if cluster else None,
            "owner": IndexOwner(cluster=cluster, namespace=namespace, name=BATCHES),
        }
    )


def _with_books(
    configs: tuple[CollectionConfig, ...], batches: IndexConfig, namespace: str, settings: Settings
) -> tuple[CollectionConfig, ...]:
    """Each with the place of its records, if it is another one than that of batch records."""
    found = []
    for config in configs:
        if config.index.engine is Engine.QDRANT:
            books = records_on_server(namespace, config.index, settings)
            if (books.name, books.addresses) != (batches.name, batches.addresses):
                config = config.model_copy(update={"books": books})
        found.append(config)
    return tuple(found)
