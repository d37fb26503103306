"""Indexes that no collection uses are found, counted and dropped; those in use never are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support import configs
from tests.support.configs import edge, serving_config

from lookalike_crds.config import CollectionConfig, ServingConfig
from lookalike_crds.image_collection import VectorSpec
from lookalike_crds.ownership import IndexOwner
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.layout import Origin, payload
from lookalike_serving.images.holders import hold, holder_of
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.protocol import IndexUnavailable, Point
from lookalike_serving.indexes.left_behind import Kept, LeftBehind, drop, left_behind

OURS = IndexOwner(cluster="folder-1", name="shop")
THEIRS = IndexOwner(cluster="folder-2", name="shop")


def config(data: Path, *names: str, sources: tuple[str, ...] = ("products",)) -> ServingConfig:
    """Serves an index `shop-11111111` of collection shop, and those of others."""

    def collection(name: str) -> CollectionConfig:
        owner = OURS.model_copy(update={"name": name})
        index = edge(data, f"{name}-11111111", owner=owner)
        return configs.collection(data, name, index=index, sources=sources)

    return serving_config(data, *(collection(name) for name in names or ("shop",)))


async def filled(
    folder: Path, *sources: str | None, owner: IndexOwner | None = OURS, **more: object
) -> EdgeIndex:
    """An open index with a document of each source; None: an upload."""
    index = await EdgeIndex.open(
        folder, vector=VectorSpec(), dimension=4, fingerprint="f", owner=owner, **more
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
    return index


async def make(folder: Path, *sources: str | None, **more: object) -> None:
    await (await filled(folder, *sources, **more)).close()


async def only(config: ServingConfig) -> LeftBehind:
    [found] = await left_behind(config)
    return found


async def dropped(
    config: ServingConfig, found: LeftBehind, *, with_documents: bool = False
) -> None:
    await drop(found, lambda: config, with_documents=with_documents)


async def test_the_index_of_an_earlier_model_is_told_with_all_that_one_must_know(
    tmp_path: Path,
) -> None:
    indexes = tmp_path / "indexes"
    await make(indexes / "shop-11111111", "products")
    await make(indexes / "shop-00000000", "products", "products", None, model="Demo")
    found = await only(config(tmp_path))
    assert (found.name, found.collection, found.model) == ("shop-00000000", "shop", "Demo")
    assert (found.documents, found.only_here, found.problem) == (3, 1, None)
    assert found.place == str(indexes / "shop-00000000")
    assert (found.bytes or 0) > 1000


async def test_nothing_is_left_behind_where_all_indexes_are_in_use(tmp_path: Path) -> None:
    assert await left_behind(config(tmp_path)) == []
    await make(tmp_path / "indexes" / "shop-11111111", None)
    batches = await EdgeIndex.open(
        tmp_path / "indexes" / "batches", vector=None, dimension=None, fingerprint=None
    )
    await batches.close()
    assert await left_behind(config(tmp_path)) == []


async def test_documents_of_a_source_that_is_gone_are_only_here_too(tmp_path: Path) -> None:
    await make(tmp_path / "indexes" / "shop-00000000", "products", "old", None)
    assert (await only(config(tmp_path))).only_here == 2
    assert (await only(config(tmp_path, sources=()))).only_here == 3


async def test_no_source_brings_again_what_a_collection_had_that_is_gone(tmp_path: Path) -> None:
    was = OURS.model_copy(update={"name": "shoes"})
    await make(tmp_path / "indexes" / "shoes-00000000", "products", owner=was)
    found = await only(config(tmp_path))
    assert (found.collection, found.only_here) == ("shoes", 1)


async def test_looking_leaves_an_index_as_it_is(tmp_path: Path) -> None:
    from lookalike_crds.image_collection import FieldSpec, FieldType

    folder = tmp_path / "indexes" / "shop-00000000"
    fields = (FieldSpec(name="price", type=FieldType.FLOAT),)
    await make(folder, "products", fields=fields)
    before = (folder / "lookalike.json").read_bytes()
    await left_behind(config(tmp_path))
    assert (folder / "lookalike.json").read_bytes() == before
    index = await filled(folder, fields=None)
    assert "price" in (await index.info()).payload_indexes
    await index.close()


async def test_what_sources_can_bring_again_is_dropped_when_told_to(tmp_path: Path) -> None:
    folder = tmp_path / "indexes" / "shop-00000000"
    await make(folder, "products")
    await dropped(config(tmp_path), await only(config(tmp_path)))
    assert not folder.exists()


async def test_uploads_are_dropped_when_they_are_given_up_and_their_images_go(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "indexes" / "shop-00000000"
    await make(folder, None)
    image = tmp_path / "images" / "ab" / "abcd.jpg"
    kept = tmp_path / "images" / "cd" / "cdef.jpg"
    for each in (image, kept):
        each.parent.mkdir(parents=True)
        hold(each, holder_of("shop-00000000", "p"), lambda path=each: path.write_bytes(b"jpeg"))
    hold(kept, holder_of("shop-11111111", "p"), lambda: None)
    serving = config(tmp_path)
    with pytest.raises(Kept, match=r"1 documents that no source .* add --yes"):
        await dropped(serving, await only(serving))
    assert folder.exists()
    assert image.exists()
    await dropped(serving, await only(serving), with_documents=True)
    assert not folder.exists()
    assert not image.exists()
    assert kept.exists(), "the collection's index of today shows it, too"


async def test_anothers_index_is_told_and_never_dropped(tmp_path: Path) -> None:
    await make(tmp_path / "indexes" / "shop-00000000", None, owner=THEIRS)
    found = await only(config(tmp_path))
    assert "folder-2" in (found.anothers or "")
    with pytest.raises(Kept, match=r"belongs to .*folder-2"):
        await dropped(config(tmp_path), found, with_documents=True)


async def test_an_index_that_is_open_elsewhere_stays(tmp_path: Path) -> None:
    index = await filled(tmp_path / "indexes" / "shop-00000000", "products")
    try:
        found = await only(config(tmp_path))
        assert "already open" in (found.problem or "")
        with pytest.raises(Kept, match="could not be counted"):
            await dropped(config(tmp_path), found)
        with pytest.raises(IndexUnavailable, match="already open"):
            await dropped(config(tmp_path), found, with_documents=True)
        assert await index.count() == 1
    finally:
        await index.close()


async def test_an_index_that_is_used_meanwhile_stays(tmp_path: Path) -> None:
    await make(tmp_path / "indexes" / "shop-11111111", "products")
    later = config(tmp_path)
    index = later.collections[0].index
    earlier = later.model_copy(
        update={
            "collections": (
                later.collections[0].model_copy(
                    update={
                        "index": index.model_copy(
                            update={"path": index.path.with_name("shop-22222222")}
                        )
                    }
                ),
            )
        }
    )
    found = await only(earlier)
    with pytest.raises(Kept, match="in use"):
        await dropped(later, found, with_documents=True)
    assert (tmp_path / "indexes" / "shop-11111111" / "lookalike.json").exists()


async def test_an_index_of_an_early_release_is_its_collections_by_name(tmp_path: Path) -> None:
    await make(tmp_path / "indexes" / "shop-00000000", "products", owner=None)
    found = await only(config(tmp_path))
    assert (found.collection, found.anothers, found.only_here) == ("shop", None, 0)


async def test_half_an_index_is_told_and_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "indexes" / "shop-00000000"
    await make(folder, "products")
    (folder / "lookalike.json").unlink()
    found = await only(config(tmp_path))
    assert found.documents is None
    with pytest.raises(Kept, match="could not be counted"):
        await dropped(config(tmp_path), found)
    await dropped(config(tmp_path), found, with_documents=True)
    assert not folder.exists()
