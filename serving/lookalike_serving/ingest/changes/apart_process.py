"""The process that goes through a whole source for a serving process (`apart.py`).

python -m lookalike_serving.ingest.changes.apart_process FD
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from lookalike_crds.progress import RunState
from lookalike_serving.books.record import Scope
from lookalike_serving.books.store import Books
from lookalike_serving.images import ImageFetcher
from lookalike_serving.images.reader import for_sources
from lookalike_serving.index.protocol import PointStore
from lookalike_serving.ingest.accounts import Accounts
from lookalike_serving.ingest.changes.apart import (
    BOOKS,
    POOL,
    STORE,
    Borrowed,
    Calls,
    Done,
    Errand,
    GoneThrough,
    Wire,
    sendable,
)
from lookalike_serving.ingest.changes.some_keys import bring_keys, end
from lookalike_serving.ingest.partition import WHOLE
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.sources import KeyedSource, open_source
from lookalike_serving.ingest.sources.manifest import ManifestSource
from lookalike_serving.ingest.work import Outcome, Task

_NICE = 10
"""Searches come first."""


class _Workers:
    """Those of the serving process, which has the model."""

    capacity = 2

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def process(self, tasks: Sequence[Task]) -> Outcome:
        return cast(Outcome, await self._calls.make(POOL, "process", (tasks,), {}))

    async def close(self) -> None:
        """The serving process's business."""


async def _do(errand: Errand, calls: Calls) -> GoneThrough:
    config = errand.config
    store = cast(PointStore, Borrowed(calls, STORE))
    records = cast(PointStore, Borrowed(calls, BOOKS))
    spec = next(each for each in config.sources if each.name == errand.source)
    fetcher = ImageFetcher(config.fetch)
    async with contextlib.AsyncExitStack() as ending:
        folder = ending.enter_context(tempfile.TemporaryDirectory(dir=config.progress_file.parent))
        scratch = Path(folder)
        ending.push_async_callback(fetcher.close)
        progress = ending.enter_context(
            ProgressWriter(scratch / "progress.json", config.collection.name)
        )
        progress.progress.state = RunState.RUNNING
        books = Books(lambda: records, Scope.of(config.collection))
        accounts = await ending.enter_async_context(
            Accounts(books, progress, WHOLE, of_changes=True)
        )
        reader = for_sources(fetcher, config.buckets)
        source = open_source(spec, config.collection.fields, scratch, reader, config.secrets_dir)
        assert isinstance(source, KeyedSource)
        wrote = await bring_keys(
            config,
            progress,
            accounts,
            store,
            fetcher,
            scratch,
            _Workers(calls),
            spec,
            source,
            await source.look(errand.keys),
        )
        end(progress)
        return GoneThrough(wrote, source.named if isinstance(source, ManifestSource) else None)


async def _main(descriptor: int) -> None:
    line = await Wire.over(socket.socket(fileno=descriptor))
    errand = await line.receive()
    calls = Calls(line)
    doing = asyncio.ensure_future(_do(errand, calls))
    answers = asyncio.create_task(calls.take_answers())
    await asyncio.wait({doing, answers}, return_when=asyncio.FIRST_COMPLETED)
    if not doing.done():  # the serving process is gone
        doing.cancel()
        await asyncio.wait({doing})
        return
    error = doing.exception()
    if error is None:
        await line.send(Done(doing.result()))
    elif isinstance(error, Exception):
        await line.send(Done(raised=sendable(error)))
    await line.close()
    answers.cancel()


if __name__ == "__main__":
    os.nice(_NICE)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_main(int(sys.argv[1])))
