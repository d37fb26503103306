"""The bulk route of index/bulk.py, through which ingestion writes the Edge indexes of this
service."""

from __future__ import annotations

import logging

from fastapi import APIRouter, FastAPI

from lookalike_serving.books import BULK_NAME
from lookalike_serving.documents.replaced import releasing
from lookalike_serving.index.bulk import bulk_router
from lookalike_serving.index.protocol import Index, IndexUnavailable
from lookalike_serving.service import Service

log = logging.getLogger("lookalike.gateway")


def internal_router(app: FastAPI) -> APIRouter:
    """Finds index and token again for each request: collections open late, tokens rotate."""

    def index_of(name: str, index: str | None) -> Index | None:
        service: Service = app.state.service
        if index == BULK_NAME:
            return books_of(service, name)
        state = service.filling.get(name)
        if state is None or state.config.index.name != index:
            if name in service.failures:
                raise IndexUnavailable(f"collection {name!r} is not open: {service.failures[name]}")
            state = service.collections.get(name)
        if state is None:
            return None
        if index not in (None, state.config.index.name):
            # A pod that ends has the index of the model before; its successor comes.
            raise IndexUnavailable(
                f"collection {name!r} is served with index {state.config.index.name}, not {index}"
            )
        return releasing(state, service.images)

    def books_of(service: Service, name: str) -> Index | None:
        if all(each.name != name for each in service.config.collections):
            return None
        if service.batches_failure is not None:
            raise IndexUnavailable(f"the records are not open: {service.batches_failure}")
        return service.batches_index

    def token() -> str | None:
        service: Service = app.state.service
        path = service.config.access.internal_token_file
        if path is None:
            return None
        try:
            return path.read_text("utf-8-sig").strip() or None
        except (OSError, UnicodeDecodeError) as failure:
            log.error("the internal token in %s cannot be read: %s", path, failure)
            return None

    return bulk_router(index_of, token)
