"""What the server tells, as frozen objects.

Members that this version does not know, of a newer server, are kept (`model_extra`) and harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from os import PathLike
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    Literal,
    NotRequired,
    TypeAlias,
    TypedDict,
    overload,
)

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

ImageValue: TypeAlias = "str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PILImage"
"""An image: an http(s) or data URL, the path of a file, encoded bytes (JPEG, PNG, …), an open
binary file, or a PIL image."""

Filters: TypeAlias = Mapping[str, Any]
"""`{"AND": [{"key", "operator", "value"}, …]}`, nested, or the shorthand `{"status": "active"}`."""


class Query(TypedDict):
    """One thing to look for. Several in one search are combined by their weights."""

    type: Literal["image", "text", "vector", "document"]
    value: Any
    """image: an `ImageValue`, or base64; text: words; vector: numbers; document: an id."""
    weight: NotRequired[float]
    """Relative to the other queries; negative means "but not this"."""
    embedding_model: NotRequired[str]
    collection: NotRequired[str]


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
    """Euclidean distance, where the collection's distance is Euclid."""
    vector: list[float] | None = None
    explanation: dict[str, Any] | None = None


class SearchResults(Answered):
    """The results, best first: iterate over it, index it, take its length."""

    results: tuple[SearchResult, ...]
    took_ms: float = 0.0
    stages: tuple[StageTime, ...] = ()
    warnings: tuple[str, ...] = ()

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


class Collection(Answered):
    name: str
    documents: int | None = None
    """How many it holds."""


class Retriever(Answered):
    name: str


class Model(Answered):
    """An embedding model that the server has loaded."""


class Document(Answered):
    document_id: str
    metadata: dict[str, Any] = {}
    collection: str | None = None
    image_url: str | None = None
    thumbnail_url: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class BatchState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def active(self) -> bool:
        """Whether work is still to come."""
        return self in (BatchState.QUEUED, BatchState.RUNNING)


class BatchCounts(Answered):
    total: int
    queued: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class Batch(Answered):
    batch_id: str
    state: BatchState
    collection: str | None = None
    counts: BatchCounts | None = None
    eta_seconds: float | None = None


class BatchItem(Answered):
    document_id: str
    state: str
    error: dict[str, Any] | None = None


class BatchInput(TypedDict):
    """One image of a new batch."""

    image: Any
    """An `ImageValue`."""
    document_id: NotRequired[str]
    metadata: NotRequired[Mapping[str, Any]]


class Health(Answered):
    live: bool
    ready: bool
    detail: str = ""
    """Why it is not ready."""


Vector: TypeAlias = Sequence[float]
