"""A changed model never makes uploaded documents vanish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lookalike_crds.config import CollectionConfig, IndexConfig
from lookalike_crds.image_collection import Engine, ModelSpec, VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.protocol import IndexMismatch, Point
from lookalike_serving.indexes.superseded import check_nothing_left

OURS = IndexOwner(cluster="laptop", name="shop", uid="")
ANOTHERS = IndexOwner(cluster="laptop", name="other", uid="")


def collection(path: Path, *, sources: tuple[str, ...] | None = ("products",)) -> CollectionConfig:
    return CollectionConfig(
        name="shop",
        model=ModelSpec(),
        vector=VectorSpec(),
        index=IndexConfig(engine=Engine.EDGE, name=path.name, path=path, owner=OURS),
        sources=sources,
    )


async def fill(path: Path, *sources: str | None, owner: IndexOwner | None = OURS) -> None:
    """An index of an earlier model, with a document of each source; None: an upload."""
    index = await EdgeIndex.open(
        path, vector=VectorSpec(), dimension=4, fingerprint="earlier", owner=owner
    )
    await index.upsert(
        [
            Point(
                point_id("shop", str(i)),
                np.eye(4, dtype=np.float32)[i],
                payload({}, Origin(str(i), f"upload:{i}", source=source)),
            )
            for i, source in enumerate(sources)
        ]
    )
    await index.close()


async def test_uploads_in_the_index_of_another_model_are_told_with_what_to_do(
    tmp_path: Path,
) -> None:
    await fill(tmp_path / "shop-earlier", "products", None, None)
    wanted = collection(tmp_path / "shop-later")
    with pytest.raises(IndexMismatch) as refused:
        await check_nothing_left(wanted, tmp_path)
    told = str(refused.value)
    assert "2 documents" in told
    assert "set spec.model back" in told
    assert f"lookalike gc --data-dir {tmp_path} --drop shop-earlier --yes" in told
    assert not (tmp_path / "shop-later").exists(), "nothing half-done stays"


async def test_what_sources_bring_again_and_what_others_own_is_in_nobodys_way(
    tmp_path: Path,
) -> None:
    await fill(tmp_path / "shop-earlier", "products", "products")
    await fill(tmp_path / "other-earlier", None, owner=ANOTHERS)
    await check_nothing_left(collection(tmp_path / "shop-later"), tmp_path)


async def test_the_index_of_the_model_at_hand_opens_whatever_lies_beside_it(
    tmp_path: Path,
) -> None:
    await fill(tmp_path / "shop-earlier", None)
    await check_nothing_left(collection(tmp_path / "shop-earlier"), tmp_path)


async def test_a_person_who_gives_the_uploads_up_deletes_their_folder(tmp_path: Path) -> None:
    await fill(tmp_path / "shop-earlier", None)
    for file in sorted((tmp_path / "shop-earlier").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    await check_nothing_left(collection(tmp_path / "shop-later"), tmp_path)


@pytest.mark.parametrize(("sources", "lost"), [(("products",), 2), ((), 3), (None, 1)])
async def test_documents_of_a_source_that_is_no_longer_declared_would_be_lost_too(
    tmp_path: Path, sources: tuple[str, ...] | None, lost: int
) -> None:
    await fill(tmp_path / "shop-earlier", "products", "old", None)
    with pytest.raises(IndexMismatch, match=f"^{lost} documents"):
        await check_nothing_left(collection(tmp_path / "shop-later", sources=sources), tmp_path)


async def test_an_index_of_an_early_release_is_asked_too(tmp_path: Path) -> None:
    await fill(tmp_path / "shop-0a1b2c3d", None, owner=None)
    await fill(tmp_path / "shop-eu-0a1b2c3d", None, owner=None)
    with pytest.raises(IndexMismatch, match=r"^1 documents.*shop-0a1b2c3d"):
        await check_nothing_left(collection(tmp_path / "shop-4e5f6a7b"), tmp_path)
