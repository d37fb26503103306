"""The engines that the contract tests run against.

Qdrant Edge and qdrant-client's local mode always, the latter also across the wire (`wire` and
`rest`: the stand-in of tests/qdrant_server over gRPC and over REST); a real Qdrant server where
LOOKALIKE_QDRANT_URL names one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from tests.qdrant_server import StandIn, running

from lookalike_crds.image_collection import FieldSpec, VectorSpec
from lookalike_serving.index.edge import EdgeIndex
from lookalike_serving.index.protocol import Index
from lookalike_serving.index.qdrant import QdrantIndex
from lookalike_serving.index.qdrant_client import CredentialFiles, client_of
from lookalike_serving.index.qdrant_collection import Wanted
from lookalike_serving.index.qdrant_connection import Connection, connected
from lookalike_serving.index.spaces import CopySpace

QDRANT_URL = os.environ.get("LOOKALIKE_QDRANT_URL")


class Engine(Protocol):
    """Opens one and the same index as often as it is asked to."""

    name: str

    async def open(
        self,
        *,
        dimension: int | None = 4,
        vector: VectorSpec | None = None,
        fingerprint: str | None = "model-a",
        fields: tuple[FieldSpec, ...] = (),
        copies: CopySpace | None = None,
    ) -> Index: ...

    async def open_payload(self) -> Index: ...

    async def end(self) -> None: ...


class EdgeEngine:
    name = "edge"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[EdgeIndex] = []

    async def open(
        self, *, dimension=4, vector=None, fingerprint="model-a", fields=(), copies=None
    ):
        return await self._open(vector or VectorSpec(), dimension, fingerprint, fields, copies)

    async def open_payload(self):
        return await self._open(None, None, None, ())

    async def _open(self, vector, dimension, fingerprint, fields, copies=None):
        index = await EdgeIndex.open(
            self._folder,
            vector=vector,
            dimension=dimension,
            fingerprint=fingerprint,
            fields=fields,
            lock_wait_seconds=0,
            copies=copies,
        )
        self._opened.append(index)
        return index

    async def end(self) -> None:
        for index in self._opened:
            await index.close()


class QdrantEngine:
    """One client for all openings: local mode keeps its data in it."""

    def __init__(self, name: str, url: str, grpc_port: int | None = 6334) -> None:
        self.name = name
        self._connection = Connection({url: client_of(url, grpc_port)})
        self._collection = f"test-{uuid.uuid4()}"

    async def open(
        self, *, dimension=4, vector=None, fingerprint="model-a", fields=(), copies=None
    ):
        return await self._open(vector or VectorSpec(), dimension, fingerprint, fields, copies)

    async def open_payload(self):
        return await self._open(None, None, None, ())

    async def _open(self, vector, dimension, fingerprint, fields, copies=None):
        wanted = Wanted(
            self._collection, vector, dimension, fingerprint, tuple(fields), copies=copies
        )
        index = await QdrantIndex.open_with(self._connection, wanted)
        index.close = _nothing  # the client is shared with the next opening
        return index

    async def end(self) -> None:
        await self._connection.call("ending", lambda c: c.delete_collection(self._collection))
        await self._connection.close()


async def _nothing() -> None: ...


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder, in memory where the system has that: Edge syncs often, disks are slow."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if usable else None) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def shared_stand_in() -> Iterator[StandIn]:
    """One for all tests: starting it takes seconds."""
    with running() as server:
        yield server


@pytest.fixture
def stand_in(shared_stand_in: StandIn) -> Iterator[StandIn]:
    """A stand-in for a Qdrant server, without faults at the start and at the end."""
    shared_stand_in.heal()
    asyncio.run(_until_it_answers(shared_stand_in))
    yield shared_stand_in
    shared_stand_in.heal()


async def _until_it_answers(server: StandIn) -> None:
    """gRPC keeps a connection that an earlier test's faults broke, and its back-off, for the next
    who asks for the same address."""
    connection = connected([server.url], server.grpc_port, CredentialFiles(), patience_seconds=60)
    await connection.call("waiting", lambda client: client.get_collections())
    await connection.close()


@pytest.fixture(
    params=[
        "edge",
        "local",
        "wire",
        "rest",
        pytest.param(
            "server",
            marks=[
                pytest.mark.qdrant,
                pytest.mark.skipif(
                    QDRANT_URL is None,
                    reason="no Qdrant server: set LOOKALIKE_QDRANT_URL, such as http://host:6333",
                ),
            ],
        ),
    ]
)
async def engine(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Engine]:
    match request.param:
        case "edge":
            made: Engine = EdgeEngine(folder / "index")
        case "local":
            made = QdrantEngine("local", ":memory:")
        case "wire":
            server: StandIn = request.getfixturevalue("shared_stand_in")
            made = QdrantEngine("wire", server.url, server.grpc_port)
        case "rest":
            server = request.getfixturevalue("shared_stand_in")
            made = QdrantEngine("rest", server.url, grpc_port=None)
        case "server":
            assert QDRANT_URL is not None
            made = QdrantEngine("server", QDRANT_URL)
    yield made
    await made.end()
