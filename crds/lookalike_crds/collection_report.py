"""What serving pods tell the operator of a collection."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lookalike_crds.image_collection import (
    DuplicateScanStatus,
    SearchSettingsStatus,
    SimilarityStatus,
)


class CollectionReport(BaseModel):
    """`None`: nothing is known of it. Pods of another release may say more, or less."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    index: str | None = None
    """The name of the one from which it answers."""
    not_switched: str | None = None
    """Why it does not answer from the one that the configuration names, if that is not open."""
    last_duplicate_scan: DuplicateScanStatus | None = None
    similarity: SimilarityStatus | None = None
    search_settings: SearchSettingsStatus | None = None
