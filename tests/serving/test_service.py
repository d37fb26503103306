"""What a serving process holds: parts that fail alone, and come back by themselves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lookalike_crds.config import CollectionConfig, IndexConfig, ServingConfig
from lookalike_crds.image_collection import Engine, ModelSpec, VectorSpec
from lookalike_serving import service as service_module
from lookalike_serving.problems import Problem
from lookalike_serving.service import Service


def serving_config(folder: Path) -> ServingConfig:
    return ServingConfig(
        collections=tuple(
            CollectionConfig(
                name=name,
                model=ModelSpec(),
                vector=VectorSpec(),
                index=IndexConfig(engine=Engine.EDGE, name=name, path=folder / name),
            )
            for name in ("sound", "blocked")
        ),
        retrievers=(),
        data_dir=folder,
        batches_index=IndexConfig(engine=Engine.EDGE, name="batches", path=folder / "batches"),
    )


async def test_collections_of_one_model_share_it(tmp_path: Path) -> None:
    service = await Service.start(serving_config(tmp_path))
    sound, blocked = service.collection("sound"), service.collection("blocked")
    assert sound.embedder is blocked.embedder
    await service.close()


async def test_a_closed_service_gives_its_indexes_back(tmp_path: Path) -> None:
    for _ in range(2):
        service = await Service.start(serving_config(tmp_path))
        await service.canary("sound")
        assert service.failures == {}
        await service.close()


async def test_a_collection_that_could_not_open_opens_when_the_cause_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_FIRST_RETRY_SECONDS", 0.05)
    in_the_way = tmp_path / "blocked"
    in_the_way.write_text("a file where the index's folder should be")
    service = await Service.start(serving_config(tmp_path))
    await service.canary("sound")
    with pytest.raises(Problem) as refused:
        service.collection("blocked")
    assert refused.value.status == 503
    assert str(in_the_way) in refused.value.detail
    in_the_way.unlink()
    async with asyncio.timeout(60):
        await service.until_open()
    await service.canary("blocked")
    await service.close()


async def test_an_unknown_collection_is_told_from_a_closed_one(tmp_path: Path) -> None:
    service = await Service.start(serving_config(tmp_path))
    with pytest.raises(Problem, match="Served here: blocked, sound") as refused:
        service.collection("other")
    assert refused.value.status == 404
    await service.close()
