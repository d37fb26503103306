"""Resources to what the server process reads: one ServingConfig, one IngestionConfig a collection.

On one machine every index is Qdrant Edge in the data directory, unless the resource names a Qdrant
server by its address.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lookalike_cli.failure import Failure
from lookalike_crds.buckets import Bucket
from lookalike_crds.config import (
    AccessConfig,
    CollectionConfig,
    CollectionSources,
    HttpConfig,
    IndexConfig,
    IngestionConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.config_changes import place_of
from lookalike_crds.image_collection import CaSpec, Engine, GateSpec, ModelSpec, Provider
from lookalike_crds.naming import described, index_name
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.sources import SourceSpec, buckets_of
from lookalike_crds.switching import run_that_fills
from lookalike_serving.indexes.remembered import remembered
from lookalike_serving.machine.edge_places import MANIFEST
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.rundir import RunDirectory

if TYPE_CHECKING:
    from lookalike_crds.load import Loaded
    from lookalike_crds.resources import ImageCollection

_QDRANT_KEY_VARIABLE = "LOOKALIKE_QDRANT_API_KEY"
SECRETS_VARIABLE = "LOOKALIKE_SECRETS_DIR"


@dataclass(frozen=True, slots=True)
class Rendered:
    serving: ServingConfig
    ingestions: tuple[IngestionConfig, ...]
    """Of the collections that have sources."""
    notices: tuple[str, ...]
    """Where this machine differs from what the resources say."""

    def write(self, run: RunDirectory) -> None:
        """Write the files the server process reads, and forget those of an earlier start."""
        for stale in run.ingestion_configs().values():
            stale.unlink()
        if not run.internal_token.exists():
            write_atomically(run.internal_token, secrets.token_urlsafe(32).encode(), mode=0o600)
        self.write_secrets(run)
        for ingestion in self.ingestions:
            path = run.ingestion_config(ingestion.collection.name)
            write_atomically(path, ingestion.model_dump_json(indent=2, by_alias=True).encode())
        content = self.serving.model_dump_json(indent=2, by_alias=True).encode()
        write_atomically(run.serving_config, content)

    def write_secrets(self, run: RunDirectory) -> None:
        """Write what the environment alone says, for the server and its ingestions to read."""
        if key := os.environ.get(_QDRANT_KEY_VARIABLE):
            write_atomically(_qdrant_key_file(run), key.encode(), mode=0o600)


def render(
    loaded: Loaded, run: RunDirectory, http: HttpConfig, api_keys_file: Path | None
) -> Rendered:
    """Everything the server needs to know. Raises Failure if the resources cannot run here."""
    if not loaded.collections:
        raise Failure("the files describe no ImageCollection: there is nothing to serve")
    notices: list[str] = []
    collections: list[CollectionConfig] = []
    ingestions: list[IngestionConfig] = []
    roots: list[Path] = []
    buckets: list[Bucket] = []
    changing: list[CollectionSources] = []
    before = _before(run)
    for resource in loaded.collections:
        folder = loaded.folder_of(resource)
        index = _index(resource, folder, run, notices)
        notices += _moved(resource.metadata.name, before.get(resource.metadata.name), index)
        collection = CollectionConfig(
            name=resource.metadata.name,
            model=with_resolved_weights(resource.spec.model.alone, folder),
            copy_model=_copy_model(resource, folder),
            vector=resource.spec.vector,
            index=index,
            fields=resource.spec.fields,
            duplicates=resource.spec.scanned,
            sources=tuple(source.name for source in resource.spec.sources),
            gate=_gate(resource.spec.model.gate, folder),
            keep_previous=resource.spec.model.keep_previous,
        )
        collections.append(collection)
        sources = tuple(resolved_source(source, folder) for source in resource.spec.sources)
        kinds = [source.kind for source in sources]
        roots += [Path(kind.folder) for kind in kinds if kind.folder is not None]
        declared = buckets_of(sources, secrets_dir())
        buckets += declared
        if not sources:
            continue
        followed = CollectionSources(
            collection=collection.name, sources=sources, secrets_dir=secrets_dir()
        )
        if any(source.takes_changes for source in sources):
            changing.append(followed)
        ingestions.append(
            IngestionConfig(
                collection=collection,
                sources=sources,
                ingestion=resource.spec.ingestion,
                data_dir=run.data_dir,
                gateway_url=http.local_url,
                internal_token_file=run.internal_token,
                buckets=declared,
                secrets_dir=secrets_dir(),
                progress_file=run.progress_file(collection.name),
            )
        )
    serving = ServingConfig(
        collections=tuple(collections),
        retrievers=tuple(
            RetrieverConfig(
                name=r.metadata.name, collections=r.spec.collections, search=r.spec.search
            )
            for r in loaded.retrievers
        ),
        data_dir=run.data_dir,
        image_roots=tuple(dict.fromkeys(roots)),
        buckets=tuple(dict.fromkeys(buckets)),
        sources=tuple(changing),
        http=http,
        access=AccessConfig(
            api_keys_file=api_keys_file.resolve() if api_keys_file is not None else None,
            internal_token_file=run.internal_token,
        ),
        batches_index=IndexConfig(
            engine=Engine.EDGE, name="batches", path=run.data_dir / "indexes" / "batches"
        ),
    )
    return Rendered(serving, tuple(ingestions), tuple(notices))


def _gate(gate: GateSpec | None, folder: Path) -> GateSpec | None:
    """With the path of its judgments made absolute. Raises Failure if there is no such file."""
    if gate is None or gate.judgments is None:
        return gate
    file = absolute(gate.judgments, folder)
    if not file.is_file():
        raise Failure(f"spec.model.gate.judgments: there is no file {file}")
    return gate.model_copy(update={"judgments": str(file)})


def beside_former(rendered: Rendered, run: RunDirectory) -> Rendered:
    """The same for a server that starts: a model that changed while none ran does not answer before
    its index is filled. Until then, the former model does, if its index holds documents."""
    before = {each.name: each for each in _served_before(run)}
    known = remembered(run.data_dir)
    runs = {each.collection.name: each for each in rendered.ingestions}
    answering, filling, notices = [], [], list(rendered.notices)
    for new in rendered.serving.collections:
        live = before.get(new.name)
        if live is None or not _is_superseded(live, new, known):
            answering.append(new)
            continue
        answering.append(live)
        filling.append(new)
        runs[new.name] = run_that_fills(
            new, live, rendered.serving, runs.get(new.name), run.progress_file(new.name)
        )
        notices.append(
            f"collection {new.name}: the model {described(live.made_by)} answers until all "
            f"documents are embedded by {described(new.made_by)}"
        )
    serving = rendered.serving.model_copy(
        update={"collections": tuple(answering), "filling": tuple(filling)}
    )
    return Rendered(serving, tuple(runs.values()), tuple(notices))


def _served_before(run: RunDirectory) -> tuple[CollectionConfig, ...]:
    """What answered in the last server of this data directory; nothing if that is not known."""
    try:
        return run.read_serving_config().collections
    except (OSError, ValidationError):
        return ()


def _is_superseded(live: CollectionConfig, new: CollectionConfig, known: Container[str]) -> bool:
    """Whether the collection has another index, which may hold documents, than `new` says.

    One that has been open counts, whatever was counted in it: a server that was killed did not
    come to count what it stored last. An index that was never opened, such as that of a model that
    could not be loaded, holds nothing.
    """
    if live.index.engine is not new.index.engine or place_of(live.index) == place_of(new.index):
        return False
    if live.index.path is not None:
        return (live.index.path / MANIFEST).exists()
    return live.index.addresses == new.index.addresses and live.index.name in known


def _index(
    resource: ImageCollection, folder: Path, run: RunDirectory, notices: list[str]
) -> IndexConfig:
    spec = resource.spec.index
    name = index_name(resource.metadata.name, resource.spec.made_by)
    owner = IndexOwner(cluster=run.data_id(), name=resource.metadata.name)
    qdrant = spec.qdrant
    if spec.engine is Engine.QDRANT and qdrant is not None and qdrant.addresses:
        needs_key = qdrant.api_key_secret_ref is not None
        if needs_key and not os.environ.get(_QDRANT_KEY_VARIABLE):
            raise Failure(
                f"ImageCollection/{resource.metadata.name} spec.index.qdrant.apiKeySecretRef: "
                f"there are no Secrets on one machine: set {_QDRANT_KEY_VARIABLE}"
            )
        return IndexConfig(
            engine=Engine.QDRANT,
            # A server may be shared with other machines.
            name=index_name(resource.metadata.name, resource.spec.made_by, owner.cluster),
            adopts=name if _has_used(run, name, qdrant.addresses) else None,
            owner=owner,
            url=qdrant.url,
            urls=qdrant.urls or (),
            grpc_port=qdrant.port_of_grpc,
            api_key_file=_qdrant_key_file(run) if needs_key else None,
            ca_file=None if qdrant.ca is None else _ca_file(resource, qdrant.ca, folder),
            shards=qdrant.shards,
            replication_factor=qdrant.replication_factor,
        )
    if spec.engine is Engine.QDRANT and "engine" in spec.model_fields_set:
        notices.append(
            f"ImageCollection/{resource.metadata.name} spec.index.engine is Qdrant without "
            "qdrant.url or urls: on this machine, Edge is used, in the data directory"
        )
    path = run.data_dir / "indexes" / name
    return IndexConfig(engine=Engine.EDGE, name=name, path=path, owner=owner)


def _ca_file(resource: ImageCollection, ca: CaSpec, folder: Path) -> Path:
    at = f"ImageCollection/{resource.metadata.name} spec.index.qdrant.ca"
    if ca.path is None:
        raise Failure(
            f"{at}: there are no ConfigMaps and Secrets on one machine: write the certificates to "
            "a file, and its path, relative to the YAML file, to ca.path"
        )
    file = absolute(ca.path, folder)
    if not file.is_file():
        raise Failure(f"{at}.path: there is no file {file}")
    return file


def _has_used(run: RunDirectory, index: str, urls: tuple[str, ...]) -> bool:
    """Whether the last server of this data directory had that index, of an earlier release's name.

    Without that, an index of the name is likely to be another machine's.
    """
    return any(
        index in (each["name"], each.get("adopts")) and not _addresses(each).isdisjoint(urls)
        for each in _before(run).values()
    )


def _before(run: RunDirectory) -> dict[str, dict[str, Any]]:
    """Collection -> its index, as the last server of this data directory was told."""
    try:
        document = json.loads(run.serving_config.read_bytes())
        found = {str(each["name"]): each["index"] for each in document["collections"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        name: index for name, index in found.items() if isinstance(index, dict) and "name" in index
    }


def _addresses(index: dict[str, Any]) -> set[str]:
    """Of the Qdrant server that an index was on."""
    return {index.get("url"), *(index.get("urls") or ())} - {None}


def _moved(collection: str, before: dict[str, Any] | None, index: IndexConfig) -> list[str]:
    """What is to be told where a collection's index was on a server that is no longer named."""
    addresses = _addresses(before or {})
    if not addresses or not addresses.isdisjoint(index.addresses):
        return []
    where = " or ".join(sorted(addresses))
    return [
        f"ImageCollection/{collection} was stored on the Qdrant server {where} until now: "
        "documents that were uploaded there are no longer found, and stay there. To find them "
        "again, revert spec.index.qdrant.url"
    ]


def _qdrant_key_file(run: RunDirectory) -> Path:
    return run.path / "qdrant-api-key"


def secrets_dir() -> Path | None:
    """Where this machine keeps what Secrets hold on a cluster: a folder for each, a file for each
    key. None: sources are read with the credentials of the environment."""
    said = os.environ.get(SECRETS_VARIABLE)
    return Path(said).expanduser().resolve() if said else None


def resolved_source(source: SourceSpec, folder: Path) -> SourceSpec:
    """The source with its paths made absolute: they are written relative to the YAML file."""
    return source.with_kind(source.kind.resolved(lambda path: str(absolute(path, folder))))


def _copy_model(resource: ImageCollection, folder: Path) -> ModelSpec | None:
    copies = resource.spec.made_by.copies
    return None if copies is None else with_resolved_weights(copies, folder)


def with_resolved_weights(model: ModelSpec, folder: Path) -> ModelSpec:
    """Weights that are next to the YAML, or are written as a path, and a plugin's file; tags, names
    and addresses stay."""
    if model.provider is Provider.PLUGIN and model.name and ".py:" in model.name:
        file, _, kind = model.name.rpartition(":")
        model = model.model_copy(update={"name": f"{absolute(file, folder)}:{kind}"})
    if model.weights is None or ":" in model.weights:
        return model
    path = absolute(model.weights, folder)
    if path.exists() or "/" in model.weights or path.suffix:  # no tag has a suffix
        return model.model_copy(update={"weights": str(path)})
    return model


def absolute(path: str, folder: Path) -> Path:
    return (folder / Path(path).expanduser()).resolve()
