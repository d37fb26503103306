"""The files of an Edge shard: created, opened, given payload indexes; and what errors of Edge
mean."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import qdrant_edge as edge

from lookalike_crds.image_collection import FieldSpec, VectorSpec
from lookalike_crds.payload_indexes import json_path
from lookalike_serving.index import edge_settings
from lookalike_serving.index.edge_folder import EdgeFolder, Manifest
from lookalike_serving.index.protocol import IndexFailure, IndexMismatch, IndexRefused


def _config(
    manifest: Manifest, vector: VectorSpec | None, limits: edge_settings.Thresholds | None = None
) -> edge.EdgeConfig:
    if vector is None or manifest.dimension is None or manifest.datatype is None:
        return edge_settings.payload_only_config()
    return edge_settings.edge_config(
        vector, manifest.dimension, manifest.datatype, limits, manifest.copies
    )


def check_without_points(folder: EdgeFolder, manifest: Manifest) -> None:
    """Raises IndexMismatch if a first shard without a manifest is more than a killed creation.

    The manifest is written before the first point: somebody removed it.
    """
    where = folder.shard(manifest.generation)
    if not (where / "segments").is_dir():
        return
    with translated(f"opening {where}, which has no lookalike.json beside it,"):
        shard = edge.EdgeShard.load(str(where))
        points = shard.info().points_count
        shard.close()
    if points:
        raise IndexMismatch(
            f"the folder {folder.path} holds {points} points but no lookalike.json: restore that "
            "file from a backup, or delete the folder and ingest again"
        )


def create_shard(
    folder: EdgeFolder, manifest: Manifest, vector: VectorSpec | None
) -> edge.EdgeShard:
    """Make the shard, then the manifest that lets it count."""
    with translated(f"making the index in {folder.path}"):
        shard = edge.EdgeShard.create(
            str(folder.shard(manifest.generation)), _config(manifest, vector)
        )
        folder.write_manifest(manifest)
    return shard


def load_shard(
    where: Path,
    manifest: Manifest,
    vector: VectorSpec | None,
    limits: edge_settings.Thresholds | None = None,
) -> edge.EdgeShard:
    """Open the shard in `where` with today's settings. Raises IndexFailure.

    `limits`: those that it is to be optimised with.
    """
    if not where.is_dir():
        raise IndexFailure(
            f"the index's files in {where} are gone: restore the folder from a backup, or "
            f"delete {where.parent} and ingest again"
        )
    with translated(f"opening the index in {where.parent}"):
        return edge.EdgeShard.load(str(where), _config(manifest, vector, limits))


def match_payload_indexes(shard: edge.EdgeShard, fields: tuple[FieldSpec, ...]) -> None:
    """Make the payload indexes that `fields` ask for and delete those they do not."""
    wanted = {json_path(field.name): field.type for field in fields}
    for key, index in shard.info().payload_schema.items():
        field_type = edge_settings.field_type_of(index.data_type)
        if field_type is not None and wanted.get(key) is field_type and not _outdated(index):
            del wanted[key]
        else:
            shard.update(edge.UpdateOperation.delete_field_index(key))
    for key, field_type in wanted.items():
        shard.update(
            edge.UpdateOperation.create_field_index(key, edge_settings.payload_schema(field_type))
        )


def _outdated(index: edge.PayloadIndexInfo) -> bool:
    """Made by a version that split texts in another way."""
    tokenizer = getattr(index.params, "tokenizer", None)
    return tokenizer is not None and tokenizer != edge.TokenizerType.Word


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Edge's exceptions as ours."""
    try:
        yield
    except BaseException as error:
        failure = failure_of(error, doing)
        if failure is error:
            raise
        raise failure from error


def failure_of(error: BaseException, doing: str) -> BaseException:
    """What an exception of Edge's means; any other is returned as it is."""
    if isinstance(error, IndexFailure):
        return error
    if isinstance(error, ValueError | TypeError):
        return IndexRefused(f"{doing}: {error}")
    if isinstance(error, Exception):
        # Edge raises bare `Exception`s. Values are checked before it sees them, so what is left
        # is the disk, or damaged files.
        return IndexFailure(
            f"{doing} failed: {error}; check the disk, restore the folder from a backup, or "
            "delete it and ingest again"
        )
    if type(error).__name__ == "PanicException":
        return IndexFailure(
            f"{doing} failed inside Qdrant Edge: {error}; its files may be damaged: restore the "
            "folder from a backup, or delete it and ingest again"
        )
    return error
