"""`/v1/retrievers/{retriever}/calibration`: the thresholds that `min_score: auto` stands for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lookalike_crds.config import RetrieverConfig
from lookalike_crds.failures import NOT_FOUND, SCORES_CHANGED
from lookalike_crds.moments import now_text
from lookalike_crds.retriever import Fusion
from lookalike_serving.gateway.bodies import read_json
from lookalike_serving.gateway.context import service_of
from lookalike_serving.gateway.openapi import json_body, problems
from lookalike_serving.gateway.responses import json_response
from lookalike_serving.gateway.shapes import RetrieverName
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.problems import Problem, wrong
from lookalike_serving.search.calibration import (
    Calibration,
    Calibrations,
    QueryKind,
    Scale,
    Threshold,
    changed,
    digest,
    scale_of,
)
from lookalike_serving.search.strict import Strict
from lookalike_serving.service import Service

router = APIRouter(tags=["retrievers"])
_PATH = "/v1/retrievers/{retriever}/calibration"
_KINDS = (
    "For each kind of query. image: also stored documents and vectors. both: text together with "
    "any of these."
)


def _share(description: str) -> Any:
    return Field(ge=0, le=1, allow_inf_nan=False, description=description)


class CalibratedThreshold(Strict):
    """The lowest score with which the wanted share of the results is relevant."""

    min_score: float = Field(allow_inf_nan=False, description="What `min_score: auto` stands for.")
    wanted: float = _share("The share of relevant results that was wanted.")
    precision: float = _share("The share that was measured with `min_score`.")
    low: float = _share("The lower bound of its 95 % confidence interval.")
    high: float = _share("The upper bound of its 95 % confidence interval.")
    recall: float = _share("The share of the relevant documents that were found.")
    empty: float = _share("The share of the queries that had no result left.")
    count: int = Field(ge=1, le=1_000_000, description="Queries that it was measured with.")
    pairs: int = Field(ge=1, le=1_000_000_000, description="Results that were judged.")


class CalibrationRequest(Strict):
    """What was measured, as `lookalike calibrate --save` sends it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scores": "0f4be8a5a4c0d6f1",
                    "basis": "judgments",
                    "thresholds": {
                        "text": {
                            "min_score": 0.243,
                            "wanted": 0.9,
                            "precision": 0.91,
                            "low": 0.86,
                            "high": 0.95,
                            "recall": 0.74,
                            "empty": 0.08,
                            "count": 120,
                            "pairs": 12000,
                        }
                    },
                }
            ]
        }
    )

    scores: str = Field(
        pattern="^[0-9a-f]{16}$",
        description="`scores` of the retriever from before it was measured.",
    )
    basis: str = Field(
        min_length=1, max_length=256, description="What was taken as relevant, in words."
    )
    thresholds: dict[QueryKind, CalibratedThreshold] = Field(min_length=1, description=_KINDS)


class CalibrationView(BaseModel):
    thresholds: dict[QueryKind, CalibratedThreshold] = Field(description=_KINDS)
    basis: str
    made_at: str = Field(description="RFC 3339, UTC.")
    holds: bool = Field(description="Whether `min_score: auto` uses it.")
    changed: list[str] = Field(
        description="What has changed since, such as the model of a collection. If there is "
        "anything, the calibration is not used."
    )


@router.get(
    _PATH,
    summary="The calibrated thresholds of a retriever",
    response_model=None,
    responses={200: {"model": CalibrationView}, **problems(404, 503)},
)
async def get_calibration(retriever: RetrieverName, request: Request) -> Response:
    service = service_of(request)
    config = service.retriever(retriever)
    scale = scale_of(service, config)
    found = await Calibrations(service).read(retriever)
    if found is None:
        raise Problem(NOT_FOUND, _missing(retriever))
    return json_response(request, told(found, scale))


@router.put(
    _PATH,
    summary="Store what was measured, in place of an earlier calibration",
    response_model=None,
    responses={200: {"model": CalibrationView}, **problems(404, 415, 422, 503, 507)},
    openapi_extra=json_body(CalibrationRequest),
)
async def put_calibration(retriever: RetrieverName, request: Request) -> Response:
    service = service_of(request)
    config = service.retriever(retriever)
    asked = await read_json(request, CalibrationRequest)
    _check_comparable(config)
    scale = scale_of(service, config)
    if asked.scores != digest(scale):
        raise Problem(
            SCORES_CHANGED,
            f"Retriever {retriever!r} has other scores than those that were measured: a model, "
            "weight or stage has changed since `scores` was read. Calibrate again.",
        )
    made = Calibration(
        {kind: Threshold(**each.model_dump()) for kind, each in asked.thresholds.items()},
        asked.basis,
        now_text(),
        scale,
    )
    await Calibrations(service).write(retriever, made)
    return json_response(request, told(made, scale))


@router.delete(
    _PATH,
    status_code=204,
    summary="Forget the calibration of a retriever",
    responses=problems(404, 503, 507),
)
async def delete_calibration(retriever: RetrieverName, request: Request) -> Response:
    service = service_of(request)
    service.retriever(retriever)
    if not await Calibrations(service).delete(retriever):
        raise Problem(NOT_FOUND, _missing(retriever))
    return Response(status_code=204)


def told(calibration: Calibration, now: Scale) -> dict[str, Any]:
    """In the shape of CalibrationView."""
    differing = changed(calibration, now)
    return {
        "thresholds": {kind: asdict(each) for kind, each in calibration.thresholds.items()},
        "basis": calibration.basis,
        "made_at": calibration.made_at,
        "holds": not differing,
        "changed": differing,
    }


def scores_of(service: Service, retriever: RetrieverConfig) -> str | None:
    """The digest of what its scores follow from; None if a collection is not open."""
    try:
        return digest(scale_of(service, retriever))
    except Problem:
        return None


async def calibration_of(service: Service, retriever: RetrieverConfig) -> dict[str, Any] | None:
    """In the shape of CalibrationView; None if there is none, or it cannot be read now."""
    try:
        found = await Calibrations(service).read(retriever.name)
        return None if found is None else told(found, scale_of(service, retriever))
    except (Problem, IndexFailure):
        return None


def _check_comparable(retriever: RetrieverConfig) -> None:
    """Raises Problem 422 for scores that say nothing about similarity."""
    if len(retriever.collections) > 1 and retriever.search.fusion is Fusion.RRF:
        raise wrong(
            "",
            f"retriever {retriever.name!r} fuses its collections with RRF, whose scores follow "
            "from ranks: no score separates right from wrong. Calibrate a retriever with fusion "
            "Weighted, or with one collection",
        )


def _missing(retriever: str) -> str:
    return (
        f"Retriever {retriever!r} has no calibration: measure one with `lookalike calibrate --save`"
    )
