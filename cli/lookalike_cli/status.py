"""`lookalike status`: the server, its collections, and how far their ingestion is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lookalike_cli.failure import ExitCode
from lookalike_cli.options import DEFAULT_DATA_DIR, ApiKey, DataDir, Output, OutputFormat, Url

if TYPE_CHECKING:
    from lookalike import Lookalike
    from lookalike_crds.progress import Progress
    from lookalike_serving.machine.rundir import IngestionState, RunDirectory, State

EXAMPLES = """Examples:

lookalike status

lookalike status --url https://search.example.com --output json"""


def status(
    output: OutputFormat = Output.TEXT,
    url: Url = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    api_key: ApiKey = None,
) -> None:
    """Show the server, its collections and their ingestion. Exit code 3 if it is not ready."""
    from lookalike_cli.gc import left_behind_line
    from lookalike_cli.printing import print_json
    from lookalike_serving.machine.rundir import RunDirectory

    run = RunDirectory.of(data_dir)
    state = run.read_state() if url is None else None
    if state is not None and not run.is_locked():
        told = _stopped(state)
    else:
        told = _asked(url or (state.url if state is not None else None), api_key)
    if state is not None:
        told |= {
            "pid": state.pid,
            "started_at": state.started_at,
            "phase": told["phase"] or state.phase,
        }
        told["ingestions"] = _ingestions(run, state)
        told["left_behind"] = left_behind_line(data_dir)
        told["former_models"] = _formers(run)
        told["downloading"] = _downloading(data_dir)
    if output is Output.JSON:
        print_json(told)
    else:
        _print(told)
    if told["phase"] != "ready":
        raise typer.Exit(ExitCode.UNREACHABLE)


def _stopped(state: State) -> dict[str, Any]:
    from lookalike_serving.machine.rundir import Phase

    failed = state.phase is Phase.FAILED
    return {
        "url": state.url,
        "phase": "failed" if failed else "stopped",
        "detail": state.error or "it is not running",
        "collections": [],
        "ingestions": [],
    }


def _asked(url: str | None, api_key: str | None) -> dict[str, Any]:
    """What the server says of itself; `phase` is empty if it does not answer."""
    from lookalike.client import Lookalike
    from lookalike.errors import ConnectionFailed, ServiceUnavailable

    told: dict[str, Any] = {"collections": [], "ingestions": []}
    with Lookalike(url, api_key, retries=0, timeout=15) as client:
        told["url"] = client.base_url
        try:
            health = client.health()
        except (ConnectionFailed, ServiceUnavailable) as error:
            return told | {"phase": "", "detail": str(error)}
        told |= {"phase": "ready" if health.ready else "not ready", "detail": health.detail}
        told["read_only"] = health.read_only
        told["collections"] = [
            {**each.model_dump(mode="json"), "failures": _failures(client, each.name)}
            for each in client.collections.list()
        ]
        told["calibrations"] = _calibrations(client)
    return told


def _calibrations(client: Lookalike) -> list[dict[str, Any]]:
    """What `min_score: auto` stands for; nothing of a retriever that is not open, or without a
    calibration."""
    from lookalike.errors import APIError

    found = []
    for retriever in client.retrievers.list():
        try:
            kept = client.retrievers.calibration(retriever.name)
        except APIError:
            continue
        found.append({"retriever": retriever.name, **kept.model_dump(mode="json")})
    return found


def _calibration_line(told: dict[str, Any]) -> str:
    from lookalike_crds.retriever import CalibrationStatus

    thresholds = [{"queries": kind, **each} for kind, each in told["thresholds"].items()]
    fields = {key: told[key] for key in ("holds", "changed", "made_at", "basis")}
    status = CalibrationStatus.model_validate({**fields, "thresholds": thresholds})
    return f"min_score: auto of {told['retriever']}: {status.in_words}"


def _failures(client: Lookalike, collection: str) -> list[dict[str, Any]]:
    """What could not be ingested, by cause; nothing of a collection that is not open, or of an
    older server."""
    from lookalike.errors import APIError

    try:
        counts = client.collections.failure_counts(collection)
    except APIError:
        return []
    return [each.model_dump(mode="json") for each in counts]


def _ingestions(run: RunDirectory, state: State) -> list[dict[str, Any]]:
    from lookalike_cli.following import read_progress

    told = []
    for each in state.ingestions:
        progress = read_progress(run.progress_file(each.collection))
        phase, error = _how_it_stands(each, progress)
        told.append(
            {
                "collection": each.collection,
                "phase": phase,
                "error": error,
                "held": each.held,
                "progress": progress.model_dump(mode="json") if progress is not None else None,
            }
        )
    return told


def _formers(run: RunDirectory) -> list[dict[str, Any]]:
    """The models that a collection can still return to."""
    from lookalike_crds.moments import utc_text
    from lookalike_crds.naming import described
    from lookalike_serving.local.formers import Formers

    return [
        {
            "collection": name,
            "model": described(each.collection.made_by),
            "index": each.collection.index.name,
            "until": utc_text(each.until, "seconds"),
        }
        for name, each in sorted(Formers(run).all().items())
    ]


def _downloading(data_dir: Path) -> dict[str, Any] | None:
    """Bytes of weights that are being fetched."""
    from importlib.util import find_spec

    if find_spec("numpy") is None:
        return None
    from lookalike_serving.embed.arriving import arriving

    found = arriving(data_dir / "weights")
    return None if found is None else {**found.model_dump(), "told": found.told()}


def _how_it_stands(state: IngestionState, progress: Progress | None) -> tuple[str, str | None]:
    """(phase, what went wrong) of a collection's last run.

    The server knows the run that it started; a later `lookalike ingest` wrote its own progress.
    """
    from lookalike_crds.progress import RunState
    from lookalike_serving.machine import processes
    from lookalike_serving.machine.rundir import IngestionPhase

    if progress is None or state.phase in (IngestionPhase.WAITING, IngestionPhase.RUNNING):
        return state.phase, state.error
    if not progress.state.ended:
        if processes.identity(progress.pid) is not None:
            return IngestionPhase.RUNNING, None
        return IngestionPhase.FAILED, state.error or "its process was killed: run it again"
    if progress.state is RunState.COMPLETED:
        return IngestionPhase.DONE, progress.message
    if progress.state is RunState.COMPLETED_WITH_ERRORS:
        return IngestionPhase.INCOMPLETE, progress.message
    return IngestionPhase.FAILED, progress.message or state.error


def _print(told: dict[str, Any]) -> None:
    from rich.markup import escape

    from lookalike_cli.printing import console, shown, table

    phase = told["phase"] or "not reachable"
    colour = {"ready": "green", "starting": "yellow"}.get(phase, "red")
    since = f", process {told['pid']}, since {told['started_at']}" if "pid" in told else ""
    console().print(f"{told['url']}  [{colour}]{phase}[/{colour}]{since}", soft_wrap=True)
    if told["detail"]:
        console().print(escape(told["detail"]), soft_wrap=True)
    if told["collections"]:
        made = table("collection", "documents", "state", "model", right=("documents",))
        for each in told["collections"]:
            count = "" if each["documents"] is None else f"{each['documents']:,}"
            state = (
                each["state"] if each["reason"] is None else f"{each['state']}: {each['reason']}"
            )
            made.add_row(escape(each["name"]), count, escape(state), shown(each["model"]))
        console().print(made)
    for each in told["collections"]:
        for warning in each["warnings"]:
            line = f"[red]{escape(each['name'])}[/red]: {escape(warning)}"
            console().print(line, soft_wrap=True)
    for each in told["collections"]:
        if failures := each["failures"]:
            name, total = escape(each["name"]), sum(one["count"] for one in failures)
            causes = ", ".join(f"{one['count']:,} {one['code']}" for one in failures)
            line = f"{name}: {total:,} not ingested ({causes}): `lookalike failures` lists them"
            console().print(line, soft_wrap=True)
    for each in told["collections"]:
        if (scan := each.get("last_duplicate_scan")) is not None:
            console().print(escape(_scan_line(each["name"], scan)), soft_wrap=True)
    for each in told["collections"]:
        if (similarity := each.get("similarity")) is not None:
            from lookalike_crds.image_collection import SimilarityStatus

            words = SimilarityStatus.model_validate(similarity).in_words
            line = f"pictures of {each['name']} are similar from: {words}"
            console().print(escape(line), soft_wrap=True)
    for each in told.get("calibrations") or ():
        console().print(escape(_calibration_line(each)), soft_wrap=True)
    if (fetching := told.get("downloading")) is not None:
        console().print(f"Downloading {fetching['told']} of a model's weights", soft_wrap=True)
    for each in told["ingestions"]:
        for line in _ingestion_lines(each):
            console().print(escape(line), soft_wrap=True)
    for each in told.get("former_models") or ():
        line = (
            f"{each['collection']}: the former model {each['model']} is kept until "
            f"{each['until']}: `lookalike rollback {each['collection']}` returns to it"
        )
        console().print(escape(line), soft_wrap=True)
    if told.get("left_behind"):
        console().print(escape(told["left_behind"]), soft_wrap=True)


def _scan_line(collection: str, scan: dict[str, Any]) -> str:
    from lookalike_cli.printing import counted, size

    line = f"duplicate scan of {collection}: {scan['state'].lower()} at {scan['time']}"
    if scan["state"] != "Completed":
        return line if scan.get("message") is None else f"{line}: {scan['message']}"
    line += f", {counted(scan['groups'], 'group')}, {counted(scan['documents'], 'duplicate')} of "
    line += size(scan["bytes"])
    if scan.get("deleted") is not None:
        return f"{line}; {counted(scan['deleted'], 'document')} deleted"
    return f"{line}: `lookalike duplicates` lists them" if scan["groups"] else line


def _ingestion_lines(told: dict[str, Any]) -> list[str]:
    from lookalike_cli.following import by_cause, described, duration, held_line
    from lookalike_crds.progress import Progress

    line = f"ingestion of {told['collection']}: {told['phase']}"
    progress = None
    if told["progress"] is not None:
        progress = Progress.model_validate(told["progress"])
        line += f", {progress.total.done:,} of {progress.total.images:,}"
        if not progress.listed_all and not progress.state.ended:
            line += " found so far"
        line += f" ({described(progress)})"
        if progress.images_per_second and not progress.state.ended:
            line += f", {progress.images_per_second:.0f} images/s"
        if progress.eta_seconds is not None and not progress.state.ended:
            line += f", {duration(progress.eta_seconds)} left"
    causes = [f"  {each}" for each in by_cause(progress)] if progress is not None else []
    held = []
    if told["held"]:
        held = [held_line(told["collection"], told["held"])]
    return [f"{line}: {told['error']}" if told["error"] else line, *causes, *held]
