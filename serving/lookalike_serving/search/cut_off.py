"""The score below which results are left out: a number, or the calibrated one for `auto`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lookalike_crds.config import RetrieverConfig
from lookalike_crds.failures import NOT_CALIBRATED
from lookalike_crds.min_score import AUTO
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.problems import Problem, wrong
from lookalike_serving.search.calibration import (
    Calibration,
    Calibrations,
    QueryKind,
    changed,
    kind_of,
    scale_of,
)
from lookalike_serving.search.candidates import Candidate
from lookalike_serving.search.request import SearchRequest
from lookalike_serving.service import Service

_NAMES: dict[QueryKind, str] = {
    "text": "text queries",
    "image": "image queries",
    "both": "queries of text and image together",
}
_REMEDY = "measure one with `lookalike calibrate --save`"


@dataclass(frozen=True, slots=True)
class CutOff:
    """None if no result is left out."""

    min_score: float | None
    calibrated: QueryKind | None = None
    """The kind of query that `min_score` was calibrated for."""
    warnings: tuple[str, ...] = ()

    def keeps(self, candidate: Candidate) -> bool:
        return self.min_score is None or candidate.score >= self.min_score

    def unreached(self, ranked: Sequence[Candidate]) -> str:
        """Why nothing is left of these."""
        best = max(candidate.score for candidate in ranked)
        told = f"min_score {self.min_score:g}"
        if self.calibrated is not None:
            told = f"the calibrated min_score {self.min_score:.4g} for {_NAMES[self.calibrated]}"
        return f"no result reaches {told}: the best score was {best:.4g}"


async def cut_off(service: Service, retriever: RetrieverConfig, request: SearchRequest) -> CutOff:
    """Raises Problem 409 if the request says auto and no calibration holds, 422 if one holds but
    not for this request, and Problem 503 or IndexFailure if it cannot be read. If only the
    retriever says auto, the search goes on without a cut-off, with a warning.
    """
    asked = request.min_score
    said = retriever.search.min_score if asked is None else asked
    if said != AUTO:
        return CutOff(said)
    try:
        calibration = await Calibrations(service).read(retriever.name)
    except (Problem, IndexFailure) as failure:
        if asked == AUTO:
            raise
        return _without(f"the calibration cannot be read: {failure}")
    reason = f"retriever {retriever.name!r} has no calibration: {_REMEDY}"
    if calibration is not None and (stale := changed(calibration, scale_of(service, retriever))):
        reason = (
            f"the calibration of {calibration.made_at} no longer holds, since this has changed: "
            f"{', '.join(stale)}. Calibrate again: {_REMEDY}"
        )
        calibration = None
    if calibration is None:
        if asked == AUTO:
            raise Problem(NOT_CALIBRATED, f"min_score is auto, but {reason}")
        return _without(reason)
    kind = kind_of(request.queries)
    if (other := _other_scores(service, retriever, request, calibration, kind)) is not None:
        if asked == AUTO:
            raise wrong("min_score", f"is auto, but {other}")
        return _without(other)
    return CutOff(calibration.thresholds[kind].min_score, kind)


def _other_scores(
    service: Service,
    retriever: RetrieverConfig,
    request: SearchRequest,
    calibration: Calibration,
    kind: QueryKind,
) -> str | None:
    """Why the calibrated thresholds do not hold for a request; None if one does."""
    if request.rerank is not None and changed(
        calibration, scale_of(service, retriever, request.rerank)
    ):
        return (
            "the calibration holds for the re-ranking stages of the retriever, and the request "
            "has others: leave out rerank, or write a number"
        )
    if kind not in calibration.thresholds:
        remedy = "write a number" if kind == "both" else _REMEDY
        return f"the calibration has no threshold for {_NAMES[kind]}: {remedy}"
    return None


def _without(reason: str) -> CutOff:
    return CutOff(None, warnings=(f"min_score auto leaves nothing out: {reason}",))
