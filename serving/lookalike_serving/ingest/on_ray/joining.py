"""Joins the Ray cluster that a run is to use, or starts a Ray of one machine."""

from __future__ import annotations

import logging
import os
from typing import ClassVar

from lookalike_crds.failures import RAY_UNAVAILABLE, FailureKind
from lookalike_serving.embed.protocol import ModelError

_RAY_STARTS = 3

log = logging.getLogger("lookalike.ingest")


class RayUnavailable(ModelError):
    """A Ray cluster cannot be joined, or has no room for what a run needs."""

    failure_kind: ClassVar[FailureKind] = RAY_UNAVAILABLE


def join(address: str | None) -> None:
    """Join the cluster at `address`, or else at RAY_ADDRESS; without either, start one.

    Raises RayUnavailable.
    """
    import ray

    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None:
        _join(address)
        return
    for left in reversed(range(_RAY_STARTS)):
        try:
            ray.init(
                "local",  # without it, Ray joins whichever cluster was started here last
                log_to_driver=False,
                logging_level="ERROR",
                include_dashboard=False,
            )
            return
        except Exception:
            # Ray gives a node of its own 30 s to start, which a busy machine may not keep, and has
            # no exception of its own for that.
            if not left:
                raise
            log.warning("Ray did not start; trying again", exc_info=True)
            ray.shutdown()


def _join(address: str) -> None:
    import ray

    if "://" in address:
        raise RayUnavailable(
            f"Ray address {address!r}: an ingestion joins from a machine that is a node of the "
            "cluster: write host:port of the head, or auto"
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray has several, and RuntimeError for some of them
        raise RayUnavailable(
            f"Ray address {address!r}: no cluster can be joined there ({_one_line(error)}): start "
            f"one with `ray start --head`, or add this machine with `ray start --address {address}`"
            "; if the cluster asks for a token, set RAY_AUTH_MODE=token"
        ) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
