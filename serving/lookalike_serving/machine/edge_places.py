"""Folders of Edge indexes that a configuration no longer names.

Each model of a collection has an index of its own, so another model leaves the one before behind,
and so does a collection that is taken out of the files. This only looks where they are:
`indexes/left_behind.py` counts what is in them and drops them. No engine is loaded here, so that
`lookalike status` stays quick.
"""

from __future__ import annotations

from pathlib import Path

from lookalike_crds.config import ServingConfig

MANIFEST = "lookalike.json"
"""The file that makes a folder an index: see `index/edge_folder.py`."""


def indexes_of(data_dir: Path) -> Path:
    """Where `lookalike up` keeps the indexes of a data folder."""
    return data_dir / "indexes"


def unused_folders(config: ServingConfig) -> list[Path]:
    """Indexes that the configuration does not name, beside those that it does."""
    configured = (config.batches_index, *(each.index for each in config.collections))
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
    # One without its manifest is half an index: dropping it was interrupted.
    return (folder / MANIFEST).is_file() or next(folder.glob("shard-*"), None) is not None
