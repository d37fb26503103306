"""Lookalike's Python client.

    from lookalike import Lookalike

    client = Lookalike(base_url="http://127.0.0.1:8000", api_key="YOUR_API_KEY")
    results = client.search("similarity-retriever", "red mug")
    for result in results:
        print(f"Score: {result.score:.3f}, ID: {result.document_id}")

Names are loaded when first used, so that a program that needs one of them starts quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.client import AsyncLookalike, Lookalike
    from lookalike.errors import (
        APIError,
        ConnectionFailed,
        InvalidRequest,
        LookalikeError,
        NotFound,
        RateLimited,
        ServiceUnavailable,
        Unauthorized,
        WrongPart,
    )
    from lookalike.types import (
        AppliedScan,
        Balance,
        Batch,
        BatchCounts,
        BatchError,
        BatchInput,
        BatchInputs,
        BatchItem,
        BatchState,
        Collection,
        Deleted,
        Deletion,
        Document,
        DuplicateGroup,
        DuplicateMatch,
        DuplicateMember,
        Duplicates,
        DuplicateScan,
        Evidence,
        Facet,
        FacetBucket,
        FacetField,
        Facets,
        FacetValue,
        FailureCount,
        Filters,
        HashCoverage,
        Health,
        ImageValue,
        IngestionFailure,
        IngestionRun,
        LeftDocument,
        MatchedRegion,
        Model,
        Queries,
        Query,
        Retriever,
        SearchResult,
        SearchResults,
        SeenDocument,
        SourceBalance,
        Vector,
    )
    from lookalike.version import __version__

_HOME = {
    "client": ("AsyncLookalike", "Lookalike"),
    "errors": (
        "APIError",
        "ConnectionFailed",
        "InvalidRequest",
        "LookalikeError",
        "NotFound",
        "RateLimited",
        "ServiceUnavailable",
        "Unauthorized",
        "WrongPart",
    ),
    "types": (
        "AppliedScan",
        "Balance",
        "Batch",
        "BatchCounts",
        "BatchError",
        "BatchInput",
        "BatchInputs",
        "BatchItem",
        "BatchState",
        "CalibratedThreshold",
        "Calibration",
        "Collection",
        "Deleted",
        "Deletion",
        "Dismissal",
        "Document",
        "DuplicateMatch",
        "Duplicates",
        "Evidence",
        "DuplicateGroup",
        "DuplicateMember",
        "DuplicateScan",
        "Facet",
        "FacetBucket",
        "FacetField",
        "Facets",
        "FacetValue",
        "FailureCount",
        "Filters",
        "HashCoverage",
        "Health",
        "ImageValue",
        "IngestionFailure",
        "IngestionRun",
        "MatchedRegion",
        "LeftDocument",
        "Model",
        "Queries",
        "Query",
        "Retriever",
        "SearchResult",
        "SearchResults",
        "SeenDocument",
        "SourceBalance",
        "Vector",
    ),
    "version": ("__version__",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "APIError",
    "AppliedScan",
    "AsyncLookalike",
    "Balance",
    "Batch",
    "BatchCounts",
    "BatchError",
    "BatchInput",
    "BatchInputs",
    "BatchItem",
    "BatchState",
    "CalibratedThreshold",
    "Calibration",
    "Collection",
    "ConnectionFailed",
    "Deleted",
    "Deletion",
    "Dismissal",
    "Document",
    "DuplicateGroup",
    "DuplicateMatch",
    "DuplicateMember",
    "DuplicateScan",
    "Duplicates",
    "Evidence",
    "Facet",
    "FacetBucket",
    "FacetField",
    "FacetValue",
    "Facets",
    "FailureCount",
    "Filters",
    "HashCoverage",
    "Health",
    "ImageValue",
    "IngestionFailure",
    "IngestionRun",
    "InvalidRequest",
    "LeftDocument",
    "Lookalike",
    "LookalikeError",
    "MatchedRegion",
    "Model",
    "NotFound",
    "Queries",
    "Query",
    "RateLimited",
    "Retriever",
    "SearchResult",
    "SearchResults",
    "SeenDocument",
    "ServiceUnavailable",
    "SourceBalance",
    "Unauthorized",
    "Vector",
    "WrongPart",
    "__version__",
]


def __getattr__(name: str) -> Any:
    try:
        module = importlib.import_module(f"lookalike.{_MODULE_OF[name]}")
    except KeyError:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}") from None
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
