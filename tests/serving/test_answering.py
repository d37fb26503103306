"""When a replica is healthy: it has answered a canary query, and still does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from served import serving_config
from tests.qdrant_server import running
from tests.qdrant_server.fronts import fronts

from lookalike_crds.config import IndexConfig
from lookalike_crds.image_collection import Engine, ModelSpec, Provider
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
    # What answered once and no longer does is ill: a restart opens an Edge index anew.
    service.failures = {"catalogue": away}
    with pytest.raises(RuntimeError, match="is unreachable"):
        await health.check(service)
    service.failures = {}
    await health.check(service)


async def test_an_outage_of_the_index_server_never_makes_a_replica_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(answering, "CANARY_SECONDS", 1.0)
    config = serving_config(tmp_path)
    with running(api_key="key") as server:
        key = tmp_path / "key"
        _write(key, "key")
        async with fronts(server) as (node,):
            index = IndexConfig(
                engine=Engine.QDRANT,
                name="catalogue",
                url=node.url,
                grpc_port=node.grpc_port,
                api_key_file=key,
            )
            (collection,) = config.collections
            on_server = collection.model_copy(update={"index": index})
            service = await Service.start(config.model_copy(update={"collections": (on_server,)}))
            health = Health()
            try:
                await health.check(service)
                await node.kill()
                for _ in range(5):
                    await health.check(service)
                assert caplog.text.count("collections.catalogue does not answer") == 1, "told once"
                await node.start()
                await _until_it_answers(service)
                await health.check(service)
                # Silent, and refusing: a restart would mend neither.
                node.vanish()
                await health.check(service)
                await node.kill()
                await node.start()
                server.faults(unauthenticated=True)
                await health.check(service)
                server.heal()
            finally:
                await service.close()


def _write(file: Path, text: str) -> None:
    file.write_text(text)


async def _until_it_answers(service: Service) -> None:
    async with asyncio.timeout(20):
        while True:
            if not any((await answering.silent_parts(service)).values()):
                return
            await asyncio.sleep(0.05)
