"""What serving pods tell the operator of a Retriever."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lookalike_crds.retriever import CalibrationStatus


class RetrieverReport(BaseModel):
    """Pods of another release may say more, or less."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    calibration: CalibrationStatus | None = None
    """None: there is none."""
