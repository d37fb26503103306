"""Whether a service answers: a test query through the model and the index of each collection.

`/readyz` uses it, and so does the health check of a replica if nothing requests `/readyz`: under
KubeRay, a pod is ready as soon as Serve considers its replica healthy.
"""

from __future__ import annotations

import asyncio
import logging

from lookalike_crds.config import CollectionConfig
from lookalike_crds.failures import NOT_READY
from lookalike_crds.image_collection import Engine
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.problems import Problem
from lookalike_serving.service import Failure, Service
from lookalike_serving.together import together

log = logging.getLogger("lookalike.service")

CANARY_SECONDS = 5.0
_AGAIN_SECONDS = 2.0


async def silent_parts(service: Service) -> dict[str, Failure | None]:
    """Every part of the service, and why it does not answer; None if it does."""
    configs = service.config.collections
    failures = await together([_canary(service, each) for each in configs]) if configs else []
    parts = {f"collections.{c.name}": failure for c, failure in zip(configs, failures, strict=True)}
    parts["batches"] = service.batches_failure
    return parts


class Health:
    """A replica's health: it is up when it has answered once, and ill when it no longer does.

    Serve restarts an ill replica, which does not help if a Qdrant server is away or refuses us: it
    would only add to the outage, and Serve gives an application up whose replicas cannot
    start. So those failures count until the first answer alone.
    """

    def __init__(self) -> None:
        self._answered = False
        self._without: set[str] = set()
        """Parts that do not answer at present, because of a server."""

    async def check(self, service: Service) -> None:
        """Raises RuntimeError with the reason.

        Before the first answer, what may pass by itself is waited for: Serve gives an application
        up that fails to start a few times, and an index server may be away for longer.
        """
        while failed := {p: f for p, f in (await silent_parts(service)).items() if f is not None}:
            if self._answered:
                self._tell({p: failed.pop(p) for p in _on_servers(service) if p in failed})
                if not failed:
                    return
            if self._answered or not all(failure.may_pass for failure in failed.values()):
                told = "; ".join(f"{part}: {failure.reason}" for part, failure in failed.items())
                raise RuntimeError(told)
            await asyncio.sleep(_AGAIN_SECONDS)
        self._answered = True
        self._tell({})

    def _tell(self, without: dict[str, Failure]) -> None:
        for part in without.keys() - self._without:
            log.warning("%s does not answer: %s", part, without[part])
        for part in self._without - without.keys():
            log.info("%s answers again", part)
        self._without = set(without)


def _on_servers(service: Service) -> list[str]:
    """Parts whose index is on a Qdrant server."""
    return [
        f"collections.{each.name}"
        for each in service.config.collections
        if each.index.engine is Engine.QDRANT
    ]


async def _canary(service: Service, collection: CollectionConfig) -> Failure | None:
    """None if a query went through the model and the index, else what prevented it."""
    if collection.name in service.failures:
        return service.failures[collection.name]
    try:
        async with asyncio.timeout(CANARY_SECONDS):
            await service.canary(collection.name)
    except TimeoutError:
        addresses = collection.index.addresses
        by = f" by {' or '.join(addresses)}" if addresses else ""
        return Failure(f"a test query was not answered within {CANARY_SECONDS:g} s{by}", NOT_READY)
    except (IndexFailure, Problem) as failure:
        return Failure.of(failure)
    except Exception as failure:
        return Failure(f"{type(failure).__name__}: {failure}")
    return None
