"""Folders of Edge indexes that a configuration no longer names.

Each model of a collection has an index of its own, so a change of the model leaves the former index
behind, and so does removing a collection from the files. This module only finds the folders:
`indexes/left_behind.py` counts their documents and drops them. No engine is loaded here, so that
`lookalike status` stays fast.
"""

from __future__ import annotations

from pathlib import Path

from lookalike_crds.config import ServingConfig

MANIFEST = "lookalike.json"
"""The file that makes a folder an index: see `index/edge_folder.py`."""


def indexes_of(data_dir: Path) -> Path:
    """The folder in which `lookalike up` keeps the indexes of a data folder."""
    return data_dir / "indexes"


def unused_folders(config: ServingConfig) -> list[Path]:
    """The indexes that are next to those of the configuration and that it does not name."""
    collections = (*config.collections, *config.filling)
    configured = (config.batches_index, *(each.index for each in collections))
    used = {index.path for index in configured if index.path is not None}
    places = dict.fromkeys([indexes_of(config.data_dir), *(path.parent for path in sorted(used))])
    return [
        folder
        for place in places
        if place.is_dir()
        for folder in sorted(place.iterdir())
        if folder not in used and _is_index(folder)
    ]


def _is_index(folder: Path) -> bool:
    # An index without its manifest is incomplete: dropping it was interrupted.
    return (folder / MANIFEST).is_file() or next(folder.glob("shard-*"), None) is not None
