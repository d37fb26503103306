"""The life of one server: take the data directory, clean up after a killed one, serve, end.

A signal (SIGTERM, SIGINT), or the end of the process that started it in the foreground, raises
`StopRequested` in the main thread, wherever that is; shutting down is the same from everywhere.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException
from importlib.metadata import version
from math import inf
from pathlib import Path
from types import FrameType
from typing import NoReturn

from lookalike_crds.config import ServingConfig
from lookalike_crds.failures import INDEX_UNAVAILABLE
from lookalike_crds.moments import now_text
from lookalike_serving.local import cluster
from lookalike_serving.local.control import Control
from lookalike_serving.local.ingestions import Ingestions
from lookalike_serving.local.keys import first_key
from lookalike_serving.machine import processes
from lookalike_serving.machine.rundir import (
    IngestionState,
    Phase,
    RunDirectory,
    State,
    digest_of,
)

_SAME_REASON_SECONDS = 6.0
"""A collection that has failed to open for the same reason for so long will not open by itself."""
_MAY_PASS = INDEX_UNAVAILABLE.code
"""The code of /readyz if every part that does not answer waits for an index server."""
_STOP_WITHIN_SECONDS = 30.0

log = logging.getLogger("lookalike.local")


class StopRequested(BaseException):
    """The server is to end."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The `up` in the foreground with which the server ends."""

    pid: int
    pipe: int
    """A file descriptor to read from; it is closed when the parent ends, however it ends."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits, in seconds."""

    handover: float
    """Until another server has left the data directory."""
    index: float
    """Until an index server answers."""
    ready: float
    """Until the server is ready, in all."""


ON_ONE_MACHINE = Patience(handover=0.0, index=_SAME_REASON_SECONDS, ready=300.0)
"""A person is watching and wants to know soon."""
IN_A_CONTAINER = Patience(handover=90.0, index=inf, ready=inf)
"""A pod's successor starts while the pod still answers its last requests. Its probes say how long
it may take: to end sooner would add a back-off to each try."""


class Server:
    """One run."""

    def __init__(
        self,
        config: ServingConfig,
        config_path: Path,
        parent: Parent | None,
        patience: Patience = ON_ONE_MACHINE,
    ) -> None:
        self._config = config
        self._patience = patience
        self._config_path = config_path
        self._run = RunDirectory.of(config.data_dir, config.run_dir)
        self._parent = parent
        self._changes = threading.Lock()
        pid = os.getpid()
        self._state = State(
            pid=pid,
            identity=processes.identity(pid) or "",
            phase=Phase.STARTING,
            url=config.http.local_url,
            started_at=now_text(),
            config_digest=digest_of(config_path),
            versions={"lookalike": version("lookalike"), "ray": version("ray")},
            parent_pid=parent.pid if parent else None,
            parent_identity=processes.identity(parent.pid) if parent else None,
        )

    def run(self, ingestion_configs: dict[str, Path]) -> None:
        """Serve until asked to end. Raises DataDirInUse, CannotStart with the cause."""
        with self._run.lock(self._patience.handover):
            self._change(phase=Phase.STARTING)
            try:
                self._serve(ingestion_configs)
            except StopRequested:
                pass
            except Exception as failure:
                self._change(phase=Phase.FAILED, error=cause_of(failure))
                raise
            self._run.state_file.unlink(missing_ok=True)

    def _serve(self, ingestion_configs: dict[str, Path]) -> None:
        with self._stoppable():
            self._end_leftovers()
            cluster.check_port(self._config.http)
            cluster.prepare(self._run)
            serving = cluster.serving(
                self._config, self._config_path, self._run, takes_changes=self._takes_changes
            )
            with serving as ray_address, self._noting_the_stop():
                ingestions = Ingestions(self._run, ray_address, self._note_ingestion)
                try:
                    self._work(ray_address, ingestions, ingestion_configs)
                except StopRequested:
                    self._change(phase=Phase.STOPPING)
                    ingestions.stop()
                    cluster.take_down(self._config.http)
                    raise
                finally:
                    _ignore_signals()
                    ingestions.stop()

    def _work(
        self, ray_address: str, ingestions: Ingestions, ingestion_configs: dict[str, Path]
    ) -> NoReturn:
        """Serve until asked to end. Raises CannotStart."""
        self._wait_until_ready()
        for collection in ingestion_configs:
            self._run.progress_file(collection).unlink(missing_ok=True)
        control = None
        if self._takes_changes:
            control = Control(
                self._run, ray_address, ingestions, self._note_change, self._note_answer
            )
            control.start()
        self._change(
            phase=Phase.READY,
            ray_address=ray_address,
            ingestions=tuple(IngestionState(name) for name in ingestion_configs),
        )
        log.info("ready at %s", self._state.url)
        for collection, path in ingestion_configs.items():
            if control is None:
                ingestions.add(collection, path)
            else:
                ingestions.add(collection, path, control.ended)
        while True:
            time.sleep(3600)

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Signals raise StopRequested inside; at the end, every process of ours is ended."""
        self._handle_signals()
        if self._parent is not None:
            threading.Thread(target=_follow, args=(self._parent,), daemon=True).start()
        try:
            yield
        finally:
            _ignore_signals()
            self._end_leftovers()
            cluster.remove_ray_dir(self._run)

    @contextlib.contextmanager
    def _noting_the_stop(self) -> Iterator[None]:
        """Shut down: say so, and do not wait forever for a Ray that does not end."""
        try:
            yield
        finally:
            _ignore_signals()
            self._change(phase=Phase.STOPPING)
            impatience = threading.Timer(_STOP_WITHIN_SECONDS, self._end_leftovers)
            impatience.daemon = True
            impatience.start()

    def _end_leftovers(self) -> None:
        ended = processes.end(lambda: processes.of_run(self._run))
        if ended:
            log.info("ended %d processes of this data directory", len(ended))

    def _handle_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _stop)

    def _wait_until_ready(self) -> None:
        """Wait until /readyz succeeds. Raises CannotStart with the reason that it keeps giving."""
        started = time.monotonic()
        reason, since = "", started
        while (answer := self._not_ready()) is not None:
            now = time.monotonic()
            told, code = answer
            if told != reason:
                reason, since = told, now
            patience = self._patience.index if code == _MAY_PASS else _SAME_REASON_SECONDS
            if told and now - since > patience:
                raise cluster.CannotStart(told)
            if now - started > self._patience.ready:
                raise cluster.CannotStart(f"not ready after {self._patience.ready:g} s: {told}")
            time.sleep(0.1)

    def _not_ready(self) -> tuple[str, str] | None:
        """None if the server is ready, else reason and code; both are empty if nothing answers."""
        request = urllib.request.Request(f"{self._state.url}/readyz")
        if key := first_key(self._config.access.api_keys_file):
            # Without a key, the reason is not given.
            request.add_header("Authorization", f"Bearer {key}")
        try:
            with _direct.open(request, timeout=10):
                return None
        except urllib.error.HTTPError as refusal:
            with refusal:
                return _detail(refusal.read())
        except (OSError, HTTPException):
            return "", ""

    @property
    def _takes_changes(self) -> bool:
        """Whether this server may change its configuration: that of a pod is in a ConfigMap."""
        return self._config_path.resolve() == self._run.serving_config.resolve()

    def _note_change(self, names: tuple[str, ...], waiting: tuple[str, ...]) -> None:
        with self._changes:
            digest = digest_of(self._config_path)
            self._state = replace(self._state.with_ingestions(names, waiting), config_digest=digest)
            self._run.write_state(self._state)

    def _note_answer(self, collection: str) -> None:
        """Nothing holds the new index of a collection back any more."""
        with self._changes:
            ended = tuple(
                replace(each, held=None) if each.collection == collection else each
                for each in self._state.ingestions
            )
            digest = digest_of(self._config_path)
            self._state = replace(self._state, ingestions=ended, config_digest=digest)
            self._run.write_state(self._state)

    def _note_ingestion(self, ingestion: IngestionState) -> None:
        with self._changes:
            self._state = self._state.with_ingestion(ingestion)
            self._run.write_state(self._state)

    def _change(
        self,
        *,
        phase: Phase,
        ray_address: str | None = None,
        error: str | None = None,
        ingestions: tuple[IngestionState, ...] | None = None,
    ) -> None:
        with self._changes:
            self._state = replace(
                self._state,
                phase=phase,
                ray_address=ray_address or self._state.ray_address,
                error=error,
                ingestions=self._state.ingestions if ingestions is None else ingestions,
            )
            self._run.write_state(self._state)


def _follow(parent: Parent) -> None:
    """Blocks until the other end of the pipe closes: the process that started us has ended."""
    while os.read(parent.pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Uses no proxy of the environment, which could not reach this machine."""


def _detail(problem: bytes) -> tuple[str, str]:
    try:
        document = json.loads(problem)
        return str(document["detail"]), str(document["code"])
    except (ValueError, KeyError, TypeError):
        return "", ""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    _ignore_signals()
    raise StopRequested


def _ignore_signals() -> None:
    """A second signal must not interrupt the shutdown; only SIGKILL can."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)


def cause_of(failure: Exception) -> str:
    """In one line."""
    if isinstance(failure, cluster.CannotStart | TimeoutError):
        return str(failure)
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return f"{type(failure).__name__}: {lines[-1] if lines else ''}"
