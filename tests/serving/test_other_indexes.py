"""A running service answers from another Edge index, as its changed configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from changing import ID, collection, config, loaded, store

from lookalike_crds.config import CollectionConfig, ServingConfig, heavy_of, light_of
from lookalike_crds.image_collection import ModelSpec, Precision, Provider
from lookalike_serving import models
from lookalike_serving.embed import room
from lookalike_serving.following import as_of
from lookalike_serving.index.protocol import IndexFailure
from lookalike_serving.service import Service

OTHER = ModelSpec(provider=Provider.DEMO, precision=Precision.FP32)
"""For the services of these tests, another model than the one that answers."""
NOWHERE = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", weights="nowhere.pt")


def first(folder: Path) -> CollectionConfig:
    return collection(folder, "shop")


def second(folder: Path, model: ModelSpec = OTHER) -> CollectionConfig:
    return collection(folder, "shop", "shop-00000002", model=model)


def told(service: Service, wanted: ServingConfig) -> None:
    service.take(light_of(wanted))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setattr(models, "load_embedder", loaded)
    service = await Service.start(config(tmp_path, first(tmp_path)))
    service.closing.grace_seconds = 0
    await store(service, "shop", 1)
    yield service
    await service.close()


@pytest_asyncio.fixture
async def filling(service: Service, tmp_path: Path) -> Service:
    """With another index beside the one that answers."""
    told(service, config(tmp_path, first(tmp_path), filling=(second(tmp_path),)))
    await until(lambda: service.filling)
    return service


async def test_a_filled_index_answers_at_once_and_the_former_one_stays_open_beside_it(
    filling: Service, tmp_path: Path
) -> None:
    former, new = filling.collections["shop"], filling.filling["shop"]
    switched = config(tmp_path, second(tmp_path), filling=(first(tmp_path),))
    told(filling, switched)
    assert filling.config == switched
    assert filling.collections["shop"].index is new.index
    assert filling.collections["shop"].embedder is new.embedder
    assert filling.filling["shop"].index is former.index
    await filling.canary("shop")
    assert await former.index.count() == 1


async def test_the_former_index_is_closed_when_it_is_no_longer_needed(
    filling: Service, tmp_path: Path
) -> None:
    former = filling.collections["shop"]
    over = asyncio.Event()
    filling.closing.requests_over = over.wait
    told(filling, config(tmp_path, second(tmp_path)))
    await until(lambda: not filling.filling)
    assert list(filling.models) == [OTHER]
    assert (await former.index.info()).points == 1, "a request may still use it"
    over.set()
    removed = config(tmp_path, second(tmp_path), removed=(first(tmp_path).index,))
    told(filling, removed)
    folder = former.config.index.path
    assert folder is not None
    await until(lambda: not folder.exists())
    with pytest.raises(IndexFailure):
        await former.index.info()


async def test_the_change_is_taken_back_in_the_same_way(filling: Service, tmp_path: Path) -> None:
    before = filling.collections["shop"]
    told(filling, config(tmp_path, second(tmp_path), filling=(first(tmp_path),)))
    told(filling, config(tmp_path, first(tmp_path), filling=(second(tmp_path),)))
    assert filling.collections["shop"].index is before.index
    assert await before.index.count() == 1
    assert filling.filling["shop"].config.index.name == "shop-00000002"


async def test_the_model_changes_again_before_the_former_index_is_closed(
    filling: Service, tmp_path: Path
) -> None:
    third = collection(tmp_path, "shop", "shop-00000003")
    told(filling, config(tmp_path, second(tmp_path), filling=(third,)))
    assert filling.collections["shop"].config == second(tmp_path)
    await until(lambda: filling.filling)
    assert filling.filling["shop"].config == third
    told(filling, config(tmp_path, third, filling=(first(tmp_path),)))
    assert filling.collections["shop"].config == third
    await until(lambda: "shop" in filling.filling)
    assert await filling.filling["shop"].index.count() == 1


async def test_an_index_that_nothing_has_filled_is_opened_beside_the_one_that_answers(
    service: Service, tmp_path: Path
) -> None:
    former = service.collections["shop"]
    await former.index.delete([ID.format(1)])
    told(service, config(tmp_path, second(tmp_path)))
    assert service.collections["shop"] is former
    await until(lambda: service.collections["shop"] is not former)
    assert service.collections["shop"].config.index.name == "shop-00000002"
    assert list(service.models) == [OTHER]


@pytest.mark.parametrize(
    ("model", "why"),
    [(NOWHERE, "nowhere.pt"), (OTHER, "1 documents of collection shop that no source can bring")],
    ids=["weights", "documents"],
)
async def test_what_cannot_be_opened_leaves_the_former_index_to_answer_and_is_told(
    service: Service, tmp_path: Path, model: ModelSpec, why: str
) -> None:
    former = service.collections["shop"]
    told(service, config(tmp_path, second(tmp_path, model)))
    await until(lambda: service.not_switched)
    assert why in service.not_switched["shop"]
    assert service.collections["shop"] is former
    await service.canary("shop")
    told(service, config(tmp_path, first(tmp_path)))
    assert not service.not_switched
    assert service.collections["shop"] is former


async def test_an_index_that_cannot_be_filled_for_want_of_memory_is_told(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: 1_000_000)
    monkeypatch.setattr(room, "weights_bytes", lambda model, cache_dir: 2_000_000)
    told(service, config(tmp_path, first(tmp_path), filling=(second(tmp_path, OTHER),)))
    await until(lambda: service.not_switched)
    assert "and 1 MB are free beside the models that are loaded" in service.not_switched["shop"]
    await service.canary("shop")
    monkeypatch.undo()
    told(service, config(tmp_path, first(tmp_path)))
    assert not service.not_switched


async def test_the_same_model_in_other_settings_answers_over_the_same_index(
    service: Service, tmp_path: Path
) -> None:
    former = service.collections["shop"]
    told(service, config(tmp_path, first(tmp_path).model_copy(update={"model": OTHER})))
    await until(lambda: service.collections["shop"] is not former)
    assert service.collections["shop"].index is former.index
    assert list(service.models) == [OTHER]


async def test_a_process_that_is_told_no_index_opens_it_when_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "load_embedder", loaded)
    whole = config(tmp_path, first(tmp_path))
    service = await Service.start(heavy_of(whole))
    assert not service.collections
    with pytest.raises(ValueError, match="does not name the index of collection shop"):
        service.take(light_of(heavy_of(whole)))
    told(service, whole)
    await service.open_told()
    assert service.collections["shop"].config == first(tmp_path)
    assert service.config == whole
    await service.close()


def test_a_process_that_is_started_again_answers_from_the_index_that_its_file_names(
    tmp_path: Path,
) -> None:
    before, after = config(tmp_path, first(tmp_path)), config(tmp_path, second(tmp_path))
    file = tmp_path / "serving.json"
    file.write_text(after.model_dump_json(by_alias=True))
    assert as_of(file, before) == after
    file.write_text("{")
    assert as_of(file, before) == before
