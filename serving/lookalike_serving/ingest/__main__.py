"""`python -m lookalike_serving.ingest --config FILE [--result FILE] [--partition I/N]
[--only-failed]`: one run.

It ends with one of `lookalike_crds.failures.RunExit`: for what it failed decides the table there.
With `--result` the code is 0 as well if some images or sources failed, which the result tells, and
1 if another run of the collection is under way.

With `--result -`, the result is a line on standard output, for a Ray job that is tried again if it
ends with another code than 0: so it ends with 0 as well if another attempt would fail again.

The last line on standard error says why. A cluster's Job reads `--result /dev/termination-log`,
which Kubernetes keeps with the pod (`lookalike_crds.progress.RunResult`). With
LOOKALIKE_PROGRESS_PORT it answers on that port how far it is (`WorkerProgress`, beside it).
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
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pydantic import ValidationError

from lookalike_crds.config import IngestionConfig
from lookalike_crds.config_file import what_is_wrong
from lookalike_crds.failures import (
    INGESTION_BUSY,
    INTERNAL,
    INVALID_CONFIG,
    STOPPED,
    FailureKind,
    RunExit,
)
from lookalike_crds.progress import RunResult, RunState, summed_up
from lookalike_crds.ray_job import result_line
from lookalike_serving.failures import kind_of
from lookalike_serving.ingest.partition import Partition

if TYPE_CHECKING:
    from lookalike_serving.ingest.progress import ProgressWriter

_STANDARD_OUTPUT = Path("-")
_STOPPED = "stopped before its end: run it again to go on"

log = logging.getLogger("lookalike.ingest")


class Busy(Exception):
    """Another run holds the collection's lock."""

    failure_kind = INGESTION_BUSY


def main() -> RunExit:
    # The first process of a container ignores a signal that it has no handler for.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    arguments = _arguments()
    path: Path = arguments.config
    result: Path | None = arguments.result
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        config = IngestionConfig.model_validate_json(path.read_bytes())
    except OSError as error:
        return _fail(INVALID_CONFIG, f"{path} cannot be read: {error.strerror or error}", result)
    except ValidationError as error:
        told = f"{path} is not an ingestion config: {what_is_wrong(error)}"
        return _fail(INVALID_CONFIG, told, result)
    if arguments.ray_address:
        config = config.model_copy(update={"ray_address": arguments.ray_address})
    try:
        with _alone(config):
            code = _ingest(config, arguments.partition, result, only_failed=arguments.only_failed)
    except Busy as busy:
        code = _fail(kind_of(busy), str(busy), result)
    except OSError as error:
        told = f"{config.data_dir} cannot be written: {error.strerror or error}"
        code = _fail(kind_of(error), told, result)
    if result is not None:
        # A Job knows success and failure alone, and tries again what may succeed.
        as_job = {RunExit.WITH_ERRORS: RunExit.COMPLETE, RunExit.BUSY: RunExit.TRY_AGAIN}
        if result == _STANDARD_OUTPUT:
            as_job[RunExit.GIVE_UP] = RunExit.COMPLETE
        return as_job.get(code, code)
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lookalike_serving.ingest")
    parser.add_argument("--config", type=Path, required=True, help="an IngestionConfig as JSON")
    parser.add_argument(
        "--result", type=Path, metavar="FILE", help="where to write how it ended, as JSON"
    )
    parser.add_argument(
        "--partition",
        type=_partition,
        metavar="I/N",
        help="only this share of the documents, counted from 0; the work is done in this process",
    )
    parser.add_argument(
        "--only-failed",
        action="store_true",
        help="try again what failed before, and leave everything else as it is",
    )
    parser.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="the Ray cluster to join, of which this machine is a node; `auto`: the one that runs "
        "here. Default: as the config says, or RAY_ADDRESS, or a Ray of its own",
    )
    return parser.parse_args()


def _partition(text: str) -> Partition:
    try:
        return Partition.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _ingest(
    config: IngestionConfig,
    partition: Partition | None,
    result: Path | None,
    *,
    only_failed: bool = False,
) -> RunExit:
    # Here, since it takes seconds to import and a signal is to be heard meanwhile.
    from lookalike_serving.ingest.progress import ProgressWriter
    from lookalike_serving.progress_port import answering

    with (
        ProgressWriter(config.progress_file, config.collection.name) as progress,
        answering(progress.progress, config.data_dir / "weights"),
    ):
        code = _run(config, partition, progress, only_failed)
        if result is not None:
            _write(result, _result_of(config, progress))
        return code


def _run(
    config: IngestionConfig,
    partition: Partition | None,
    progress: ProgressWriter,
    only_failed: bool,
) -> RunExit:
    """The exit code. The progress says the same in words, whatever happened."""
    try:
        state = asyncio.run(_until_told(config, partition, progress, only_failed))
    except (asyncio.CancelledError, SystemExit):
        return _failed(progress, STOPPED, _STOPPED)
    except Exception as error:
        kind, told = kind_of(error), str(error)
        if kind is INTERNAL and not isinstance(error, OSError):
            log.exception("the run failed unexpectedly")
            told = " ".join(f"{type(error).__name__}: {error}".split())
        return _failed(progress, kind, told)
    _log_summary(progress)
    if message := progress.progress.message:
        print(message, file=sys.stderr)
    if progress.failure is not None:
        return progress.failure.exit_code
    return RunExit.COMPLETE if state is RunState.COMPLETED else RunExit.WITH_ERRORS


def _failed(progress: ProgressWriter, kind: FailureKind, message: str) -> RunExit:
    progress.enter(RunState.FAILED, message, kind)
    print(message, file=sys.stderr)
    return kind.exit_code


def _log_summary(progress: ProgressWriter) -> None:
    """One line a source, one for each cause of failures and warnings, one for the whole run."""
    made = progress.progress
    for name, counts in made.sources.items():
        log.info("source %s: %d listed, %s", name, counts.listed, counts.told())
    for failure in made.failures:
        log.info("failed: %s", failure.told())
    for skipped in made.skipped:
        log.info("skipped: %s", skipped.told())
    for warning in made.warnings:
        log.warning("%s", warning.told())
    seconds = (made.updated_at - made.started_at).total_seconds()
    log.info(
        "%s: collection %s, %s in %.1f s; the index holds %s documents",
        made.state,
        made.collection,
        made.total.told(),
        seconds,
        "?" if made.documents is None else f"{made.documents:,}",
    )


async def _until_told(
    config: IngestionConfig,
    partition: Partition | None,
    progress: ProgressWriter,
    only_failed: bool,
) -> RunState:
    from lookalike_serving.ingest.run import run

    task = asyncio.ensure_future(run(config, progress, partition, only_failed=only_failed))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task


def _result_of(config: IngestionConfig, progress: ProgressWriter) -> RunResult:
    made = progress.progress
    return RunResult(
        state=made.state,
        reason=made.reason,
        message=made.message,
        sources=made.sources,
        documents=made.documents,
        gate=made.gate,
        index_name=config.collection.index.name,
        failed_by=made.failed_by,
        errors=made.errors,
        warnings=summed_up([*made.warnings, *made.skipped]),
        finished_at=datetime.now(UTC),
    )


def _write(path: Path, result: RunResult) -> None:
    """In place: the file Kubernetes reads is one that cannot be replaced."""
    if path == _STANDARD_OUTPUT:
        print(result_line(result), flush=True)
        return
    try:
        path.write_bytes(result.to_json())
    except OSError as error:
        log.error("the result cannot be written to %s: %s", path, error.strerror or error)


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


def _fail(kind: FailureKind, message: str, result: Path | None) -> RunExit:
    """Of a run that has not begun."""
    print(message, file=sys.stderr)
    if result is not None:
        _write(
            result,
            RunResult(
                state=RunState.FAILED,
                reason=kind.reason,
                message=message,
                finished_at=datetime.now(UTC),
            ),
        )
    return kind.exit_code


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(RunExit.TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
