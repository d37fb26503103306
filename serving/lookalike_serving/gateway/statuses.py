"""Parts of a collection's status as answers of the API show them: in snake case, as the rest of an
answer is."""

from __future__ import annotations

from pydantic import ConfigDict

from lookalike_crds.image_collection import (
    DuplicateScanStatus,
    SearchSettingsStatus,
    SimilarityStatus,
)

_SNAKE_CASE = ConfigDict(alias_generator=str)
"""A name is its own alias: without a generator a subclass would keep the aliases it inherits."""


class SearchSettingsShown(SearchSettingsStatus):
    __doc__ = SearchSettingsStatus.__doc__
    model_config = _SNAKE_CASE


class DuplicateScanShown(DuplicateScanStatus):
    __doc__ = DuplicateScanStatus.__doc__
    model_config = _SNAKE_CASE


class SimilarityShown(SimilarityStatus):
    __doc__ = SimilarityStatus.__doc__
    model_config = _SNAKE_CASE
