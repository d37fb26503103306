"""The two clients: `Lookalike` blocks, `AsyncLookalike` awaits; otherwise they are the same."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from lookalike._arguments import fitting
from lookalike._methods import (
    AsyncResource,
    Resource,
    awaiting,
    blocking,
    iterating,
    iterating_async,
)
from lookalike._operations import (
    batches,
    collections,
    deciding,
    dismissing,
    documents,
    duplicate_scans,
    duplicates,
    facets,
    ingestion,
    models,
    retrievers,
)
from lookalike._transport import AsyncTransport, Settings, Transport


class Retrievers(Resource):
    search = blocking(retrievers.search)
    search_batch = blocking(retrievers.search_batch)
    facets = blocking(facets.of_retriever)
    get = blocking(retrievers.get)
    list = iterating(retrievers.listing)
    calibration = blocking(retrievers.calibration)
    save_calibration = blocking(retrievers.save_calibration)
    delete_calibration = blocking(retrievers.delete_calibration)


class AsyncRetrievers(AsyncResource):
    search = awaiting(retrievers.search)
    search_batch = awaiting(retrievers.search_batch)
    facets = awaiting(facets.of_retriever)
    get = awaiting(retrievers.get)
    list = iterating_async(retrievers.listing)
    calibration = awaiting(retrievers.calibration)
    save_calibration = awaiting(retrievers.save_calibration)
    delete_calibration = awaiting(retrievers.delete_calibration)


class Collections(Resource):
    get = blocking(collections.get)
    facets = blocking(facets.of_collection)
    duplicates = blocking(duplicates.of_image)
    dismiss = blocking(dismissing.dismiss)
    dismissals = iterating(dismissing.listing)
    lift_dismissal = blocking(dismissing.lift)
    list = iterating(collections.listing)
    runs = iterating(ingestion.runs)
    failures = iterating(ingestion.failures)
    failure_counts = blocking(ingestion.failure_counts)
    deletions = iterating(ingestion.deletions)


class AsyncCollections(AsyncResource):
    get = awaiting(collections.get)
    facets = awaiting(facets.of_collection)
    duplicates = awaiting(duplicates.of_image)
    dismiss = awaiting(dismissing.dismiss)
    dismissals = iterating_async(dismissing.listing)
    lift_dismissal = awaiting(dismissing.lift)
    list = iterating_async(collections.listing)
    runs = iterating_async(ingestion.runs)
    failures = iterating_async(ingestion.failures)
    failure_counts = awaiting(ingestion.failure_counts)
    deletions = iterating_async(ingestion.deletions)


class Documents(Resource):
    upload = blocking(documents.upload)
    get = blocking(documents.get)
    update = blocking(documents.update)
    delete = blocking(documents.delete)
    delete_matching = blocking(documents.delete_matching)
    restore = blocking(ingestion.restore)
    list = iterating(documents.listing)
    image = blocking(documents.image_bytes)
    thumbnail = blocking(documents.thumbnail)


class AsyncDocuments(AsyncResource):
    upload = awaiting(documents.upload)
    get = awaiting(documents.get)
    update = awaiting(documents.update)
    delete = awaiting(documents.delete)
    delete_matching = awaiting(documents.delete_matching)
    restore = awaiting(ingestion.restore)
    list = iterating_async(documents.listing)
    image = awaiting(documents.image_bytes)
    thumbnail = awaiting(documents.thumbnail)


class Batches(Resource):
    create = blocking(batches.create)
    get = blocking(batches.get)
    wait = blocking(batches.wait)
    cancel = blocking(batches.cancel)
    retry = blocking(batches.retry)
    items = iterating(batches.items)
    list = iterating(batches.listing)


class AsyncBatches(AsyncResource):
    create = awaiting(batches.create)
    get = awaiting(batches.get)
    wait = awaiting(batches.wait)
    cancel = awaiting(batches.cancel)
    retry = awaiting(batches.retry)
    items = iterating_async(batches.items)
    list = iterating_async(batches.listing)


class DuplicateScans(Resource):
    create = blocking(duplicate_scans.create)
    get = blocking(duplicate_scans.get)
    wait = blocking(duplicate_scans.wait)
    cancel = blocking(duplicate_scans.cancel)
    list = iterating(duplicate_scans.listing)
    groups = iterating(duplicate_scans.groups)
    apply = blocking(duplicate_scans.apply)
    decide = blocking(deciding.decide)
    apply_decisions = blocking(deciding.apply_decisions)


class AsyncDuplicateScans(AsyncResource):
    create = awaiting(duplicate_scans.create)
    get = awaiting(duplicate_scans.get)
    wait = awaiting(duplicate_scans.wait)
    cancel = awaiting(duplicate_scans.cancel)
    list = iterating_async(duplicate_scans.listing)
    groups = iterating_async(duplicate_scans.groups)
    apply = awaiting(duplicate_scans.apply)
    decide = awaiting(deciding.decide)
    apply_decisions = awaiting(deciding.apply_decisions)


class Models(Resource):
    list = iterating(models.listing)


class AsyncModels(AsyncResource):
    list = iterating_async(models.listing)


class _Health(Resource):
    check = blocking(models.health)


class _AsyncHealth(AsyncResource):
    check = awaiting(models.health)


_PARTS = "retrievers, collections, documents, batches, duplicate_scans, models, search, health"
_ELSEWHERE = {
    "documents.upload(collection, image)": ("upload", "upsert", "add", "insert", "index", "put"),
    "documents.update(collection, document_id, metadata=…)": ("update", "set_payload"),
    "documents.delete(collection, document_id)": ("delete", "remove", "delete_document"),
    "documents.get(collection, document_id)": ("get", "retrieve", "fetch", "document"),
    "documents.list(collection)": ("list", "scroll", "list_documents"),
    "batches.create(collection, images)": ("batch", "bulk", "upload_many", "add_documents"),
    "search(retriever_id, queries)": ("query", "query_points", "find", "similarity_search"),
    "collections.list()": ("list_collections", "get_collections", "collection", "indexes"),
    "collections.get(collection)": ("get_collection", "describe_collection", "count"),
    "retrievers.list()": ("list_retrievers", "get_retrievers", "retriever"),
}
_METHOD_FOR = {name: method for method, names in _ELSEWHERE.items() for name in names}


class _Pointing:
    """Reports which method to use for what other clients name differently."""

    if not TYPE_CHECKING:  # a type checker names what is missing by itself

        def __getattr__(self, name: str) -> Any:
            method = _METHOD_FOR.get(name)
            remedy = f"use client.{method}" if method else f"it has {_PARTS}"
            raise AttributeError(f"{type(self).__name__} has no {name}: {remedy}")


class Lookalike(_Pointing):
    """A client of one Lookalike server. Threads may share it.

    base_url: the server's address; `LOOKALIKE_URL` or http://127.0.0.1:8000 if left out.
    api_key: sent as `Authorization: Bearer`; `LOOKALIKE_API_KEY` if left out.
    timeout: seconds to wait for each answer (at most 5 of them to connect), or an `httpx.Timeout`;
        None waits without end.
    retries: how often a request that failed on the way is sent again; see `lookalike._exchange`
        for which are.

    `search` is `retrievers.search`.
    """

    @fitting("Lookalike")
    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | httpx.Timeout | None = 60.0,
        retries: int = 3,
    ) -> None:
        settings = Settings.of(base_url, api_key, timeout, retries)
        self.base_url = settings.base_url
        self._transport = Transport(settings)
        self.retrievers = Retrievers(self._transport)
        self.search = self.retrievers.search
        self.collections = Collections(self._transport)
        self.documents = Documents(self._transport)
        self.batches = Batches(self._transport)
        self.duplicate_scans = DuplicateScans(self._transport)
        self.models = Models(self._transport)
        self.health = _Health(self._transport).check

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncLookalike(_Pointing):
    """A client of one Lookalike server, for asyncio. Belongs to the event loop that uses it.

    Parameters are those of `Lookalike`.
    """

    @fitting("AsyncLookalike")
    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float | httpx.Timeout | None = 60.0,
        retries: int = 3,
    ) -> None:
        settings = Settings.of(base_url, api_key, timeout, retries)
        self.base_url = settings.base_url
        self._transport = AsyncTransport(settings)
        self.retrievers = AsyncRetrievers(self._transport)
        self.search = self.retrievers.search
        self.collections = AsyncCollections(self._transport)
        self.documents = AsyncDocuments(self._transport)
        self.batches = AsyncBatches(self._transport)
        self.duplicate_scans = AsyncDuplicateScans(self._transport)
        self.models = AsyncModels(self._transport)
        self.health = _AsyncHealth(self._transport).check

    async def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
