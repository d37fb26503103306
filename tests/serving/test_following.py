"""A changed config file reaches a running service, as far as no restart is needed for it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support import configs
from tests.support.configs import collection, retriever

from lookalike_crds.config import (
    AccessConfig,
    RetrieverConfig,
    ServingConfig,
    light_of,
)
from lookalike_crds.retriever import CollectionRef, SearchSpec
from lookalike_serving.following import follow
from lookalike_serving.service import Service


class MountedConfig:
    """A ConfigMap's folder as the kubelet keeps it: `..data` is a link that is swapped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version = 0
        self.path = folder / "serving.json"
        folder.mkdir()
        self.path.symlink_to("..data/serving.json")

    def write(self, content: str) -> None:
        self._version += 1
        version = self._folder / f"..{self._version}"
        version.mkdir()
        (version / "serving.json").write_text(content)
        new = self._folder / "..data_tmp"
        new.symlink_to(version.name)
        os.replace(new, self._folder / "..data")


def serving_config(folder: Path, top_k: int = 10) -> ServingConfig:
    shop = retriever("shop", "shoes", search=SearchSpec(top_k=top_k))
    return configs.serving_config(folder, collection(folder, "shoes"), retrievers=(shop,))


@asynccontextmanager
async def followed(folder: Path, mounted: MountedConfig) -> AsyncIterator[Service]:
    """A service that holds what a config says – nothing needs to be open for this."""
    service = Service(serving_config(folder))
    mounted.write(service.config.model_dump_json(by_alias=True))
    task = asyncio.create_task(follow(mounted.path, service, poll_seconds=0.02))
    try:
        yield service
    finally:
        task.cancel()
        await service.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 – what is waited for is a log line, too
            await asyncio.sleep(0.01)


@pytest.fixture
def mounted(tmp_path: Path) -> MountedConfig:
    return MountedConfig(tmp_path / "mounted")


async def test_defaults_and_limits_are_taken_over(tmp_path: Path, mounted: MountedConfig) -> None:
    async with followed(tmp_path, mounted) as service:
        wanted = serving_config(tmp_path, top_k=3).model_copy(
            update={"access": AccessConfig(rate_limit_per_second=7)}
        )
        mounted.write(wanted.model_dump_json(by_alias=True))
        await until(lambda: service.config == wanted)
        assert service.retriever("shop").search.top_k == 3


async def test_what_needs_a_restart_is_left_and_said(
    tmp_path: Path, mounted: MountedConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lookalike.config")
    async with followed(tmp_path, mounted) as service:
        before = service.config
        wanted = serving_config(tmp_path, top_k=4).model_copy(update={"data_dir": tmp_path / "x"})
        mounted.write(wanted.model_dump_json(by_alias=True))
        await until(lambda: "with the next start" in caplog.text)
        assert service.config.data_dir == before.data_dir
        assert light_of(service.config) == light_of(wanted)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "Invalid JSON"),
        ('{"version": 2}', "version"),
    ],
)
async def test_a_file_that_makes_no_sense_changes_nothing(
    tmp_path: Path,
    mounted: MountedConfig,
    caplog: pytest.LogCaptureFixture,
    content: str,
    word: str,
) -> None:
    async with followed(tmp_path, mounted) as service:
        before = service.config
        mounted.write(content)
        await until(lambda: "is ignored" in caplog.text)
        assert word in caplog.text
        assert service.config is before
        mounted.write(serving_config(tmp_path, top_k=5).model_dump_json(by_alias=True))
        await until(lambda: service.retriever("shop").search.top_k == 5)
        assert caplog.text.count("is ignored") == 1


async def test_a_search_of_a_collection_that_is_not_served_waits_for_the_restart(
    tmp_path: Path, mounted: MountedConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(tmp_path, mounted) as service:
        before = service.config
        bags = RetrieverConfig(name="shop", collections=(CollectionRef(name="bags"),))
        wanted = before.model_copy(update={"retrievers": (bags,)})
        mounted.write(wanted.model_dump_json(by_alias=True))
        await until(lambda: "collection bags, which is not served here" in caplog.text)
        assert service.config is before
