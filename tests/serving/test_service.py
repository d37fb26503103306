"""What a serving process holds: parts that fail alone, and come back by themselves."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.support import configs
from tests.support.configs import collection
from tests.support.servers import api_of, client_of

from lookalike_crds.backoff import Backoff
from lookalike_crds.config import ServingConfig
from lookalike_serving import service as service_module
from lookalike_serving.index.protocol import Point
from lookalike_serving.problems import Problem
from lookalike_serving.service import Service


def serving_config(folder: Path) -> ServingConfig:
    return configs.serving_config(
        folder, collection(folder, "sound"), collection(folder, "blocked")
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
    monkeypatch.setattr(service_module, "_REOPENING", Backoff(base=0.05))
    in_the_way = tmp_path / "indexes" / "blocked"
    in_the_way.parent.mkdir()
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


async def upload(service: Service, collection: str) -> str:
    """One document, as it is stored; returns its id."""
    state = service.collection(collection)
    id = "00000000-0000-0000-0000-000000000001"
    vector = np.ones(state.embedder.info.dimension, dtype=np.float32)
    await state.index.upsert([Point(id, vector, {})])
    return id


async def told_of(config: ServingConfig, name: str) -> str | None:
    async with client_of(api_of(config)) as api:
        warnings = (await api.get(f"/v1/collections/{name}")).json()["warnings"]
        return warnings[0] if warnings else None


async def test_an_index_that_has_lost_its_documents_says_so_until_it_has_some(
    tmp_path: Path,
) -> None:
    config = serving_config(tmp_path)
    service = await Service.start(config)
    await upload(service, "sound")
    await service.close()
    assert await told_of(config, "sound") is None
    shutil.rmtree(tmp_path / "indexes" / "sound")
    for _ in range(2):  # it does not forget by being looked at
        told = await told_of(config, "sound")
        assert told is not None
        assert "index sound held 1 documents and holds none" in told
        assert await told_of(config, "blocked") is None
    service = await Service.start(config)
    await upload(service, "sound")
    await service.close()
    assert await told_of(config, "sound") is None


async def test_documents_that_were_deleted_are_not_lost(tmp_path: Path) -> None:
    config = serving_config(tmp_path)
    service = await Service.start(config)
    id = await upload(service, "sound")
    await service.close()
    service = await Service.start(config)
    await service.collection("sound").index.delete([id])
    await service.close()
    assert await told_of(config, "sound") is None
