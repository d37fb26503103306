"""`run.control_socket`: through it `lookalike apply` gives a running server a configuration.

A Unix socket in a folder that only its owner may enter, one JSON object a line:

    -> {"ask": "weigh", "sources": {collection: [source, …]}}
    <- {"documents": {collection: [documents, those that no source can bring again]}}

    -> {"ask": "apply", "based_on": digest, "config": …, "ingestions": [...], "leave_behind": false}
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
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lookalike_crds.config import IngestionConfig, ServingConfig
from lookalike_crds.config_changes import is_read_again
from lookalike_serving.local.cluster import replica
from lookalike_serving.local.ingestions import Ingestions
from lookalike_serving.machine.files import write_atomically
from lookalike_serving.machine.rundir import (
    IngestionPhase,
    IngestionState,
    RunDirectory,
    digest_of,
)

_LONGEST_LINE = 32 << 20

log = logging.getLogger("lookalike.local")


class Refused(Exception):
    """The change is not made; the message says why, and what to do."""


class Control:
    """Listens in a thread of its own, until the process ends.

    `changed`: called with the collections that have sources from now on, and those of them that are
    to be read.
    """

    def __init__(
        self,
        run: RunDirectory,
        ray_address: str,
        ingestions: Ingestions,
        changed: Callable[[tuple[str, ...], tuple[str, ...]], None],
    ) -> None:
        self._run = run
        self._ray_address = ray_address
        self._ingestions = ingestions
        self._changed = changed
        self._changing = asyncio.Lock()
        self._leave_behind: dict[str, bool] = {}
        """Of the collections that are being filled: whether documents may be left behind."""

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
        async with server:
            await server.serve_forever()

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
        """Made in the loop that it is used in."""
        return replica()

    async def _carry_out(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        match asked.get("ask"):
            case "weigh":
                return {"documents": await self._replica.only_here.remote(asked["sources"])}
            case "apply":
                if self._changing.locked():
                    raise Refused("another change is being applied: try again when it is done")
                async with self._changing:
                    return await self._apply(asked)
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
        leave_behind = bool(asked["leave_behind"])
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
        return await asyncio.shield(
            asyncio.ensure_future(self._note(before, taken, ingestions, leave_behind))
        )

    async def _note(
        self,
        before: str,
        taken: Mapping[str, Any],
        ingestions: list[IngestionConfig],
        leave_behind: bool,
    ) -> dict[str, Any]:
        """Record what is in force, and start to read the sources that are to be read."""
        known = self._run.ingestion_configs()
        again = [
            each.collection.name
            for each in ingestions
            if is_read_again(_read(known.get(each.collection.name)), each)
            or (
                each.collection.name in taken["filling"]
                and each.collection.name not in self._ingestions
            )
        ]
        try:
            for each in ingestions:
                path = self._run.ingestion_config(each.collection.name)
                each = each.model_copy(update={"ray_address": self._ray_address})
                write_atomically(path, each.model_dump_json(indent=2, by_alias=True).encode())
            write_atomically(self._run.serving_config, taken["config"].encode())
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
        self._leave_behind = {
            name: leave_behind or self._leave_behind.get(name, False) for name in taken["filling"]
        }
        self._changed(names, tuple(again))
        for name in again:
            self._run.progress_file(name).unlink(missing_ok=True)
            self._ingestions.add(name, self._run.ingestion_config(name), self._ended)
        return {"filling": taken["filling"], "ingesting": again}

    def _ended(self, state: IngestionState) -> IngestionState:
        """Called from the thread of the ingestions: the filled index answers from now on."""
        name = state.collection
        if name not in self._leave_behind or state.phase is IngestionPhase.FAILED:
            return state
        future = asyncio.run_coroutine_threadsafe(self._finish(name), self._loop)
        try:
            future.result()
        except Exception as failure:
            why = " ".join(str(failure).split())
            log.error("the new index of %s does not answer yet: %s", name, why)
            return IngestionState(name, IngestionPhase.FAILED, error=why)
        return state

    async def _finish(self, name: str) -> None:
        async with self._changing:
            if name not in self._leave_behind:
                return  # another change has cancelled it meanwhile
            taken = await self._replica.finish.remote(name, self._leave_behind[name])
            if "refused" in taken:
                raise Refused(taken["refused"])
            del self._leave_behind[name]
            write_atomically(self._run.serving_config, taken["config"].encode())
            log.info("collection %s answers from its new index", name)


def _read(path: Path | None) -> IngestionConfig | None:
    try:
        return None if path is None else IngestionConfig.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
