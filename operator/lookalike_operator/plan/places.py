"""Where things are inside our pods, and the volumes that contain them.

The paths are part of what is stored, since documents record where their image is. So ingestion and
serving pods must agree on them, and both take them from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike_crds.buckets import Bucket
from lookalike_crds.image_collection import ImageCollectionSpec, QdrantSpec
from lookalike_crds.naming import joined
from lookalike_crds.sources import SourceSpec, buckets_of
from lookalike_operator.plan.names import index_claim

DATA = "/var/lib/lookalike"
CONFIG = "/etc/lookalike"
API_KEYS = "/etc/lookalike-keys"
INTERNAL = "/etc/lookalike-internal"
INTERNAL_TOKEN = f"{INTERNAL}/token"
QDRANT_SECRETS = "/etc/lookalike-qdrant"
QDRANT_CONFIG_MAPS = "/etc/lookalike-qdrant-ca"
WEIGHTS = f"{DATA}/weights"
"""Where every pod looks for fetched weights: in its data folder."""
INDEXES = "/var/lib/lookalike-indexes"
SOURCES = "/var/lib/lookalike-sources"
SOURCE_SECRETS = "/etc/lookalike-sources"
"""One folder for each Secret that a bucket is read with."""
TMP = "/tmp"
RUN = f"{TMP}/lookalike-run"
"""What each of several servers on one data volume has to itself."""

SERVING_FILE = "serving.json"
INGESTION_FILE = "ingestion.json"
PORT = 8000
PROGRESS_PORT = 8002
"""Of an ingestion pod."""
METRICS_PORT = 8001
"""Of one replica, where PORT reaches any: with runtime KubeRay."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One volume of a pod and where its container sees it."""

    name: str
    path: str
    source: tuple[tuple[str, Any], ...]
    """The volume's one key and what it holds."""
    read_only: bool = False

    @property
    def volume(self) -> dict[str, Any]:
        return {"name": self.name, **dict(self.source)}

    @property
    def volume_mount(self) -> dict[str, Any]:
        mount: dict[str, Any] = {"name": self.name, "mountPath": self.path}
        return {**mount, "readOnly": True} if self.read_only else mount


def empty(name: str, path: str) -> Mount:
    return Mount(name, path, (("emptyDir", {}),))


def config_map(name: str, config_map: str) -> Mount:
    return Mount(name, CONFIG, (("configMap", {"name": config_map}),), read_only=True)


def secret(name: str, path: str, secret: str, *, optional: bool = False) -> Mount:
    """`optional`: pods start without it, and see it once it is there."""
    source = {"secretName": secret, **({"optional": True} if optional else {})}
    return Mount(name, path, (("secret", source),), read_only=True)


def claim(name: str, path: str, claim: str, *, read_only: bool = False) -> Mount:
    # Read-only at the mount alone: a volume that is read-only as a whole could not be shared with
    # a pod on the same node that writes to it.
    return Mount(name, path, (("persistentVolumeClaim", {"claimName": claim}),), read_only)


def weights(specs: Iterable[ImageCollectionSpec]) -> list[Mount]:
    """The volume on which the models' weights are kept, if one is named."""
    claims = {each.model.cache.claim for each in specs if each.model.cache is not None}
    return [claim("weights", WEIGHTS, min(claims))] if claims else []


def index(collection: str) -> Mount:
    """The folder that holds an Edge collection's indexes."""
    return claim(joined("index-" + collection), f"{INDEXES}/{collection}", index_claim(collection))


def qdrant_key_file(qdrant: QdrantSpec | None) -> str | None:
    """Where pods find the API key of a collection's server."""
    reference = None if qdrant is None else qdrant.api_key_secret_ref
    return None if reference is None else f"{QDRANT_SECRETS}/{reference.name}/{reference.key}"


def qdrant_ca_file(qdrant: QdrantSpec | None) -> str | None:
    """Where pods find the certificates that its own must be signed by."""
    ca = None if qdrant is None else qdrant.ca
    if ca is None:
        return None
    if ca.config_map_ref is not None:
        return f"{QDRANT_CONFIG_MAPS}/{ca.config_map_ref.name}/{ca.config_map_ref.key}"
    if ca.secret_ref is not None:
        return f"{QDRANT_SECRETS}/{ca.secret_ref.name}/{ca.secret_ref.key}"
    return None


def qdrant(spec: ImageCollectionSpec) -> list[Mount]:
    """What brings both files."""
    server = spec.index.qdrant
    if server is None:
        return []
    ca = server.ca
    found = [
        secret(joined("qdrant-" + named.name), f"{QDRANT_SECRETS}/{named.name}", named.name)
        for named in (server.api_key_secret_ref, None if ca is None else ca.secret_ref)
        if named is not None
    ]
    if ca is not None and (named_map := ca.config_map_ref) is not None:
        path = f"{QDRANT_CONFIG_MAPS}/{named_map.name}"
        volume = (("configMap", {"name": named_map.name}),)
        found.append(Mount(joined("qdrant-ca", named_map.name), path, volume, read_only=True))
    return found


def sources(collection: str, spec: ImageCollectionSpec) -> list[Mount]:
    """What brings the collection's images: claims, each where `in_pod` says, and the Secrets of
    buckets."""
    found = []
    for source in spec.sources:
        if (named := source.kind.claim) is not None:
            name = joined("source", collection, source.name)
            found.append(claim(name, _source_root(collection, source), named, read_only=True))
        found += [
            # A pod that answers queries must not wait for what only its pictures need. Ingestion is
            # not started without it.
            secret(
                joined("source-secret", named), f"{SOURCE_SECRETS}/{named}", named, optional=True
            )
            for named in source.kind.secrets
        ]
    return found


def in_pod(collection: str, source: SourceSpec) -> SourceSpec:
    """The source with its path as our pods see it."""
    if source.kind.claim is None:
        return source
    return source.with_kind(source.kind.in_claim(_source_root(collection, source)))


def image_roots(collection: str, spec: ImageCollectionSpec) -> list[str]:
    """Folders whose files are the images of documents."""
    folders = (in_pod(collection, source).kind.folder for source in spec.sources)
    return [folder for folder in folders if folder is not None]


def buckets(spec: ImageCollectionSpec) -> tuple[Bucket, ...]:
    """Buckets whose objects are the images of documents."""
    return buckets_of(spec.sources, Path(SOURCE_SECRETS))


def path_problems(spec: ImageCollectionSpec) -> list[str]:
    """Paths that mean nothing in a pod: `path: message` for each."""
    problems: list[str] = []
    server = spec.index.qdrant
    if server is not None and server.ca is not None and qdrant_ca_file(server) is None:
        problems.append(
            "spec.index.qdrant.ca.configMapRef: is missing: on a cluster the certificates are in a "
            "ConfigMap or a Secret (secretRef); name it"
        )
    for i, source in enumerate(spec.sources):
        at = f"spec.sources[{i}].{source.kind_field}"
        problems += [f"{at}.{field}: {told}" for field, told in source.kind.problems_in_pods()]
    return problems


def unique(mounts: Iterable[Mount]) -> list[Mount]:
    """Each once, in order."""
    return list({mount.name: mount for mount in mounts}.values())


def _source_root(collection: str, source: SourceSpec) -> str:
    return f"{SOURCES}/{collection}/{source.name}"
