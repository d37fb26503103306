"""A running service takes another configuration: what stays answers, what fails leaves no trace."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from changing import ID, collection, config, loaded, store
from tests.support.pictures import encoded, plain

from lookalike_crds.config import CollectionConfig, light_of
from lookalike_crds.image_collection import (
    FieldSpec,
    FieldType,
    ModelSpec,
    Precision,
    Provider,
    VectorSpec,
)
from lookalike_serving import models
from lookalike_serving.adoption import Adoption
from lookalike_serving.documents.ids import point_id
from lookalike_serving.documents.stored import find_document, remove_document
from lookalike_serving.documents.upload import store_document
from lookalike_serving.embed.protocol import Embedder, ModelError
from lookalike_serving.images import ImageFile
from lookalike_serving.images.holders import holder_of
from lookalike_serving.index.filters.operators import condition
from lookalike_serving.index.filters.tree import unindexed_keys
from lookalike_serving.index.protocol import IndexFailure, IndexMismatch, IndexUnavailable, Point
from lookalike_serving.service import Service

LATER = "9999-01-01T00:00:00.000Z"


@pytest_asyncio.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(models, "load_embedder", loaded)
    service = await Service.start(config(tmp_path, collection(tmp_path, "shop")))
    yield service
    await service.close()


@pytest.fixture
def adoption(service: Service) -> Adoption:
    service.closing.grace_seconds = 0
    return Adoption(service)


async def upload(service: Service, name: str) -> None:
    image = ImageFile.of(encoded(plain("black", (64, 60 + len(name)))))
    await store_document(service, "shop", image, {"name": name}, name)


async def answers(service: Service, name: str) -> bool:
    await service.canary(name)
    return True


async def test_a_new_collection_answers_and_the_others_never_stop(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    before = service.collections["shop"]
    asked = asyncio.create_task(_asking(service, "shop"))
    wanted = config(tmp_path, collection(tmp_path, "shop"), collection(tmp_path, "more"))
    assert await adoption.take(wanted) == wanted == service.config
    assert await answers(service, "more")
    assert service.retriever("find-more")
    assert service.collections["shop"].index is before.index
    assert service.collections["more"].embedder is before.embedder, "the model was loaded twice"
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def _asking(service: Service, name: str) -> None:
    while True:
        await service.canary(name)
        await asyncio.sleep(0)


async def test_a_collection_that_is_gone_is_closed_and_stays_on_disk(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    await store(service, "shop", 1)
    await adoption.take(config(tmp_path, collection(tmp_path, "more")))
    assert list(service.collections) == ["more"]
    await adoption.take(config(tmp_path, collection(tmp_path, "shop")))
    assert await service.collections["shop"].index.count() == 1


async def test_a_field_is_indexed_over_what_is_stored_while_it_answers(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    await store(service, "shop", 1)
    before = service.collections["shop"].index
    priced = collection(tmp_path, "shop", fields=(FieldSpec(name="price", type=FieldType.INTEGER),))
    await adoption.take(config(tmp_path, priced))
    state = service.collections["shop"]
    assert state.index is before
    assert (await state.index.info()).payload_indexes == {"price": "Integer"}
    dear = condition("price", "gt", 8)
    assert unindexed_keys(dear, state.config.fields) == []
    assert await state.index.count(dear) == 1


async def test_a_field_of_another_type_is_remembered_for_what_it_was(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    for kind in (FieldType.INTEGER, FieldType.KEYWORD):
        fields = (FieldSpec(name="price", type=kind),)
        await adoption.take(config(tmp_path, collection(tmp_path, "shop", fields=fields)))
    info = await service.collections["shop"].index.info()
    assert info.former_types == {"price": ["Integer"]}


async def test_other_vector_settings_open_the_index_anew(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    await store(service, "shop", 1)
    changed = collection(tmp_path, "shop", vector=VectorSpec(on_disk=True))
    await adoption.take(config(tmp_path, changed))
    assert await service.collections["shop"].index.count() == 1
    assert await answers(service, "shop")
    assert not service.failures


async def test_another_index_answers_once_it_is_filled(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    await store(service, "shop", 1, source="pictures")
    later = collection(tmp_path, "shop", "shop-00000002", sources=("pictures",))
    in_force = await adoption.take(config(tmp_path, later))
    assert in_force.collections[0].index.name == "shop-00000001"
    assert await service.collections["shop"].index.count() == 1
    new = service.filling["shop"]
    await new.index.upsert([Point(ID.format(2), np.ones(new.embedder.info.dimension), {"a": 1})])
    assert in_force.filling == (later,)
    assert await adoption.finish("shop", since=LATER) == config(tmp_path, later)
    assert service.collections["shop"].index is new.index
    assert not service.filling


async def test_what_was_uploaded_meanwhile_is_in_the_new_index_when_it_answers(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    await upload(service, "kept")
    await upload(service, "deleted")
    await adoption.take(config(tmp_path, collection(tmp_path, "shop", "shop-00000002")))
    await upload(service, "late")
    await remove_document(service, "shop", "deleted")
    new = service.filling["shop"].index
    await adoption.finish("shop", since="")
    assert service.collections["shop"].index is new
    assert await new.count() == 2
    late = await find_document(service, "shop", "late", with_vector=True)
    assert late.metadata == {"name": "late"}
    assert late.vector is not None
    image = late.origin.image
    assert await service.images.get(image)
    old = holder_of("shop-00000001", point_id("shop", "late"))
    assert not await service.images.release(image, old), "the new index holds the image, too"


async def test_what_arrives_at_the_last_moment_is_carried_over_too(
    service: Service, tmp_path: Path
) -> None:
    service.closing.grace_seconds = 3600
    adoption = Adoption(service)
    await upload(service, "first")
    await adoption.take(config(tmp_path, collection(tmp_path, "shop", "shop-00000002")))
    before = service.collections["shop"]
    await adoption.finish("shop", since="")
    # A request that began before the switch still has the former index.
    now = service.collections["shop"]
    service.collections["shop"] = before
    await upload(service, "last")
    service.collections["shop"] = now
    await service.closing.now()
    assert await now.index.count() == 2
    with pytest.raises(IndexUnavailable):
        await before.index.count()


async def test_what_is_filled_waits_for_documents_that_cannot_be_embedded_again(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    later = collection(tmp_path, "shop", "shop-00000002", sources=("pictures",))
    await adoption.take(config(tmp_path, later))
    await store(service, "shop", 1)
    with pytest.raises(IndexMismatch, match=r"1 documents of collection shop \(d1\)"):
        await adoption.finish("shop", since="")
    assert service.collections["shop"].config.index.name == "shop-00000001"
    await adoption.finish("shop", since="", leave_behind=True)
    assert service.collections["shop"].config.index.name == "shop-00000002"


async def test_going_back_while_another_index_is_filled_changes_nothing(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    first = config(tmp_path, collection(tmp_path, "shop"))
    later = collection(tmp_path, "shop", "shop-00000002", sources=("pictures",))
    await adoption.take(config(tmp_path, later))
    assert await adoption.take(first) == first
    assert not service.filling
    await adoption.take(config(tmp_path, later))  # its folder is free again
    assert list(service.filling) == ["shop"]


async def test_uploads_answer_until_they_are_in_the_new_index(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    await store(service, "shop", 1)
    later = collection(tmp_path, "shop", "shop-00000002")
    in_force = await adoption.take(config(tmp_path, later))
    assert in_force.filling == (later,)
    assert await service.collections["shop"].index.count() == 1


async def test_an_empty_collection_continues_with_its_new_index_at_once(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    later = config(tmp_path, collection(tmp_path, "shop", "shop-00000002"))
    assert await adoption.take(later) == later
    assert service.collections["shop"].config.index.name == "shop-00000002"


async def test_a_restarted_service_opens_what_is_being_filled(tmp_path: Path) -> None:
    later = collection(tmp_path, "shop", "shop-00000002")
    service = await Service.start(config(tmp_path, collection(tmp_path, "shop"), filling=(later,)))
    while "shop" not in service.filling:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert service.collections["shop"].config.index.name == "shop-00000001"
    assert service.filling["shop"].config == later
    service.take(light_of(config(tmp_path, collection(tmp_path, "shop"))))
    while service.filling:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await service.close()


async def test_a_service_that_was_started_again_finishes_what_it_is_still_opening(
    tmp_path: Path,
) -> None:
    later = collection(tmp_path, "shop", "shop-00000002")
    service = await Service.start(config(tmp_path, collection(tmp_path, "shop"), filling=(later,)))
    assert not service.filling
    await upload(service, "kept")
    former = service.collections.pop("shop")
    with pytest.raises(IndexUnavailable, match="cannot be carried over"):
        await Adoption(service).finish("shop", since="")
    service.collections["shop"] = former
    await Adoption(service).finish("shop", since="")
    assert service.collections["shop"].config == later
    assert await service.collections["shop"].index.count() == 1
    await service.close()


@pytest.mark.parametrize("at", ["first", "last"])
async def test_what_fails_half_way_leaves_no_trace(
    service: Service, adoption: Adoption, tmp_path: Path, at: str
) -> None:
    before = service.config, dict(service.collections), dict(service.models)
    bad = collection(
        tmp_path,
        "bad",
        model=ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", weights="nowhere.pt"),
    )
    good = collection(tmp_path, "good")
    shop = collection(tmp_path, "shop", fields=(FieldSpec(name="price", type=FieldType.FLOAT),))
    several = (bad, good, shop) if at == "first" else (good, shop, bad)
    with pytest.raises(ModelError, match=r"nowhere\.pt"):
        await adoption.take(config(tmp_path, *several))
    assert (service.config, service.collections, service.models) == before
    assert not service.failures
    assert not (tmp_path / "indexes" / "good-00000001").exists()
    assert (await service.collections["shop"].index.info()).payload_indexes == {}


async def test_whoever_called_it_off_before_the_swap_changed_nothing(
    service: Service, adoption: Adoption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = asyncio.Event()
    real = Service.open

    async def slowly(
        self: Service, wanted: CollectionConfig, *args: object, **kw: object
    ) -> object:
        if wanted.name == "slow":
            opening.set()
            await asyncio.Event().wait()
        return await real(self, wanted, *args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(Service, "open", slowly)
    before = service.config
    wanted = config(tmp_path, *(collection(tmp_path, name) for name in ("shop", "new", "slow")))
    taking = asyncio.create_task(adoption.take(wanted))
    await opening.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert service.config == before
    assert list(service.collections) == ["shop"]
    assert not (tmp_path / "indexes" / "new-00000001").exists()


async def test_a_models_precision_changes_over_the_same_index(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    before = service.collections["shop"]
    exact = ModelSpec(provider=Provider.DEMO, precision=Precision.FP32)
    await adoption.take(config(tmp_path, collection(tmp_path, "shop", model=exact)))
    after = service.collections["shop"]
    assert after.index is before.index
    assert after.embedder is not before.embedder
    assert list(service.models) == [exact]


class Slow:
    """A model that takes a while for each batch."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_texts(self, texts: list[str]) -> Any:
        time.sleep(0.05)
        return self._embedder.embed_texts(texts)


async def test_a_former_model_answers_whoever_waits_for_it_and_gives_its_memory_back(
    service: Service, adoption: Adoption, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = service.collections["shop"].embedder
    monkeypatch.setattr(former, "_embedder", Slow(former._embedder))
    waiting = [asyncio.create_task(former.embed_text(f"red mug {n}")) for n in range(200)]
    await asyncio.sleep(0)
    exact = ModelSpec(provider=Provider.DEMO, precision=Precision.FP32)
    await adoption.take(config(tmp_path, collection(tmp_path, "shop", model=exact)))
    assert all(len(vector) for vector in await asyncio.gather(*waiting))
    await service.closing.now()
    monkeypatch.undo()
    held = weakref.ref(former)
    del former, waiting
    gc.collect()
    assert held() is None


async def test_nothing_is_closed_while_a_request_may_use_it(
    service: Service, tmp_path: Path
) -> None:
    over = asyncio.Event()
    service.closing.grace_seconds, service.closing.requests_over = 0, over.wait
    adoption = Adoption(service)
    former = service.collections["shop"]
    other = collection(tmp_path, "shop", "shop-00000002")
    await adoption.take(config(tmp_path, other))
    await asyncio.sleep(0.05)
    assert (await former.index.info()).points == 0
    over.set()
    await asyncio.sleep(0.05)
    await service.closing.now()
    with pytest.raises(IndexFailure):
        await former.index.info()


async def test_a_change_that_is_taken_back_leaves_no_model(
    service: Service, tmp_path: Path
) -> None:
    exact = ModelSpec(provider=Provider.DEMO, precision=Precision.FP32)
    before = config(tmp_path, collection(tmp_path, "shop"))
    later = collection(tmp_path, "shop", "shop-00000002", model=exact)
    service.take(light_of(before.model_copy(update={"filling": (later,)})))
    async with asyncio.timeout(30):
        while "shop" not in service.filling:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len(service.models) == 2
        service.take(light_of(before))
        while len(service.models) == 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert exact not in service.models


async def test_what_needs_a_restart_is_refused(
    service: Service, adoption: Adoption, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="fetch cannot change while the server runs"):
        await adoption.take(
            config(
                tmp_path,
                collection(tmp_path, "shop"),
                fetch=service.config.fetch.model_copy(update={"max_redirects": 1}),
            )
        )
