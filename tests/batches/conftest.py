from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from desk import Desk, Shelf, open_desk

Restart = Callable[[], Awaitable[Desk]]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def restart(tmp_path: Path, shelf: Shelf) -> AsyncIterator[Restart]:
    """Starts this test's service, after ending the one before it in good order."""
    running: list[Desk] = []

    async def end() -> None:
        while running:
            await running.pop().close()

    async def start() -> Desk:
        await end()
        running.append(await open_desk(tmp_path, shelf))
        running[0].batches.start()
        return running[0]

    yield start
    await end()


@pytest.fixture
async def desk(restart: Restart) -> Desk:
    return await restart()
