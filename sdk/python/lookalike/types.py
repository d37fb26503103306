"""The answers of the server, as frozen objects.

Members of a newer server that this version does not know are kept (`model_extra`) and do no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from os import PathLike
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Literal,
    NotRequired,
    Protocol,
    TypeAlias,
    TypedDict,
    overload,
)

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

ImageValue: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PILImage"
"""An image: an http(s) or data URL, the path of a file, encoded bytes (JPEG, PNG, …), an open
binary file, or a PIL image."""

Filters: TypeAlias = Mapping[str, Any]
"""`{"AND": [{"key", "operator", "value"}, …]}`, nested, or the shorthand `{"status": "active"}`."""


class Query(TypedDict):
    """One query. Several queries in one search are combined by their weights."""

    type: Literal["image", "text", "vector", "document"]
    value: Any
    """image: an `ImageValue`, or base64; text: words; vector: numbers; document: an id."""
    weight: NotRequired[float]
    """Relative to the other queries; negative means "but not this"."""
    embedding_model: NotRequired[str]
    collection: NotRequired[str]


class Array(Protocol):
    """An array or tensor of NumPy, PyTorch, pandas or the standard library."""

    def tolist(self) -> Any: ...


Vector: TypeAlias = "Sequence[float] | Array"
"""One embedding: flat, as many numbers as the model's dimension."""

Queries: TypeAlias = (
    "Query | Mapping[str, Any] | ImageValue | Vector"
    " | Iterable[Query | Mapping[str, Any] | ImageValue | Vector]"
)
"""What to search for: words, an image, a vector, a query written out, or several of them."""


class Answered(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class StageTime(Answered):
    name: str
    ms: float


class SearchResult(Answered):
    document_id: str
    score: float
    """Higher is better, for every distance."""
    metadata: dict[str, Any] = {}
    image_url: str | None = None
    thumbnail_url: str | None = None
    collection: str | None = None
    distance: float | None = None
    """The Euclidean distance, if the distance of the collection is Euclid."""
    vector: list[float] | None = None
    verdict: Literal["exact", "copy"] | None = None
    """With mode copies."""
    evidence: Evidence | None = None
    """With mode copies: what the verdict rests on, and the region that both pictures show."""
    explanation: dict[str, Any] | None = None


class FacetField(TypedDict):
    """One field to count by, and how."""

    field: str
    type: NotRequired[Literal["terms", "range", "histogram", "date_histogram"]]
    """Default: by the type of the field."""
    limit: NotRequired[int]
    """terms: how many values."""
    contains: NotRequired[str]
    """terms: only values with this in their text."""
    include: NotRequired[Sequence[str | int | bool]]
    """terms: values that are returned in any case."""
    ranges: NotRequired[Sequence[Mapping[str, Any]]]
    """range: `[{"to": 10}, {"from": 10, "to": 20}, {"from": 20}]`."""
    buckets: NotRequired[int]
    """The histograms: at most so many."""
    interval: NotRequired[float | str]
    """In place of `buckets`: a width, or hour, day, week, month, quarter, year."""
    missing: NotRequired[bool]
    """Also count the documents without a value."""


class FacetValue(Answered):
    value: str | int | bool
    count: int


class FacetBucket(Answered):
    """From `low`, included, up to `high`, not included; None: open."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True)

    low: Any = Field(default=None, alias="from")
    high: Any = Field(default=None, alias="to")
    count: int


class Facet(Answered):
    """The counts of one field."""

    field: str
    type: str
    exact: bool = True
    """False if the engine only estimates, or more values exist than were read."""
    values: tuple[FacetValue, ...] = ()
    """terms: most frequent first."""
    distinct: int | None = None
    buckets: tuple[FacetBucket, ...] = ()
    """The other types: in order."""
    min: Any = None
    max: Any = None
    interval: Any = None
    missing: int | None = None


class Facets(Answered):
    """Counts under filters; `facets` in the order in which the fields were asked for."""

    total: int
    facets: tuple[Facet, ...] = ()
    took_ms: float = 0.0
    warnings: tuple[str, ...] = ()

    def __getitem__(self, field: str) -> Facet:
        """The first facet of a field. Raises KeyError."""
        for facet in self.facets:
            if facet.field == field:
                return facet
        raise KeyError(field)


Corners: TypeAlias = tuple[
    tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]
]
"""(x, y) in parts of a picture's width and height."""


class MatchedRegion(Answered):
    """The corners of one region, in both pictures: top left, top right, bottom right, bottom left
    as the query shows it."""

    query: Corners
    document: Corners


class Evidence(Answered):
    """What was measured; None: it was not needed, or there was nothing to measure."""

    content_hash: bool
    """Whether the pixels are the same."""
    pdq: int | None = None
    """Hamming distance, of 256 bits."""
    phash: int | None = None
    """Hamming distance, of 64 bits."""
    cosine: float | None = None
    inliers: int | None = None
    """Keypoints that one transform maps onto each other."""
    inlier_ratio: float | None = None
    coverage: float | None = None
    agreement: float | None = None
    """Part of the blocks with texture whose pixels agree."""
    differs: list[str] | None = None
    """Why it is no copy: `hue`, `place`, `brightness`, `pattern` or `texture`."""
    region: MatchedRegion | None = None
    transform: dict[str, Any] | None = None
    """How the query was made of the document: `edits`, and their measures."""


class DuplicateMatch(Answered):
    document_id: str
    verdict: Literal["exact", "copy", "similar"]
    confidence: float
    """Orders the matches of one verdict; it is not a probability."""
    evidence: Evidence
    metadata: dict[str, Any] = {}
    image_url: str
    thumbnail_url: str


class HashCoverage(Answered):
    documents: int
    hashed: int
    """Documents that have hashes; the others are found by their embedding only."""


class Similarity(Answered):
    """From which score two pictures of a collection are called similar, measured on a sample."""

    target_fpr: float
    """The share of the pairs of different pictures that may score as high by chance."""
    similar_from: float | None = None
    """Cosine. None if there are too few different pictures to measure it: then none are similar."""
    pairs: int
    """Of different pictures, in the sample."""
    sampled: int
    documents: int
    """Of the collection, when it was measured."""
    measured_at: str
    """RFC 3339."""


class Duplicates(Answered):
    """The matches: exact, then copies, then similar pictures."""

    matches: tuple[DuplicateMatch, ...]
    content_hash: str | None = None
    """Of the picture's pixels: names it in `client.collections.dismiss`."""
    hashes: HashCoverage | None = None
    similarity: Similarity | None = None
    """None if no similar pictures were asked for."""
    took_ms: float = 0.0
    warnings: tuple[str, ...] = ()


class Dismissal(Answered):
    """What a person has said: that two documents, or a document and a picture, are no copies of
    each other."""

    documents: tuple[str, ...]
    content_hash: str | None = None
    """Of the picture that the one document is no copy of."""
    dismissed_at: datetime


class SearchResults(Answered):
    """The results, best first: iterate over it, index it, take its length."""

    results: tuple[SearchResult, ...]
    took_ms: float = 0.0
    stages: tuple[StageTime, ...] = ()
    warnings: tuple[str, ...] = ()
    min_score: float | None = None
    """The score below which results were left out, if there is one."""
    total: int | None = None
    """With `facets`: documents that match the filters, whatever their score."""
    facets: tuple[Facet, ...] = ()
    """With `facets`: the counts of those documents, not only of the results."""

    def __iter__(self) -> Iterator[SearchResult]:  # type: ignore[override]
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __bool__(self) -> bool:
        return bool(self.results)

    @overload
    def __getitem__(self, index: int) -> SearchResult: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SearchResult, ...]: ...
    def __getitem__(self, index: int | slice) -> SearchResult | tuple[SearchResult, ...]:
        return self.results[index]


class CollectionField(Answered):
    name: str
    type: str


class LastDuplicateScan(Answered):
    """The last duplicate scan of a collection that ended."""

    id: str
    state: str
    """Completed, Failed or Cancelled."""
    time: datetime
    scanned: int = 0
    groups: int = 0
    documents: int = 0
    """Duplicates: documents of groups, without those that are kept."""
    bytes: int = 0
    deleted: int | None = None
    message: str | None = None


class SearchSettings(Answered):
    """Found by measurement after the index was built."""

    recall: float
    """The share of the true ten nearest neighbours that are found with them."""
    recall_target: float
    ef: int
    """The beam width for ten results."""
    oversampling: float
    """Quantised candidates that are scored again in full for each result."""
    queries: int
    """With how many it was measured."""
    measured_at: str
    """RFC 3339."""


class Collection(Answered):
    name: str
    state: str = "Ready"
    """Ready or Unavailable."""
    reason: str | None = None
    """Why it is unavailable."""
    documents: int | None = None
    """The number of documents."""
    indexed_vectors: int | None = None
    index_status: str | None = None
    engine: str | None = None
    distance: str | None = None
    dimension: int | None = None
    model: str | None = None
    model_ability: str | None = None
    """What the model can and cannot do, in a short phrase."""
    supports_text: bool | None = None
    """Whether the collection can be searched by text."""
    fields: tuple[CollectionField, ...] = ()
    warnings: tuple[str, ...] = ()
    """Whether the index has lost its documents, or the type of a field was changed after documents
    were stored."""
    search_settings: SearchSettings | None = None
    """None if none have been measured: the index is too small to need any."""
    last_duplicate_scan: LastDuplicateScan | None = None
    similarity: Similarity | None = None
    """As it was measured last; None without `spec.duplicates`."""


class SearchedCollection(Answered):
    name: str
    weight: float = 1.0


class CalibratedThreshold(Answered):
    """The lowest score with which the wanted share of the results is relevant."""

    min_score: float
    wanted: float
    """The share of relevant results that was wanted, 0 to 1."""
    precision: float
    """The share that was measured; `low` and `high` bound its 95 % confidence interval."""
    low: float
    high: float
    recall: float
    """The share of the relevant documents that were found."""
    empty: float
    """The share of the queries that had no result left."""
    count: int
    """Queries that it was measured with."""
    pairs: int
    """Results that were judged."""


class Calibration(Answered):
    """What `min_score="auto"` stands for."""

    thresholds: dict[str, CalibratedThreshold]
    """By kind of query: text, image (also documents and vectors), or both, which is text together
    with any of these."""
    basis: str
    """What was taken as relevant, in words."""
    made_at: datetime
    holds: bool
    """Whether it is used."""
    changed: tuple[str, ...] = ()
    """What has changed since it was made, so that it is not used."""


class Retriever(Answered):
    name: str
    collections: tuple[SearchedCollection, ...] = ()
    search: dict[str, Any] = {}
    """Its defaults: top_k, min_score, fusion, stages."""
    scores: str | None = None
    """A digest of all that the scale of the scores follows from; None while a collection is not
    open."""
    calibration: Calibration | None = None
    """None if nothing has been calibrated, or while it cannot be read."""


class Way(Answered):
    """A way to compute a tower of a model."""

    engine: str
    """torch, torch.compile, onnxruntime or openvino."""
    precision: str


class Trial(Answered):
    """What was measured of one way."""

    way: Way
    image_ms: tuple[float, ...] = ()
    """Milliseconds for each image in batches of 1 and of 8."""
    text_ms: tuple[float, ...] = ()
    image_cosine: float | None = None
    """The least cosine to the vectors in FP32."""
    text_cosine: float | None = None
    left_out: str | None = None
    """Why it was not measured, or not completely."""


class Execution(Answered):
    """How a model computes."""

    image: Way
    text: Way | None = None
    chosen_by: str | None = None
    """Spec, Estimate or Measurement."""
    trials: tuple[Trial, ...] = ()


class Model(Answered):
    """An embedding model that the server has loaded."""

    name: str
    provider: str | None = None
    weights: str | None = None
    fingerprint: str | None = None
    """Vectors of models with equal fingerprints can be compared."""
    dimension: int | None = None
    image_size: int | None = None
    device: str | None = None
    precision: str | None = None
    """The number format of the image tower."""
    execution: Execution | None = None
    """How it computes; None if the provider gives no choice."""
    pooling: str | None = None
    supports_text: bool | None = None
    ability: str | None = None
    """What the model can and cannot do, in a short phrase."""
    collections: tuple[str, ...] = ()


class Document(Answered):
    document_id: str
    metadata: dict[str, Any] = {}
    collection: str | None = None
    image_url: str | None = None
    thumbnail_url: str | None = None
    source: str | None = None
    """The source that provided it; None for a direct upload."""
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    bytes: int | None = None
    duplicate_of: str | None = None
    """The document of which it is a copy, if it was uploaded with `on_duplicate="link"`."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    vector: list[float] | None = None
    warnings: list[str] = []
    """For an upload: notes about where the image is stored."""


class Deleted(Answered):
    """The result of a deletion by filters."""

    deleted: int
    remaining: int
    """The number of documents that still match; for a dry run, of all that match."""


class Deletion(Answered):
    """A document that was deleted and that ingestion does not add again until its object
    changes."""

    document_id: str
    deleted_at: datetime
    source: str | None = None
    image: str | None = None
    """Address of the object that it came from."""


class DuplicateScan(Answered):
    """A scan of a collection for documents that show the same picture."""

    scan_id: str
    collection: str
    state: str
    """QUEUED, RUNNING, CANCELLING, COMPLETED, FAILED or CANCELLED."""
    sensitivity: str
    created_at: datetime
    documents: int = 0
    """That matched when the scan began."""
    done: int = 0
    """Documents that were read so far."""
    unchanged: int = 0
    """Documents whose results are those of an earlier scan."""
    candidates: int | None = None
    """Pairs that are compared; None until all documents are read."""
    compared: int = 0
    unreadable: int = 0
    rate: float | None = None
    """Documents that are read per second, then candidates that are compared, recently."""
    eta_seconds: float | None = None
    groups: int = 0
    duplicates: int = 0
    """Documents of groups, without those that are kept."""
    bytes: int = 0
    """Of the images of these duplicates."""
    report_id: str | None = None
    planned_for: datetime | None = None
    """The time of the schedule that started it."""
    deleted: int | None = None
    """Documents that the scan deleted, if the spec asks for it."""
    failure: str | None = None


class SeenDocument(Answered):
    """A document as a scan saw it."""

    document_id: str
    image: str
    width: int
    height: int
    bytes: int


class DuplicateMember(SeenDocument):
    verdict: str
    """exact: the same pixels; copy: the same picture, edited."""
    confidence: float
    keeper_is: str
    """Which of the two the keeper is in the evidence: `query` or `document`."""
    evidence: dict[str, Any]
    decision: str | None = None
    """What a person decided about it: delete, keep or dismissed."""


class DuplicateGroup(Answered):
    """Documents that show the same picture."""

    group: int
    keeper: SeenDocument
    why: str
    """Why it is kept."""
    members: tuple[DuplicateMember, ...]


class LeftDocument(Answered):
    document_id: str
    why: str


class AppliedScan(Answered):
    """What applying a report has deleted, or of a dry run would delete."""

    dry_run: bool
    deleted: int
    bytes: int
    gone: int
    """Already deleted."""
    left: int
    more: bool
    """There are more to delete: call again."""
    documents: tuple[str, ...] = ()
    told: tuple[LeftDocument, ...] = ()


class IngestionFailure(Answered):
    """An entry of a source that could not be ingested."""

    source: str
    key: str
    """A path, an address, or the place of a row."""
    code: str
    """Its row in the table of failures."""
    cause: str
    remedy: str | None = None
    attempts: int = 1
    first_at: datetime | None = None
    last_at: datetime | None = None


class FailureCount(Answered):
    code: str
    count: int
    remedy: str | None = None


class Balance(Answered):
    """The outcomes of the entries that a source listed; `listed` is the sum of the others."""

    listed: int
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    """Entries without an outcome: the run is in progress, or ended early."""


class SourceBalance(Balance):
    name: str
    deleted: int = 0


class IngestionRun(Answered):
    """One run over a collection's sources."""

    run_id: str
    state: str
    """LISTING, RUNNING, OPTIMIZING, COMPLETED, COMPLETED_WITH_ERRORS, FAILED or INTERRUPTED."""
    balance: Balance
    started_at: datetime
    updated_at: datetime
    reason: str | None = None
    message: str | None = None
    only_failed: bool = False
    of_changes: bool = False
    parts: int = 1
    attempts: int = 1
    sources: tuple[SourceBalance, ...] = ()
    failures: tuple[FailureCount, ...] = ()
    bytes: int = 0
    seconds: dict[str, float] = {}
    """By stage: list, fetch, decode, embed, write. Stages overlap."""


class BatchState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    """Cancelled, and what was under way has not ended yet."""
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def active(self) -> bool:
        """Whether anything about the batch may still change by itself."""
        return self in (BatchState.QUEUED, BatchState.RUNNING, BatchState.CANCELLING)


class BatchCounts(Answered):
    """Items by state; the four add up to `total`."""

    total: int
    queued: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class BatchError(Answered):
    """Why an item, or a batch as a whole, failed."""

    detail: str
    code: str | None = None
    type: str | None = None


class Batch(Answered):
    batch_id: str
    state: BatchState
    counts: BatchCounts
    collection: str | None = None
    on_error: str | None = None
    attempt: int = 1
    """1, plus one for each retry."""
    rate: float | None = None
    """Current rate in images per second."""
    eta_seconds: float | None = None
    failure: BatchError | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    warnings: list[str] = []
    """For a new batch: notes about where its images are stored."""


class BatchItem(Answered):
    position: int
    """Position in the request, from 0."""
    document_id: str
    state: str
    """QUEUED, SUCCEEDED, FAILED or CANCELLED."""
    image: str | None = None
    error: BatchError | None = None
    warnings: list[str] = []
    """SUCCEEDED: what was lost when the image was decoded, such as further frames."""


class BatchInput(TypedDict):
    """One image of a new batch."""

    image: Any
    """An `ImageValue`."""
    document_id: NotRequired[str]
    on_duplicate: NotRequired[Literal["allow", "link", "reject"]]
    """What happens if the collection has this picture, or a copy of it, under another id."""
    metadata: NotRequired[Mapping[str, Any]]


BatchInputs: TypeAlias = (
    "BatchInput | Mapping[str, Any] | ImageValue"
    " | Iterable[BatchInput | Mapping[str, Any] | ImageValue]"
)
"""The images of a new batch, each with or without an id and metadata."""


class Health(Answered):
    live: bool
    ready: bool
    read_only: bool = False
    """Queries are answered, but nothing can be stored: the disk is full."""
    detail: str = ""
    """Why it is not ready, or why it is read-only."""
