"""The Ray Serve application: one deployment whose replicas do everything in their own process.

`RAY_SERVE_ENVIRONMENT` must be in the environment before Ray Serve is imported, on every node: it
makes the difference between 5 ms and half a millisecond per request (docs/adr/0001). With it, user
code shares the event loop of Serve, so nothing in the gateway may block.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from prometheus_client import start_http_server
from pydantic import ValidationError
from ray import serve

from lookalike_crds.config import LightConfig, ServingConfig
from lookalike_crds.config_file import what_is_wrong
from lookalike_crds.image_collection import Engine
from lookalike_crds.ray_environment import RAY_SERVE_ENVIRONMENT
from lookalike_serving.answering import Health
from lookalike_serving.embed.protocol import ModelError
from lookalike_serving.following import as_of
from lookalike_serving.gateway.api import create_api
from lookalike_serving.gateway.traffic import Traffic
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.listening import listen_on_this_node
from lookalike_serving.progress_port import answering
from lookalike_serving.service import Service

if TYPE_CHECKING:
    from lookalike_serving.adoption import Adoption

__all__ = ["DEPLOYMENT", "RAY_SERVE_ENVIRONMENT", "Retriever", "build_app", "deployment_for"]

log = logging.getLogger("lookalike.app")

DEPLOYMENT = "Retriever"
"""Its name within the Serve application, which the operator's Serve config uses."""

_MAX_ONGOING_REQUESTS = 4096
"""More than the gateway's own limits allow, of requests and of bodies that are still arriving, so
that callers get its 429 instead of waiting in a queue.
"""


_METRICS_PORT_RETRY_SECONDS = 2.0


@serve.ingress()
class Retriever:
    """A replica: the gateway's app around one `Service`."""

    def __init__(
        self,
        config: str,
        config_file: str | None = None,
        metrics_port: int | None = None,
        health: Health | None = None,
        takes_changes: bool = False,
    ) -> None:
        """`config`: a ServingConfig as JSON. `config_file`: the file it is from, to be followed.
        With `takes_changes`, whoever writes the file calls `take` instead, and the whole of it may
        have changed when a replica is started again.

        `metrics_port`: where this very replica tells its metrics. `/metrics` behind Serve's ingress
        is whichever replica's the request happens to reach. `health`: what makes a replica healthy
        where nobody asks `/readyz`; by default, being alive is enough.
        """
        _log_as_json()
        listen_on_this_node()
        self._metrics_port = metrics_port
        self._health = health
        file = None if config_file is None else Path(config_file)
        if takes_changes and file is not None:
            config, file = file.read_text("utf-8"), None
        self._config = ServingConfig.model_validate_json(config)
        self._followed = file
        if file is not None:
            self._config = as_of(file, self._config)
        # Until the models are there, nothing else answers.
        self._tells = ExitStack()
        self._tells.enter_context(answering(None, self._config.data_dir / "weights"))
        self._adoption: Adoption | None = None
        self._api: FastAPI | None = None
        self._configured = False

    def __serve_build_asgi_app__(self) -> FastAPI:
        self._api = create_api(
            lambda: Service.start(self._config, self._followed), echo_request_id=False
        )
        if self._metrics_port is not None:
            _tell_metrics(self._api, self._metrics_port)
        return self._api

    async def reconfigure(self, light: dict[str, Any]) -> None:
        """Serve's `user_config`: a LightConfig as JSON, at the start and whenever it changes.

        Returns at the start when all that it names is open. Raises ValueError for a wrong one at
        the start, so that the deployment fails and says why; a wrong one later is logged, and the
        last one stays in force.
        """
        try:
            self._service.take(LightConfig.model_validate(light))
            if not self._configured:
                await self._service.open_told()
        except ValueError as failure:
            told = (
                what_is_wrong(failure)
                if isinstance(failure, ValidationError)
                else " ".join(str(failure).split())
            )
            if not self._configured:
                raise ValueError(f"user_config: {told}") from None
            log.error("the changed user_config is ignored: %s", told)
        self._configured = True

    async def take(self, config: str, leave_behind: bool) -> dict[str, Any]:
        """Continue with another ServingConfig: see `Adoption.take`.

        `config`, what is in force then, and `filling`, the collections that are to be filled and
        `finish`ed; or `refused`, why not.
        """
        wanted = ServingConfig.model_validate_json(config)
        return await self._changed(lambda by: by.take(wanted, leave_behind=leave_behind))

    async def finish(self, collection: str, since: str, leave_behind: bool) -> dict[str, Any]:
        """A collection's new index is filled: see `Adoption.finish`."""
        return await self._changed(
            lambda by: by.finish(collection, since=since, leave_behind=leave_behind)
        )

    async def _changed(
        self, change: Callable[[Adoption], Awaitable[ServingConfig]]
    ) -> dict[str, Any]:
        from lookalike_serving.adoption import Adoption

        if self._adoption is None:
            self._adoption = Adoption(self._service)
        try:
            in_force = await change(self._adoption)
        except (ModelError, IndexFailure, OSError, ValueError) as failure:
            return {"refused": " ".join(str(failure).split())}
        except KeyError:
            return {"refused": "nothing is being filled: the replica was restarted in the meantime"}
        return {
            "config": in_force.model_dump_json(indent=2, by_alias=True),
            "filling": sorted(self._service.filling),
        }

    async def only_here(self, sources: dict[str, list[str]]) -> dict[str, tuple[int, int]]:
        """Of these collections: (documents, those that none of the sources can bring again)."""
        from lookalike_serving.indexes.left_behind import only_here

        counted = {}
        for name, known in sources.items():
            state = self._service.collections.get(name)
            if state is not None:
                lost = await state.index.count(only_here(tuple(known)))
                counted[name] = (await state.index.count(), lost)
        return counted

    async def check_health(self) -> None:
        """Serve calls it once before a replica counts as started, and then every few seconds."""
        service = self._service
        if self._health is not None:
            await self._health.check(service)

    async def drain(self, notice_seconds: float, patience_seconds: float) -> int:
        """Deny readiness, and return when no request is in progress: see `Traffic.drain`."""
        assert self._api is not None
        traffic: Traffic = self._api.state.traffic
        return await traffic.drain(notice_seconds, patience_seconds)

    @property
    def _service(self) -> Service:
        if self._api is None or not hasattr(self._api.state, "service"):
            raise RuntimeError("the service has not started")
        service: Service = self._api.state.service
        return service


def build_app(
    config: ServingConfig,
    config_file: Path | None = None,
    *,
    num_gpus: float = 0,
    takes_changes: bool = False,
) -> serve.Application:
    """The application for `serve.run`.

    A replica follows the light part of `config_file`. `takes_changes`: whoever changes it calls
    `take` instead. `num_gpus`: of each replica.
    """
    actor_options = {"num_gpus": num_gpus} if num_gpus else {}
    deployment = deployment_for(config).options(ray_actor_options=actor_options)
    file = None if config_file is None else str(config_file.absolute())
    return deployment.bind(config.model_dump_json(by_alias=True), file, takes_changes=takes_changes)


def deployment_for(config: ServingConfig) -> serve.Deployment:
    """The deployment's settings. An Edge index has one writer, so it gets one replica."""
    options: dict[str, Any] = {
        "max_ongoing_requests": _MAX_ONGOING_REQUESTS,
        "health_check_period_s": 10,
        "health_check_timeout_s": 30,
        "graceful_shutdown_wait_loop_s": 1,
        "graceful_shutdown_timeout_s": 20,
        # The gateway logs each request itself, with its id and its route.
        "logging_config": {"enable_access_log": False},
    }
    if any(collection.index.engine is Engine.EDGE for collection in config.collections):
        options["num_replicas"] = 1
    return serve.deployment(Retriever).options(name=DEPLOYMENT, **options)


def _tell_metrics(api: FastAPI, port: int) -> None:
    """One replica a pod has the port: its successor in the same pod gets it when that one ends."""

    def serve_when_free() -> None:
        told = False
        while True:
            try:
                start_http_server(port, registry=api.state.metrics.registry)
                return
            except OSError as failure:
                if not told:
                    log.warning("no metrics on port %d yet: %s", port, failure.strerror or failure)
                told = True
                time.sleep(_METRICS_PORT_RETRY_SECONDS)

    threading.Thread(target=serve_when_free, name="lookalike-metrics", daemon=True).start()


class _JsonLines(logging.Formatter):
    """One JSON object a line; messages that are JSON already, as the gateway's, are kept."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        fields: dict[str, Any] = {"time": self.formatTime(record), "level": record.levelname}
        if message.startswith("{"):
            return json.dumps(fields)[:-1] + ", " + message[1:]
        fields |= {"logger": record.name, "message": message}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    root = logging.getLogger("lookalike")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    root.propagate = False
