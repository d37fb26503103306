"""The batches of a service: its index, its data folder, its way of storing a document."""

from __future__ import annotations

import asyncio
import os

from lookalike_crds.image_collection import Engine
from lookalike_serving.batches.operations import Batches
from lookalike_serving.batches.record import Item
from lookalike_serving.batches.runner import Runner
from lookalike_serving.batches.staging import Staging
from lookalike_serving.batches.store import BatchStore
from lookalike_serving.batches.work import Work
from lookalike_serving.copies.upload import OnDuplicate, store_checked
from lookalike_serving.images import ImageFile
from lookalike_serving.service import Service


def open_batches(service: Service) -> Batches:
    """The batches do not run until `start`."""

    def is_served(collection: str) -> bool:
        return any(each.name == collection for each in service.config.collections)

    store = BatchStore(lambda: service.batches_index, is_served)
    staging = Staging(service.config.data_dir / "staged")

    async def store_item(collection: str, image: ImageFile, item: Item) -> tuple[str, ...]:
        stored = await store_checked(
            service,
            collection,
            image,
            item.metadata,
            item.document_id,
            on_duplicate=OnDuplicate(item.on_duplicate or OnDuplicate.ALLOW),
        )
        return stored.warnings

    # One for each core: one decodes while another is in the model, and a search that arrives
    # meanwhile finds a short queue.
    slots = asyncio.Semaphore(max(2, os.cpu_count() or 1))
    load = service.reader.read
    work = Work(load, store_item, staging, slots)
    alone = service.config.batches_index.engine is Engine.EDGE
    return Batches(store, staging, Runner(store, staging, work, alone=alone), load)
