"""What runs in the processes of test_kills.py. Imported once, by the process that they are forked
from."""

from __future__ import annotations

import asyncio

from tests.support.servers import api_of, listening

import lookalike_serving.ingest.worker  # noqa: F401 - before the fork
from lookalike_crds.config import IngestionConfig, ServingConfig
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run


def serve(config: str) -> None:
    serving = ServingConfig.model_validate_json(config)

    async def forever() -> None:
        await asyncio.Event().wait()

    with listening(api_of(serving), serving.http.port):
        asyncio.run(forever())


def ingest(config: str) -> None:
    ingestion = IngestionConfig.model_validate_json(config)
    with ProgressWriter(ingestion.progress_file, ingestion.collection.name) as writer:
        asyncio.run(run(ingestion, writer))
