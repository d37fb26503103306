"""What runs in processes of its own in test_kills.py and test_job.py. Imported once, by the process
that those are forked from."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NoReturn

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


def job(arguments: list[str], log: Path) -> NoReturn:
    """`python -m lookalike_serving.ingest ARGUMENTS`, with its standard error in a file."""
    from lookalike_serving.ingest.__main__ import main

    with log.open("wb") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = ["lookalike_serving.ingest", *arguments]
    sys.exit(main())
