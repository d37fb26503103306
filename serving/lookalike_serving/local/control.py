"""`run.control_socket`: through it `lookalike apply` gives a running server a configuration.

A Unix socket in a folder that only its owner may enter, one JSON object a line:

    -> {"ask": "weigh", "sources": {collection: [source, …]}}
    <- {"documents": {collection: [documents, those that no source can bring again]}}

    -> {"ask": "apply", "based_on": digest, "config": …, "ingestions": [...], "leave_behind": false}
    <- {"filling": [...], "ingesting": [...]}  or  {"refused": why}

    -> {"ask": "switch", "collection": name}      the filled index answers, whatever held it back
    -> {"ask": "rollback", "collection": name}    the former model is to answer again
    <- {"filling": [...], "ingesting": [...]}  or  {"refused": why}

There is one change at a time: a second one is refused while one is in progress, and so is one that
was planned against a configuration that is no longer in force. Closing the connection before the
answer cancels the change, unless it has been carried out already. What the replica does is in
`adoption.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lookalike_crds.backoff import Backoff
from lookalike_crds.config import IngestionConfig, ServingConfig
from lookalike_crds.config_changes import is_read_again
from lookalike_crds.moments import utc_text
from lookalike_crds.naming import described
from lookalike_crds.progress import CARRIED, Progress
from lookalike_crds.switching import run_that_fills, why_held
from lookalike_serving.local.cluster import replica
from lookalike_serving.local.formers import Formers
from lookalike_serving.local.ingestions import Ingestions
from lookalike_serving.machine.files import write_atomically, write_together
from lookalike_serving.machine.rundir import (
    IngestionPhase,
    IngestionState,
    RunDirectory,
    digest_of,
)

_LONGEST_LINE = 32 << 20
_AGAIN = Backoff(base=1.0, cap=30.0)
_REPLICAS = 5
"""How many may end, one after the other, before they let a filled index answer."""

log = logging.getLogger("lookalike.local")


class Refused(Exception):
    """The change is not made; the message says why, and what to do."""


class Control:
    """Listens in a thread of its own, until the process ends.

    `changed`: called with the collections that have sources from now on, and those of them that are
    to be read. `answers`: called with a collection whose new index a person lets answer.
    """

    def __init__(
        self,
        run: RunDirectory,
        ray_address: str,
        ingestions: Ingestions,
        changed: Callable[[tuple[str, ...], tuple[str, ...]], None],
        answers: Callable[[str], None] = lambda collection: None,
    ) -> None:
        self._run = run
        self._ray_address = ray_address
        self._ingestions = ingestions
        self._changed = changed
        self._answers = answers
        self._changing = asyncio.Lock()
        self._formers = Formers(run)
        self._filling = {each.name for each in run.read_serving_config().filling}
        """The collections whose new index is being filled."""
        self._held: dict[str, str] = {}
        """Of those that are filled: why they do not answer."""

    def start(self) -> None:
        threading.Thread(target=self._listen, name="control", daemon=True).start()

    def _listen(self) -> None:
        try:
            asyncio.run(self.serve())
        except Exception:
            log.exception("`lookalike apply` cannot reach this server")

    async def serve(self) -> None:
        """Runs until cancelled, in the event loop of the caller."""
        self._loop = asyncio.get_running_loop()
        path = self._run.control_socket
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._answer, path, limit=_LONGEST_LINE)
        os.chmod(path, 0o600)
        expiring = asyncio.create_task(self._formers.expire())
        try:
            async with server:
                await server.serve_forever()
        finally:
            expiring.cancel()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline())
            work = asyncio.ensure_future(self._carry_out(asked))
            left = asyncio.ensure_future(reader.read(1))
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
            left.cancel()
            answer = await work
        except asyncio.CancelledError:
            answer = {"refused": "called off: nothing has changed"}
        except Refused as refusal:
            answer = {"refused": str(refusal)}
        except Exception as failure:
            log.exception("an `apply` could not be carried out")
            answer = {"refused": f"{type(failure).__name__}: {failure}"}
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    @cached_property
    def _replica(self) -> Any:
        """Made when it is first needed: only then is there one."""
        return replica()

    async def _carry_out(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        match asked.get("ask"):
            case "weigh":
                return {"documents": await self._replica.only_here.remote(asked["sources"])}
            case "apply" | "switch" | "rollback" as change:
                if self._changing.locked():
                    raise Refused("another change is being applied: try again when it is done")
                async with self._changing:
                    if change == "apply":
                        return await self._apply(asked)
                    name = str(asked["collection"])
                    return await (self._switch(name) if change == "switch" else self._back(name))
            case _:
                raise Refused("the server has another version: run `lookalike down`, then `up`")

    async def _apply(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked["based_on"] != digest_of(self._run.serving_config):
            raise Refused(
                "the server's configuration has changed in the meantime: check the plan again"
            )
        try:
            wanted = ServingConfig.model_validate(asked["config"])
            ingestions = [IngestionConfig.model_validate(each) for each in asked["ingestions"]]
        except ValidationError as failure:
            first = failure.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Refused(
                f"the server has another version ({where}: {first['msg']}): run `lookalike "
                "down`, then `up`"
            ) from None
        return await self._take(wanted, ingestions, leave_behind=bool(asked["leave_behind"]))

    async def _switch(self, name: str) -> dict[str, Any]:
        """A person lets the filled index answer, whatever held it back."""
        if name not in self._filling:
            raise Refused(f"no other index of collection {name!r} is being filled")
        if name in self._ingestions:
            raise Refused(
                f"collection {name} is still being embedded again: `lookalike status` shows how "
                "far it is"
            )
        await self._finish(name, leave_behind=True)
        self._answers(name)
        return {"filling": sorted(self._filling), "ingesting": []}

    async def _back(self, name: str) -> dict[str, Any]:
        """The former model is to answer again, as soon as its index has what came since."""
        serving = self._run.read_serving_config()
        if name in self._filling:
            raise Refused(
                f"the former model of collection {name} still answers: `lookalike apply` with its "
                "spec.model stops embedding the new one"
            )
        former = self._formers.of(name)
        if former is None:
            raise Refused(
                f"no index of a former model of collection {name!r} is kept: apply its spec.model "
                "again, which embeds all documents"
            )
        collections = tuple(former if each.name == name else each for each in serving.collections)
        known = self._run.ingestion_configs()
        ingestions = [read for path in known.values() if (read := _read(path)) is not None]
        wanted = serving.model_copy(update={"collections": collections})
        changed = [
            each.model_copy(update={"collection": former}) if each.collection.name == name else each
            for each in ingestions
        ]
        return await self._take(wanted, changed, leave_behind=False)

    async def _take(
        self, wanted: ServingConfig, ingestions: list[IngestionConfig], *, leave_behind: bool
    ) -> dict[str, Any]:
        before = self._run.serving_config.read_text()
        response = self._replica.take.remote(wanted.model_dump_json(by_alias=True), leave_behind)
        try:
            taken = await response
        except asyncio.CancelledError:
            response.cancel()
            # It may have been carried out just before: then it is reverted.
            await self._replica.take.remote(before, True)
            raise
        if "refused" in taken:
            raise Refused(taken["refused"])
        # The change is made: what follows is not cancelled any more.
        return await asyncio.shield(asyncio.ensure_future(self._note(before, taken, ingestions)))

    async def _note(
        self,
        before: str,
        taken: Mapping[str, Any],
        ingestions: list[IngestionConfig],
    ) -> dict[str, Any]:
        """Record what is in force, and start to read the sources that are to be read."""
        known = self._run.ingestion_configs()
        ingestions = self._with_what_fills(taken, ingestions)
        again = [
            each.collection.name
            for each in ingestions
            if is_read_again(_read(known.get(each.collection.name)), each)
            or (
                each.collection.name in taken["filling"]
                and each.collection.name not in self._ingestions
            )
        ]
        contents = {self._run.serving_config: str(taken["config"]).encode()}
        for each in ingestions:
            each = each.model_copy(update={"ray_address": self._ray_address})
            text = each.model_dump_json(indent=2, by_alias=True)
            contents[self._run.ingestion_config(each.collection.name)] = text.encode()
        try:
            write_together(contents)
        except OSError as failure:
            await self._replica.take.remote(before, True)
            raise Refused(
                f"{self._run.path} cannot be written: {failure.strerror or failure}. The server "
                "continues with its former configuration"
            ) from None
        names = tuple(each.collection.name for each in ingestions)
        for gone in known.keys() - set(names):
            self._ingestions.call_off(gone)
            known[gone].unlink(missing_ok=True)
        self._filling = set(taken["filling"])
        self._held = {name: why for name, why in self._held.items() if name in self._filling}
        self._changed(names, tuple(again))
        for name in again:
            self._held.pop(name, None)
            self._run.progress_file(name).unlink(missing_ok=True)
            self._ingestions.add(name, self._run.ingestion_config(name), self.ended)
        return {"filling": taken["filling"], "ingesting": again}

    def _with_what_fills(
        self, taken: Mapping[str, Any], ingestions: list[IngestionConfig]
    ) -> list[IngestionConfig]:
        """The runs that read sources, and those that fill an index beside one that answers."""
        serving = ServingConfig.model_validate_json(taken["config"])
        live = {each.name: each for each in serving.collections}
        runs = {each.collection.name: each for each in ingestions}
        for new in serving.filling:
            progress = self._run.progress_file(new.name)
            runs[new.name] = run_that_fills(
                new, live[new.name], serving, runs.get(new.name), progress
            )
        return list(runs.values())

    def ended(self, state: IngestionState) -> IngestionState:
        """Called from the thread of the ingestions: a filled index answers from now on, unless
        something holds it back."""
        name = state.collection
        if name not in self._filling:
            return state
        if state.phase is IngestionPhase.FAILED:
            return replace(state, held=f"the run that fills its index failed: {state.error}")
        future = asyncio.run_coroutine_threadsafe(self._finish_unless_held(name), self._loop)
        try:
            held = future.result()
        except Exception as failure:
            held = " ".join(str(failure).split())
        if held is None:
            return state
        log.error("the former model of %s keeps answering: %s", name, held)
        return replace(state, held=held)

    async def _finish_unless_held(self, name: str) -> str | None:
        """Why the former index keeps answering; None if it does not."""
        async with self._changing:
            if name not in self._filling:
                return None  # another change has cancelled it meanwhile
            made = _progress(self._run.progress_file(name))
            filling = self._run.read_serving_config().filling
            new = next(each for each in filling if each.name == name)
            held = why_held(
                made.sources.get(CARRIED),
                tuple(each.key for each in made.errors if each.source == CARRIED),
                new.gate,
                made.gate,
            )
            if held is None:
                await self._finish(name)
                return None
            self._held[name] = held.message
            return held.message

    async def _finish(self, name: str, *, leave_behind: bool = False) -> None:
        before = self._run.read_serving_config()
        since = _since(self._run.progress_file(name))
        taken = await self._finished(name, since, leave_behind)
        if "refused" in taken:
            raise Refused(taken["refused"])
        self._filling.discard(name)
        self._held.pop(name, None)
        former = next(each for each in before.collections if each.name == name)
        new = next(each for each in before.filling if each.name == name)
        log.info(
            "collection %s answers from its new index %s, with the model %s",
            name,
            new.index.name,
            described(new.made_by),
        )
        failures = 0
        while True:
            try:
                # First: a former index that is kept, but answers, is only passed over.
                self._formers.keep(former, new)
                write_atomically(self._run.serving_config, taken["config"].encode())
                self._end_filling(name)
                return
            except OSError as failure:
                failures += 1
                log.error(
                    "collection %s answers from its new index, which cannot be recorded in %s yet: "
                    "%s",
                    name,
                    self._run.path,
                    failure.strerror or failure,
                )
            await asyncio.sleep(_AGAIN.after(failures))

    async def _finished(self, name: str, since: str, leave_behind: bool) -> Mapping[str, Any]:
        """The replica's answer; a replica that ends before it answers is asked again, once another
        has taken its place."""
        for failures in range(1, _REPLICAS + 1):
            try:
                taken: Mapping[str, Any] = await self._replica.finish.remote(
                    name, since, leave_behind
                )
                return taken
            except Exception as failure:
                if failures == _REPLICAS:
                    raise
                told = " ".join(str(failure).split())
                log.warning("the new index of %s does not answer yet: %s", name, told)
            await asyncio.sleep(_AGAIN.after(failures))
        raise AssertionError

    def _end_filling(self, name: str) -> None:
        """The next run of the collection reads its sources as usual."""
        path = self._run.ingestion_config(name)
        config = _read(path)
        if config is None:
            return
        if not config.sources:
            path.unlink()
            return
        usual = config.model_copy(update={"carry": None})
        write_atomically(path, usual.model_dump_json(indent=2, by_alias=True).encode())


def _since(progress: Path) -> str:
    """When the run began that filled the index; empty, so that all is compared, if it is not
    known."""
    try:
        return utc_text(_progress(progress).started_at, "milliseconds")
    except Refused:
        return ""


def _progress(path: Path) -> Progress:
    """Raises Refused if the run left none."""
    try:
        return Progress.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise Refused(f"the run that filled the index left no report in {path}") from None


def _read(path: Path | None) -> IngestionConfig | None:
    try:
        return None if path is None else IngestionConfig.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
