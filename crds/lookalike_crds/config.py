"""`ServingConfig` and `IngestionConfig`: the only contract between operator, CLI and serving.

One side renders a config as a JSON file, the other loads it. Nothing else passes between
them: no environment variables, no shared modules. Both carry `version`, and a process that
reads a version it does not know refuses to start and says which one it knows.

A ServingConfig has two parts. The light one – what searches default to, how collections are
weighted, the rate limit, the public address, the sources whose changes are followed, the Edge index
of a collection and its model – a serving process takes while it runs; anything else needs a new
one. `heavy_digest` is equal for two configs exactly where one process may go from one to the other.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lookalike_crds.base import without_defaults
from lookalike_crds.buckets import Bucket
from lookalike_crds.hosts import is_loopback
from lookalike_crds.image_collection import (
    KEEP_PREVIOUS,
    CollectionModel,
    DuplicatesSpec,
    Engine,
    FieldSpec,
    GateSpec,
    IngestionSpec,
    ModelSpec,
    VectorSpec,
    made_by,
)
from lookalike_crds.names import Name, ServiceName
from lookalike_crds.ownership import IndexOwner
from lookalike_crds.retriever import CollectionRef, SearchSpec
from lookalike_crds.sources import SourceSpec

CONFIG_VERSION: Literal[1] = 1
_NOT_TOLD = ""
"""Name of an index that another part of the configuration tells."""


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FetchPolicy(Config):
    """What the service may fetch on a caller's behalf, and how much of it."""

    schemes: tuple[str, ...] = ("https", "http")
    allow_private_addresses: bool = Field(
        default=False, description="Loopback, private, link-local and metadata addresses."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Hosts exempt from the address check, such as an in-cluster image server.",
    )
    max_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    max_pixels: int = Field(default=100_000_000, ge=4096)
    max_redirects: int = Field(default=5, ge=0, le=20)
    timeout_seconds: float = Field(default=10.0, gt=0, le=300)


class IndexConfig(Config):
    """Where one collection's vectors live. `name` is unique to (collection, model)."""

    engine: Engine
    name: str
    path: Path | None = Field(default=None, description="Edge: the shard's folder.")
    url: str | None = Field(
        default=None, description="Qdrant: http(s)://host:port; `:memory:` for tests."
    )
    urls: tuple[str, ...] = Field(
        default=(), description="Qdrant: addresses of several nodes of one cluster, not `url`."
    )
    grpc_port: int | None = Field(default=6334, description="Qdrant: None for REST alone.")
    api_key_file: Path | None = None
    ca_file: Path | None = Field(
        default=None, description="Qdrant: certificates (PEM) to trust. Default: well-known ones."
    )
    shards: int = 1
    replication_factor: int = 1
    owner: IndexOwner | None = Field(
        default=None,
        description="Written into the index. One that names another is never touched; None: not "
        "asked.",
    )
    adopts: str | None = Field(
        default=None,
        description="Qdrant: an index of an earlier name, which is used instead of `name` where it "
        "is there and is not another's.",
    )

    @property
    def is_told(self) -> bool:
        """False in the heavy part of a configuration: the light part tells which index it is."""
        return self.name != _NOT_TOLD

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the Qdrant server, in the order in which they are to be used."""
        return self.urls or (() if self.url is None else (self.url,))


class CollectionConfig(Config):
    name: Name
    model: ModelSpec
    vector: VectorSpec
    index: IndexConfig
    fields: tuple[FieldSpec, ...] = ()
    sources: tuple[str, ...] | None = Field(
        default=None,
        description="Names of the sources that can fill its index again; None: not known.",
    )
    duplicates: DuplicatesSpec | None = Field(
        default=None,
        description="None: no hashes are kept of its images. Its copy model is `copy_model`.",
    )
    copy_model: ModelSpec | None = Field(
        default=None,
        description="The model by whose vectors copies are found, and which its index has beside "
        "the others. None: `model`.",
    )
    books: IndexConfig | None = Field(
        default=None,
        description="Payload-only index that holds its runs, failures and deletions. None: for "
        "serving the one of batch records; for ingestion, the one that the server at gateway_url "
        "has.",
    )
    gate: GateSpec | None = Field(
        default=None, description="What it has to reach before it takes the place of another index."
    )
    keep_previous: str = Field(
        default=KEEP_PREVIOUS, description="How long the index whose place it takes is kept."
    )

    @property
    def made_by(self) -> CollectionModel:
        """What its index is made by."""
        return made_by(self.model, self.copy_model)


class RetrieverConfig(Config):
    name: ServiceName
    collections: tuple[CollectionRef, ...]
    search: SearchSpec = SearchSpec()


class CollectionSources(Config):
    """Sources of a collection whose change events a serving process takes."""

    collection: Name
    sources: tuple[SourceSpec, ...]
    secrets_dir: Path | None = Field(
        default=None,
        description="Folder with one folder for each Secret that a source names.",
    )


class HttpConfig(Config):
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: str | None = None

    @property
    def loopback_only(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    @property
    def local_url(self) -> str:
        """The address at which this machine reaches the server, also for a wildcard address."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class AccessConfig(Config):
    """Bearer keys, one a line in `api_keys_file`; none configured means open (loopback only)."""

    api_keys_file: Path | None = None
    internal_token_file: Path | None = Field(
        default=None, description="Token of the bulk route that ingestion writes through."
    )
    rate_limit_per_second: float | None = Field(default=None, gt=0)


class ServingConfig(Config):
    """All that one serving process needs to know."""

    version: Literal[1] = CONFIG_VERSION
    collections: tuple[CollectionConfig, ...]
    retrievers: tuple[RetrieverConfig, ...]
    data_dir: Path = Field(
        description="Uploaded images, thumbnails and weights; with Edge the indexes too."
    )
    filling: tuple[CollectionConfig, ...] = Field(
        default=(),
        description="Other indexes of collections of the same names that are open beside those "
        "that answer: the one that a changed model fills, or, for a moment after the change, the "
        "former one.",
    )
    removed: tuple[IndexConfig, ...] = Field(
        default=(), description="Edge indexes of former models, to be deleted from the disk."
    )
    run_dir: Path | None = Field(
        default=None,
        description="Lock, state and logs of the server. Default: in data_dir, which then belongs "
        "to one server.",
    )
    keeps_uploads: bool = Field(
        default=True,
        description="False: data_dir goes with the process's pod, and no other pod sees it.",
    )
    image_roots: tuple[Path, ...] = Field(
        default=(), description="Folders whose files may be served as document images."
    )
    buckets: tuple[Bucket, ...] = Field(
        default=(), description="Buckets whose objects may be served as document images."
    )
    sources: tuple[CollectionSources, ...] = Field(
        default=(), description="Whose changed objects and files are read as they change."
    )
    http: HttpConfig = HttpConfig()
    access: AccessConfig = AccessConfig()
    fetch: FetchPolicy = FetchPolicy()
    batches_index: IndexConfig = Field(description="Payload-only index that holds batch records.")
    random_weights_for_benchmarks: bool = Field(
        default=False,
        description="Speed work only: OpenClip models without weights get random ones.",
    )


class Answering(Config):
    """The Edge index from which a collection answers, and the models that have filled it.

    The one process that has the index open opens another beside it, and switches.
    """

    collection: Name
    model: ModelSpec
    copy_model: ModelSpec | None = None
    index: IndexConfig


class LightConfig(Config):
    """The part of a ServingConfig that a running process takes in place."""

    retrievers: tuple[RetrieverConfig, ...] = ()
    rate_limit_per_second: float | None = Field(default=None, gt=0)
    public_url: str | None = None
    sources: tuple[CollectionSources, ...] = ()
    answering: tuple[Answering, ...] = ()
    filling: tuple[CollectionConfig, ...] = ()
    removed: tuple[IndexConfig, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As Ray Serve's `user_config` carries it."""
        return without_defaults(self)


def light_of(config: ServingConfig) -> LightConfig:
    """What a running process can take over from this config."""
    return LightConfig(
        retrievers=config.retrievers,
        rate_limit_per_second=config.access.rate_limit_per_second,
        public_url=config.http.public_url,
        sources=config.sources,
        answering=tuple(
            Answering(
                collection=each.name,
                model=each.model,
                copy_model=each.copy_model,
                index=each.index,
            )
            for each in config.collections
            if each.index.engine is Engine.EDGE and each.index.is_told
        ),
        filling=config.filling,
        removed=config.removed,
    )


def heavy_of(config: ServingConfig) -> ServingConfig:
    """The config without its light part: all that a new process must be started for.

    Which sources there are matters to whoever makes an index alone, and what is asked of a change
    of the model to whoever carries it out: they restart nothing.
    """
    collections = tuple(map(_heavy, config.collections))
    return with_light(config.model_copy(update={"collections": collections}), LightConfig())


def _heavy(collection: CollectionConfig) -> CollectionConfig:
    light: dict[str, Any] = {"sources": None, "gate": None, "keep_previous": KEEP_PREVIOUS}
    if collection.index.engine is Engine.EDGE:
        light["model"], light["copy_model"] = ModelSpec(), None
        light["index"] = collection.index.model_copy(update={"name": _NOT_TOLD, "path": None})
    return collection.model_copy(update=light)


def with_light(config: ServingConfig, light: LightConfig) -> ServingConfig:
    """The config with another light part.

    Raises ValueError if a retriever names a collection that the config does not serve.
    """
    served = {collection.name for collection in config.collections}
    for retriever in light.retrievers:
        for missing in (ref.name for ref in retriever.collections if ref.name not in served):
            raise ValueError(
                f"retriever {retriever.name} searches collection {missing}, which is not served "
                f"here ({', '.join(sorted(served)) or 'none is'}): that needs a restart"
            )
    answering = {each.collection: each for each in light.answering}
    return config.model_copy(
        update={
            "collections": tuple(_answered(c, answering.get(c.name)) for c in config.collections),
            "retrievers": light.retrievers,
            "access": config.access.model_copy(
                update={"rate_limit_per_second": light.rate_limit_per_second}
            ),
            "http": config.http.model_copy(update={"public_url": light.public_url}),
            "sources": light.sources,
            "filling": light.filling,
            "removed": light.removed,
        }
    )


def _answered(collection: CollectionConfig, by: Answering | None) -> CollectionConfig:
    if by is None or collection.index.engine is not Engine.EDGE:
        return collection
    return collection.model_copy(
        update={"model": by.model, "copy_model": by.copy_model, "index": by.index}
    )


def heavy_digest(config: ServingConfig) -> str:
    """16 hex digits over all that a restart is needed for.

    Defaults are left out, so that a release that adds a setting restarts nothing by it.
    """
    heavy = heavy_of(config).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(json.dumps(heavy, sort_keys=True).encode()).hexdigest()[:16]


class CarryOver(Config):
    """The index that answers while a run fills another one with a changed model."""

    index: str = Field(description="Its name.")
    model: ModelSpec = Field(description="The model that answers.")
    on_server: IndexConfig | None = Field(
        default=None,
        description="The index itself, on a Qdrant server. None: the server at gateway_url has it "
        "open.",
    )


class IngestionConfig(Config):
    """One ingestion run of one collection."""

    version: Literal[1] = CONFIG_VERSION
    collection: CollectionConfig
    sources: tuple[SourceSpec, ...]
    ingestion: IngestionSpec = IngestionSpec()
    data_dir: Path = Field(description="Weights cache, scratch files, run lock.")
    gateway_url: str | None = Field(
        default=None,
        description="Engine Edge: the running server whose bulk route takes the writes.",
    )
    internal_token_file: Path | None = None
    carry: CarryOver | None = Field(
        default=None,
        description="Documents of this index that the sources have not brought into the new one "
        "are embedded from their stored images. None: no other index answers.",
    )
    ray_address: str | None = Field(
        default=None, description="Address of the Ray to join. Default: start one."
    )
    fetch: FetchPolicy = FetchPolicy()
    buckets: tuple[Bucket, ...] = Field(
        default=(),
        description="Those that the collection's sources declare, also sources that are not of "
        "this run: a manifest may list objects of any.",
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="Folder with one folder for each Secret that a source names, and in it one "
        "file for each key.",
    )
    progress_file: Path = Field(
        description="Rewritten atomically while the run continues: see lookalike_crds.progress."
    )
    random_weights_for_benchmarks: bool = False
