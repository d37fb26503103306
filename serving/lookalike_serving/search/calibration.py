"""What `min_score: auto` rests on: thresholds that were measured, and for which scores they hold.

A threshold means something for the scores that it was measured on alone. So a calibration records
everything that the scale of a retriever's scores follows from – models, collections and weights,
fusion, re-ranking stages – and is not used once any of it has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lookalike_crds.config import RetrieverConfig
from lookalike_crds.retriever import CalibratedStatus, CalibrationStatus, Fusion
from lookalike_serving.books.record import Kind, Scope
from lookalike_serving.index.protocol import Point
from lookalike_serving.search.request import QueryPart, QueryType
from lookalike_serving.service import Service

_MOST_TOLD, _LONGEST_TOLD = 8, 160
"""Changes in a status: the operator reads short answers alone."""

QueryKind = Literal["text", "image", "both"]
"""Scores of words and of pictures have different scales in models of the CLIP family."""

Scale = Mapping[str, str]
"""What the scale of a retriever's scores follows from: its name for people -> its value."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """For one kind of query. Shares are 0 to 1."""

    min_score: float
    wanted: float
    """The precision that was asked for."""
    precision: float
    """What it was with `min_score`."""
    low: float
    high: float
    """The bounds of its 95 % confidence interval."""
    recall: float
    """The share of the relevant documents that were found."""
    empty: float
    """The share of the queries that had no result left."""
    count: int
    """Queries that it was measured with."""
    pairs: int
    """Results that were judged."""


@dataclass(frozen=True, slots=True)
class Calibration:
    thresholds: Mapping[QueryKind, Threshold]
    basis: str
    """What was taken as relevant, in words."""
    made_at: str
    """RFC 3339, UTC."""
    scale: Scale


def kind_of(queries: Sequence[QueryPart]) -> QueryKind:
    """Documents and vectors count as images, which they mostly come from."""
    words = {query.type is QueryType.TEXT for query in queries}
    return "both" if len(words) > 1 else "text" if words == {True} else "image"


def scale_of(
    service: Service, retriever: RetrieverConfig, stages: Sequence[Any] | None = None
) -> Scale:
    """Of searches with these stages; None: those of the retriever. Raises Problem 503 if a
    collection is not open: its model is not known then."""
    search = retriever.search
    asked = search.stages if stages is None else stages
    told = {"stages": json.dumps([_plain(each) for each in asked], sort_keys=True)}
    several = len(retriever.collections) > 1
    if several:
        told["fusion"] = search.fusion.value
    for each in retriever.collections:
        state = service.collection(each.name)
        told[f"model of {each.name}"] = state.embedder.info.fingerprint
        told[f"distance of {each.name}"] = state.config.vector.distance.value
        if several and search.fusion is Fusion.WEIGHTED:
            told[f"weight of {each.name}"] = f"{each.weight:g}"
    return told


def digest(scale: Scale) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(dict(scale), sort_keys=True).encode()).hexdigest()[:16]


def changed(calibration: Calibration, now: Scale) -> list[str]:
    """What differs from when the calibration was made, in words."""
    return sorted(
        name
        for name in calibration.scale.keys() | now.keys()
        if calibration.scale.get(name) != now.get(name)
    )


def status_of(calibration: Calibration, now: Scale) -> CalibrationStatus:
    """As the status of a Retriever has it."""
    differing = changed(calibration, now)
    return CalibrationStatus(
        holds=not differing,
        changed=tuple(each[:_LONGEST_TOLD] for each in differing[:_MOST_TOLD]),
        made_at=calibration.made_at,
        basis=calibration.basis,
        thresholds=tuple(
            CalibratedStatus(
                queries=kind,
                min_score=each.min_score,
                precision=each.precision,
                low=each.low,
                high=each.high,
                count=each.count,
            )
            for kind, each in sorted(calibration.thresholds.items())
        ),
    )


class Calibrations:
    """The calibration of each retriever, beside the batch records of the service.

    Raises Problem 503 and IndexFailure.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def read(self, retriever: str) -> Calibration | None:
        """As it is stored, whether it still holds or not. What other pods store is seen within
        seconds."""
        known = self._service.calibrations
        calibration: Calibration | None
        try:
            calibration = known[retriever]
        except KeyError:
            found = await self._service.batches_index.retrieve([_id(retriever)])
            calibration = known[retriever] = _read(found[0].payload) if found else None
        return calibration

    async def write(self, retriever: str, calibration: Calibration) -> None:
        payload = {"retriever": retriever, "calibration": json.dumps(asdict(calibration))}
        await self._service.batches_index.upsert([Point(_id(retriever), None, payload)])
        self._service.calibrations.pop(retriever, None)

    async def delete(self, retriever: str) -> bool:
        """Whether there was one."""
        there = await self._service.batches_index.retrieve([_id(retriever)], with_payload=False)
        await self._service.batches_index.delete([_id(retriever)])
        self._service.calibrations.pop(retriever, None)
        return bool(there)


def _id(retriever: str) -> str:
    # On a cluster the index of these records belongs to one namespace.
    return Scope("\x00".join(("retriever", retriever))).id(Kind.CALIBRATION)


def _read(payload: Mapping[str, Any]) -> Calibration:
    told = json.loads(payload["calibration"])
    thresholds = {kind: Threshold(**each) for kind, each in told["thresholds"].items()}
    return Calibration(thresholds, told["basis"], told["made_at"], told["scale"])


def _plain(stage: Any) -> dict[str, Any]:
    """A stage with all that it says, however it was written."""
    return dict(stage.model_dump(mode="json", by_alias=False))
