"""What the status says of the search settings that an index has measured."""

from __future__ import annotations

from lookalike_crds.image_collection import SearchSettingsStatus
from lookalike_operator.plan.model import CollectionSnapshot


def reported(snapshot: CollectionSnapshot) -> SearchSettingsStatus | None:
    """What was reported last."""
    told = None if snapshot.report is None else snapshot.report.search_settings
    return told or snapshot.status.search_settings


def in_words(settings: SearchSettingsStatus | None) -> str:
    """To follow what is said of the index; empty if nothing has been measured."""
    if settings is None:
        return ""
    told = f"; recall {settings.recall:.4f} at ef {settings.ef}"
    if settings.recall >= settings.recall_target:
        return told
    return (
        f"{told}, below the target of {settings.recall_target:g}: raise spec.vector.hnsw.m and "
        "efConstruct, or lower spec.vector.recallTarget"
    )


def below_target(settings: SearchSettingsStatus | None) -> bool:
    return settings is not None and settings.recall < settings.recall_target
