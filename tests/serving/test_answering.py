"""When a replica is healthy: it has answered a canary query, and still does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from served import serving_config

from lookalike_crds.image_collection import ModelSpec, Provider
from lookalike_serving import answering
from lookalike_serving.answering import Health
from lookalike_serving.index.protocol import IndexUnavailable
from lookalike_serving.service import Failure, Service


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    service = await Service.start(serving_config(tmp_path))
    yield service
    await service.close()


async def test_a_replica_without_weights_is_never_healthy_and_says_why(tmp_path: Path) -> None:
    config = serving_config(tmp_path)
    (collection,) = config.collections
    model = ModelSpec(provider=Provider.OPEN_CLIP, name="ViT-B-32", weights="/nowhere/missing.pt")
    broken = collection.model_copy(update={"model": model})
    service = await Service.start(config.model_copy(update={"collections": (broken,)}))
    try:
        with pytest.raises(RuntimeError, match=r"collections\.catalogue: .*missing\.pt"):
            await Health().check(service)
    finally:
        await service.close()


async def test_before_its_first_answer_it_waits_for_an_index_that_is_away(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_AGAIN_SECONDS", 0.01)
    away = Failure.of(IndexUnavailable("http://qdrant:6333 is unreachable"))
    looks = 0

    class Returning(dict[str, Failure]):
        def __contains__(self, key: object) -> bool:
            nonlocal looks
            looks += 1
            return looks < 4

        def __getitem__(self, key: str) -> Failure:
            return away

    service.failures = Returning()
    health = Health()
    await health.check(service)
    assert looks == 4
    # What answered once and no longer does is ill, whatever the reason.
    service.failures = {"catalogue": away}
    with pytest.raises(RuntimeError, match="is unreachable"):
        await health.check(service)
    service.failures = {}
    await health.check(service)
