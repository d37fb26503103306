"""The bulk route (index/bulk.py), by which ingestion writes the Edge indexes of this service."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from lookalike_serving.books import BULK_NAME
from lookalike_serving.copies.upload import write_checked
from lookalike_serving.documents.replaced import releasing
from lookalike_serving.embed.admission import Overloaded
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.gateway.reports import internal_token
from lookalike_serving.index.bulk import bulk_router
from lookalike_serving.index.protocol import (
    Decision,
    Index,
    IndexRefused,
    IndexUnavailable,
    Point,
)
from lookalike_serving.problems import Problem
from lookalike_serving.service import CollectionState, Service


def internal_router(app: FastAPI) -> APIRouter:
    """Finds index and token again for each request: collections open late, tokens rotate."""

    def index_of(name: str, index: str | None) -> Index | None:
        service: Service = app.state.service
        if index == BULK_NAME:
            return books_of(service, name)
        state = state_of(service, name, index)
        return None if state is None else releasing(state, service.images)

    def state_of(service: Service, name: str, index: str | None) -> CollectionState | None:
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
        return state

    async def decide(
        name: str, index: str | None, point: Point, image: bytes, reject: bool
    ) -> Decision:
        service: Service = app.state.service
        state = state_of(service, name, index)
        if state is None:
            raise IndexRefused(f"this server has no collection {name!r}")
        try:
            return await write_checked(service, state, point, image, reject=reject)
        except (ModelError, Overloaded, Problem) as failure:
            raise IndexUnavailable(str(failure)) from failure

    def books_of(service: Service, name: str) -> Index | None:
        if all(each.name != name for each in service.config.collections):
            return None
        if service.batches_failure is not None:
            raise IndexUnavailable(f"the records are not open: {service.batches_failure}")
        return service.batches_index

    def token() -> str | None:
        return internal_token(app.state.service)

    async def image(address: str, holder: str) -> bytes:
        service: Service = app.state.service
        return await service.images.held(address, holder)

    return bulk_router(index_of, token, image, decide)
