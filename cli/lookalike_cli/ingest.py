"""`lookalike ingest`: read the sources of a running server's collections again; or, before there is
a server, say what would come in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike_cli.failure import ExitCode, Failure, missing_extra
from lookalike_cli.options import DEFAULT_DATA_DIR, DataDir, Output, OutputFormat
from lookalike_crds.failures import RunExit

if TYPE_CHECKING:
    from lookalike_serving.machine.rundir import RunDirectory

EXAMPLES = """Examples:

lookalike ingest

lookalike ingest -c catalogue --output json

lookalike ingest --dry-run -f my.yaml"""

_OUTCOMES: dict[int, str] = {RunExit.COMPLETE: "complete", RunExit.WITH_ERRORS: "incomplete"}
"""By the exit code of a run; any other means that it failed."""
_POLL_SECONDS = 0.2


def ingest(
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", "-c", help="Ingest only this collection; may be repeated."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Report what would be ingested and what would not, and change nothing.",
        ),
    ] = False,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="With --dry-run: the YAML. This needs no server."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="HOST:PORT",
            help="Work on the Ray cluster at this address, of which this machine is a node. "
            "Default: the server's own Ray.",
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    output: OutputFormat = Output.TEXT,
) -> None:
    """Read the sources of the collections again, update what changed, and skip what did not.

    The exit code is 1 if an ingestion failed, and 5 if some images or sources could not be read.
    With --dry-run, it says the same about an ingestion that would start now.
    """
    if dry_run != bool(file):
        raise Failure("--dry-run and --file FILE require each other", ExitCode.USAGE)
    if file:
        _dry_run(file, collection or [], output)
        return
    ingest_again(data_dir, collection or [], output, ray_address=ray_address)


def ingest_again(
    data_dir: Path,
    collections: list[str],
    output: Output,
    *,
    only_failed: bool = False,
    ray_address: str | None = None,
) -> None:
    """Read the sources of these collections, or of all if none is named. Ends the command with the
    exit code of the result. `only_failed`: try again only what failed before. `ray_address`: of
    another Ray cluster than the server's own."""
    from lookalike_cli.printing import print_json
    from lookalike_serving.machine.processes import MARK

    run, configs = _configs(data_dir, collections)
    more = ["--only-failed"] if only_failed else []
    environment = _environment(run)
    if ray_address is not None:
        more += ["--ray-address", ray_address]
        environment = {**os.environ, MARK: run.mark}  # its token, if it has one, is the caller's
    reports = [_ingest(run, name, path, more, environment) for name, path in configs.items()]
    if output is Output.JSON:
        print_json(reports)
    outcomes = {report["outcome"] for report in reports}
    if "failed" in outcomes:
        raise typer.Exit(ExitCode.FAILED)
    if "incomplete" in outcomes:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _dry_run(files: list[Path], names: list[str], output: Output) -> None:
    """Ends the command with the exit code that an ingestion would have."""
    from lookalike_cli.dry_run import print_survey, surveyed
    from lookalike_cli.printing import console, notices, print_json
    from lookalike_cli.resources import load

    loaded = load(files, output, standalone=False)
    try:
        with notices().status("inspecting the pictures"):
            made = surveyed(loaded, names)
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or str(error)) from None
    if not made:
        raise Failure("the files describe no sources: there is nothing to ingest")
    if output is Output.JSON:
        print_json([each.document() for each in made])
    else:
        for each in made:
            print_survey(each, lambda text: console().print(text, markup=False, soft_wrap=True))
    if all(each.survey.complete for each in made):
        return
    none = all(each.survey.error is not None or not each.survey.comes_in for each in made)
    raise typer.Exit(ExitCode.FAILED if none else ExitCode.INCOMPLETE)


def _configs(data_dir: Path, names: list[str]) -> tuple[RunDirectory, dict[str, Path]]:
    from lookalike_serving.machine.rundir import Phase, RunDirectory

    run = RunDirectory.of(data_dir)
    state = run.read_state()
    if state is None or not run.is_locked() or state.phase is not Phase.READY:
        raise Failure(
            f"no server is running in {data_dir}: lookalike up -f FILE --data-dir {data_dir}",
            ExitCode.UNREACHABLE,
        )
    known = run.ingestion_configs()
    for name in names:
        if name not in known:
            have = ", ".join(known) or "none"
            raise Failure(f"no collection {name!r} with sources (there are: {have})")
    return run, {name: known[name] for name in names} if names else known


def _ingest(
    run: RunDirectory,
    collection: str,
    config: Path,
    more: list[str],
    environment: dict[str, str],
) -> dict[str, Any]:
    """Run one ingestion, showing how it goes; returns its report. `more`: further arguments."""
    from lookalike_cli.following import following, read_progress, summary
    from lookalike_cli.printing import notice, notices
    from lookalike_cli.server_process import last_lines

    log = run.ingestion_log(collection)
    started_at = time.time()
    with log.open("wb") as file, following(run, notices()) as shown:
        child = subprocess.Popen(
            [sys.executable, "-m", "lookalike_serving.ingest", "--config", str(config), *more],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        try:
            while child.poll() is None:
                if _is_newer(run.progress_file(collection), started_at):
                    shown.refresh([collection])
                time.sleep(_POLL_SECONDS)
        except BaseException:
            child.send_signal(signal.SIGTERM)
            child.wait()
            raise
    progress = read_progress(run.progress_file(collection))
    lines = last_lines(log)
    error = None
    outcome = _OUTCOMES.get(child.returncode, "failed")
    if outcome == "failed":
        error = lines[-1] if lines else f"it ended with code {child.returncode}"
        notice(f"the ingestion of {collection} failed: {error}. Its log: {log}")
    elif progress is not None:
        summary(progress, lambda text: notices().print(text, markup=False, soft_wrap=True))
    ours = progress is not None and child.returncode != RunExit.BUSY
    return {
        "collection": collection,
        "outcome": outcome,
        "error": error,
        "progress": progress.model_dump(mode="json") if progress is not None and ours else None,
    }


def _environment(run: RunDirectory) -> dict[str, str]:
    """The server's own, as far as its Ray lets in only who knows its token."""
    from lookalike_serving.machine.processes import MARK

    return {
        **os.environ,
        MARK: run.mark,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(run.ray_token),
    }


def _is_newer(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime >= moment - 1
    except FileNotFoundError:
        return False
