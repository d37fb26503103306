"""What `up` does, in order: claim the directory, start the server, follow it, stay or leave."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from lookalike.client import Lookalike
from lookalike.errors import LookalikeError
from lookalike_cli.failure import ExitCode, Failure
from lookalike_cli.first_query import first_query
from lookalike_cli.following import end_by, follow_ingestions
from lookalike_cli.gc import left_behind_line
from lookalike_cli.options import DEFAULT_DATA_DIR, Output
from lookalike_cli.printing import console, notice, notices, print_json
from lookalike_cli.rendering import beside_former, render
from lookalike_cli.server_process import ServerProcess, Start, claim, spawn
from lookalike_cli.watching import LOOK_EVERY_SECONDS
from lookalike_crds.config import HttpConfig, ServingConfig
from lookalike_crds.lost import what_was_lost
from lookalike_serving.embed.arriving import arriving
from lookalike_serving.indexes.remembered import remembered
from lookalike_serving.local.cluster import CannotStart, check_port
from lookalike_serving.local.keys import first_key
from lookalike_serving.machine.edge_places import MANIFEST
from lookalike_serving.machine.rundir import RunDirectory, State

if TYPE_CHECKING:
    from rich.status import Status

    from lookalike import Collection
    from lookalike_cli.watching import Watch
    from lookalike_crds.load import Loaded
    from lookalike_crds.resources import ImageCollection

_LINE_EVERY_SECONDS = 15.0


def launch(
    loaded: Loaded, start: Start, *, wait: bool, output: Output, watch: Watch | None = None
) -> None:
    """Start everything; return when that is done, or, in the foreground, after Ctrl-C.

    `watch`: looks at the files in the meantime.
    """
    started = time.monotonic()
    with notices().status("starting") as status:
        run = claim(start.data_dir, status.update)
        http = HttpConfig(host=start.host, port=start.port)
        _check_port(http)
        rendered = beside_former(render(loaded, run, http, start.api_keys_file), run)
        lost = _lost(rendered.serving)
        for text in (*rendered.notices, *lost.values()):
            notice(text)
        server = spawn(run, rendered, start)
        try:
            state = server.wait_until_ready(_Clock(status, started, start.data_dir / "weights"))
        except BaseException:
            _stop(server)
            raise
    notices().print(f"[dim]ready after {time.monotonic() - started:.0f} s[/dim]")
    try:
        if start.ingest and (wait or not start.detached):
            follow_ingestions(run, server.state_while_alive)
        state = server.state() or state
        collections = collections_of(state.url, start.api_keys_file)
        for each in collections:
            for text in each.warnings if each.name not in lost else ():
                notice(f"{each.name}: {text}")
        if left := left_behind_line(start.data_dir):
            notice(left)
        _say_where(loaded, start, state, run, output, collections)
        if not start.detached:
            _stay(server, watch)
    except BaseException as error:
        # A detached server outlives what goes wrong here, but not a person who calls it off.
        if not start.detached or isinstance(error, KeyboardInterrupt):
            _stop(server)
        raise
    end_by(state)


def _lost(config: ServingConfig) -> dict[str, str]:
    """Collections whose index in the data directory is gone with its documents."""
    known = remembered(config.data_dir)
    return {
        each.name: told
        for each in config.collections
        if each.index.path is not None and not (each.index.path / MANIFEST).exists()
        if (told := what_was_lost(each.index.name, known.get(each.index.name), 0, exists=False))
    }


def _check_port(http: HttpConfig) -> None:
    """The server looks again, but after it has taken the directory and written its files."""
    try:
        check_port(http)
    except CannotStart as error:
        raise Failure(str(error)) from None


@dataclass(slots=True)
class _Clock:
    """Shows how long the start takes, so that nobody wonders whether it hangs."""

    status: Status
    started: float
    weights: Path
    """Where they are fetched to."""
    next_line: float = 0.0

    def __call__(self) -> None:
        seconds = time.monotonic() - self.started
        fetching = arriving(self.weights)
        what = "" if fetching is None else f", downloading {fetching.told()} of a model's weights"
        told = f"starting the server ({seconds:.0f} s{what})"
        self.status.update(told)
        # Where no terminal is, the status is not shown.
        if not notices().is_terminal and seconds >= self.next_line:
            self.next_line = seconds + _LINE_EVERY_SECONDS
            notices().print(told)


def collections_of(url: str, api_keys_file: Path | None) -> list[Collection]:
    """What the server says of its collections; nothing if it does not answer."""
    with Lookalike(url, first_key(api_keys_file), retries=0, timeout=60) as client:
        try:
            return list(client.collections.list())
        except LookalikeError:
            return []  # it is up, and what it does not tell now `lookalike status` shows


def abilities(collections: list[Collection]) -> list[str]:
    """A line for each model: whose it is, and what it can do."""
    return [
        f"{each.name}: the model {each.model} {each.model_ability}"
        for each in collections
        if each.model_ability
    ]


def _say_where(
    loaded: Loaded,
    start: Start,
    state: State,
    run: RunDirectory,
    output: Output,
    collections: list[Collection],
) -> None:
    if output is Output.JSON:
        print_json({"url": state.url, "pid": state.pid, "data_dir": str(run.data_dir)})
        return
    where = "" if start.data_dir == DEFAULT_DATA_DIR else f" --data-dir {start.data_dir}"
    retrievers = [r.metadata.name for r in loaded.retrievers]
    which = f" --retriever {retrievers[0]}" if len(retrievers) > 1 else ""
    say = console().print
    for line in abilities(collections):
        say(line, markup=False, soft_wrap=True)
    say(f"\n[bold]The search page:[/bold]  {state.url}/", soft_wrap=True)
    say(f"[bold]The API:[/bold]          {state.url}/docs", soft_wrap=True)
    if retrievers:
        searched = {each.name for each in loaded.retrievers[0].spec.collections}
        known = {each.name: each for each in collections if each.name in searched}
        what = next(
            (
                _first_query(loaded, resource, known[resource.metadata.name], state, start)
                for resource in loaded.collections
                if resource.metadata.name in known
            ),
            "--image photo.jpg",
        )
        first = escape(f"lookalike search {what}{which}{where}")
        say(f"[bold]A first query:[/bold]    {first}", soft_wrap=True)
    if start.detached:
        say(f"[bold]To end it:[/bold]        lookalike down{where}", soft_wrap=True)
    else:
        say("[dim]Ctrl-C ends it.[/dim]")


def _first_query(
    loaded: Loaded, resource: ImageCollection, told: Collection, state: State, start: Start
) -> str:
    example = None
    key = first_key(start.api_keys_file)
    with (
        contextlib.suppress(LookalikeError),
        Lookalike(state.url, key, retries=0, timeout=60) as client,
    ):
        example = next(iter(client.documents.list(told.name, limit=1)), None)
    return first_query(
        loaded,
        resource,
        knows_words=told.supports_text is not False,
        document_id=example.document_id if example is not None else None,
        metadata=example.metadata if example is not None else {},
    )


def _stay(server: ServerProcess, watch: Watch | None) -> None:
    """Until Ctrl-C. Raises Failure if the server ends by itself."""
    try:
        while watch is not None and server.process.poll() is None:
            watch.look()
            time.sleep(LOOK_EVERY_SECONDS)
        server.process.wait()
    except KeyboardInterrupt:
        _stop(server)
        raise typer.Exit(ExitCode.OK) from None
    if server.process.returncode != 0:
        raise server.failure()
    notice("the server was stopped by another command")


def _stop(server: ServerProcess) -> None:
    with notices().status("stopping"):
        server.stop()
