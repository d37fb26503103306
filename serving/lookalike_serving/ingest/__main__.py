"""`python -m lookalike_serving.ingest --config FILE`: one ingestion run.

Exit codes: 0 complete; 1 failed; 3 complete, but some images or sources failed; 4 another run of
the collection is under way; 143 ended by SIGTERM. The last line on standard error says why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from lookalike_crds.config import IngestionConfig
from lookalike_crds.progress import RunState
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import TooManyFailures, run

_EXIT = {RunState.COMPLETED: 0, RunState.COMPLETED_WITH_ERRORS: 3, RunState.FAILED: 1}
_BUSY, _TERMINATED = 4, 143


class Busy(Exception):
    """Another run holds the collection's lock."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="lookalike_serving.ingest")
    parser.add_argument("--config", type=Path, required=True, help="an IngestionConfig as JSON")
    path = parser.parse_args().config
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        config = IngestionConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        return _fail(f"{path} cannot be read: {error.strerror or error}")
    except ValidationError as error:
        return _fail(f"{path} is not an ingestion config: {error.errors()[0]['msg']}")
    try:
        with _alone(config):
            return _ingest(config)
    except Busy as busy:
        print(busy, file=sys.stderr)
        return _BUSY


def _ingest(config: IngestionConfig) -> int:
    with ProgressWriter(config.progress_file, config.collection.name) as progress:
        try:
            state = asyncio.run(_until_told(config, progress))
        except (IndexFailure, ModelError, TooManyFailures, OSError) as error:
            progress.enter(RunState.FAILED, str(error))
            return _fail(str(error))
        except asyncio.CancelledError:
            progress.enter(RunState.FAILED, "stopped before its end: run it again to go on")
            return _TERMINATED
        if message := progress.progress.message:
            print(message, file=sys.stderr)
        return _EXIT[state]


async def _until_told(config: IngestionConfig, progress: ProgressWriter) -> RunState:
    task = asyncio.ensure_future(run(config, progress))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task


@contextlib.contextmanager
def _alone(config: IngestionConfig) -> Iterator[None]:
    """Hold the collection's lock. The kernel lets go of it however this process ends."""
    name = config.collection.name
    folder = config.data_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"ingest-{name}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Busy(
                f"process {file.read().strip() or '?'} is ingesting collection {name}: wait for it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
