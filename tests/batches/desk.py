"""Batches on a real index and a real disk; storing a document is a function the test writes."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, FieldSpec, FieldType, ModelSpec, VectorSpec
from lookalike_serving.batches.operations import Batches
from lookalike_serving.batches.record import Batch, Item, OnError
from lookalike_serving.batches.runner import Runner
from lookalike_serving.batches.staging import Staging
from lookalike_serving.batches.store import BatchStore
from lookalike_serving.batches.work import Work
from lookalike_serving.gateway.batch_bodies import read
from lookalike_serving.images import Code, ImageError, ImageFile
from lookalike_serving.index.open import open_payload_index
from lookalike_serving.index.protocol import Index

MAX_IMAGE_BYTES = 4096
Storing = Callable[[str, ImageFile, Item], Awaitable[None]]
Fetching = Callable[[str], Awaitable[bytes]]


def inline(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def items(*images: bytes | str, **shared: Any) -> list[dict[str, Any]]:
    """Request items with ids d0, d1, …"""
    return [
        {"document_id": f"d{n}", "image": i if isinstance(i, str) else inline(i), **shared}
        for n, i in enumerate(images)
    ]


def request(body: bytes, content_type: str = "application/json", piece: int = 65536) -> Request:
    """A request whose body arrives in pieces."""
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)] or [b""]

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    headers = [(b"content-type", content_type.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


class Shelf:
    """Where stored documents end up: {document id: how often it was stored}. Also the network:
    what `urls` does not know cannot be fetched."""

    def __init__(self) -> None:
        self.stored: dict[str, int] = {}
        self.images: dict[str, bytes] = {}
        self.urls: dict[str, bytes | ImageError] = {}
        self.before: Callable[[Item], Awaitable[None]] | None = None

    async def store(self, collection: str, file: ImageFile, item: Item) -> tuple[str, ...]:
        if self.before is not None:
            await self.before(item)
        image = file.data
        if b"rubbish" in image:
            raise ImageError(Code.NOT_AN_IMAGE, "the bytes are no image: send a JPEG, PNG or WebP")
        self.stored[item.document_id] = self.stored.get(item.document_id, 0) + 1
        self.images[item.document_id] = image
        return ("animated: the first frame is used",) if b"animated" in image else ()

    async def load(self, reference: str) -> bytes:
        if reference.startswith("http"):
            found = self.urls.get(reference) or ImageError(Code.NOT_FOUND, f"no {reference}")
            if isinstance(found, ImageError):
                raise found
            return found
        try:
            return base64.b64decode(reference.partition(",")[2] or reference, validate=True)
        except ValueError:
            raise ImageError(Code.BAD_REFERENCE, "is neither a URL nor base64") from None


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, a minute at most."""
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in the index or on the disk
            await asyncio.sleep(0.01)


async def open_desk(folder: Path, shelf: Shelf) -> Desk:
    """Batches on the data in `folder`, not yet running."""
    config = IndexConfig(engine=Engine.EDGE, name="batches", path=folder / "batches")
    return Desk(folder, await open_payload_index(config), shelf)


class Desk:
    """The batches of one process."""

    def __init__(self, folder: Path, index: Index, shelf: Shelf) -> None:
        self.index = index
        self.shelf = shelf
        self.staging = Staging(folder / "staged")
        self.store = BatchStore(lambda: index)
        work = Work(shelf.load, shelf.store, self.staging, asyncio.Semaphore(4), (0.001, 0.001))
        runner = Runner(self.store, self.staging, work, alone=True)
        self.batches = Batches(self.store, self.staging, runner, shelf.load)
        self.collection = CollectionConfig(
            name="shop",
            model=ModelSpec(),
            vector=VectorSpec(),
            index=IndexConfig(engine=Engine.EDGE, name="shop"),
            fields=(FieldSpec(name="price", type=FieldType.FLOAT),),
        )

    async def send(
        self, sent: Request, on_error: OnError | None = None, key: str | None = None
    ) -> tuple[Batch, bool]:
        return await self.batches.submit(
            self.collection, lambda stage: read(sent, stage, MAX_IMAGE_BYTES), on_error, key
        )

    async def submit(self, *images: bytes | str, **more: Any) -> Batch:
        body = json.dumps({"items": items(*images), **more}).encode()
        return (await self.send(request(body)))[0]

    async def end(self, batch: Batch) -> Batch:
        """Wait until the runner is done with the batch's latest attempt."""

        async def ended() -> bool:
            now = await self.batches.batch(batch.order.id)
            return now.progress.attempt == now.control.attempt and not now.progress.state.active

        await until(ended)
        return await self.batches.batch(batch.order.id)

    async def close(self) -> None:
        await self.batches.close()
        await self.index.close()

    async def states(self, batch: Batch) -> list[str]:
        now = await self.batches.batch(batch.order.id)
        found, _ = await self.batches.items(now, None, 0, 1000)
        return [item.state(now).value for item in found]
