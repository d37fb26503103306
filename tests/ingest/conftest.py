"""A real server on loopback with an Edge index and the demo model; runs that write into it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.responses import Response

from lookalike_crds.config import (
    AccessConfig,
    CollectionConfig,
    HttpConfig,
    IndexConfig,
    IngestionConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    Engine,
    FieldSpec,
    FieldType,
    IngestionSpec,
    ModelSpec,
    VectorSpec,
)
from lookalike_crds.progress import Progress
from lookalike_crds.sources import SourceSpec
from lookalike_serving.gateway.api import create_api
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run
from lookalike_serving.service import Service

FIELDS = (
    FieldSpec(name="status", type=FieldType.KEYWORD),
    FieldSpec(name="price", type=FieldType.FLOAT),
    FieldSpec(name="stock", type=FieldType.INTEGER),
)
TOKEN = "ingestion-token-of-the-tests"


def paint(path: Path, seed: int, size: tuple[int, int] = (96, 80)) -> Path:
    """A picture no other seed gives."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


class Door:
    """In front of the server: lets every write in, or so many and no more until it is opened.

    So that a run can be looked at, stopped or killed in its middle on any machine. Writes that
    stood before the door are answered 503 when it opens: whoever sent them may try again.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._left: int | None = None

    def close_after(self, writes: int) -> None:
        self._left = writes

    def open(self) -> None:
        self._left = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._left is None or not scope.get("path", "").endswith("/points/upsert"):
            await self._app(scope, receive, send)
        elif self._left > 0:
            self._left -= 1
            await self._app(scope, receive, send)
        else:
            while self._left is not None:  # noqa: ASYNC110 - opened by another thread
                await asyncio.sleep(0.02)
            await Response(status_code=503)(scope, receive, send)


@dataclass
class Place:
    """One collection behind a server, and a folder of images beside it."""

    folder: Path
    url: str
    collection: CollectionConfig
    serving: ServingConfig
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None
    door: Door = field(init=False)

    def start(self) -> None:
        api = self.door = Door(create_api(lambda: Service.start(self.serving)))
        port = self.serving.http.port
        server = uvicorn.Server(uvicorn.Config(api, port=port, log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 120
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started
        self._server, self._thread = server, thread

    def stop(self) -> None:
        """May be called again."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(30)
            self._server = None

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def config(self, *sources: dict[str, Any], **ingestion: Any) -> IngestionConfig:
        given = sources or ({"name": "disk", "volume": {"path": str(self.images)}},)
        return IngestionConfig(
            collection=self.collection,
            sources=tuple(SourceSpec.model_validate(source) for source in given),
            ingestion=IngestionSpec.model_validate(ingestion),
            data_dir=self.folder / "data",
            gateway_url=self.url,
            internal_token_file=self.folder / "token",
            progress_file=self.folder / "progress.json",
        )

    def ingest(self, *sources: dict[str, Any], **ingestion: Any) -> Progress:
        """Run to the end in this process; what the progress file says then."""
        config = self.config(*sources, **ingestion)
        with ProgressWriter(config.progress_file, self.collection.name) as writer:
            asyncio.run(run(config, writer))
        return self.progress()

    def progress(self) -> Progress:
        return Progress.model_validate_json((self.folder / "progress.json").read_text())

    def documents(self) -> dict[str, dict[str, Any]]:
        """Every document of the index by its id, through the API, page by page."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            answer = httpx.get(
                f"{self.url}/v1/collections/shop/documents",
                params={"limit": 100, **({"cursor": cursor} if cursor else {})},
            ).json()
            found += answer["items"]
            cursor = answer.get("next_cursor")
            if not cursor:
                break
        by_id = {each["document_id"]: each for each in found}
        assert len(by_id) == len(found), "a document is there twice"
        return by_id


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    collection = CollectionConfig(
        name="shop",
        model=ModelSpec(),
        vector=VectorSpec(),
        index=IndexConfig(engine=Engine.EDGE, name="shop", path=tmp_path / "index"),
        fields=FIELDS,
    )
    config = ServingConfig(
        collections=(collection,),
        retrievers=(),
        data_dir=tmp_path / "served",
        http=HttpConfig(port=port),
        access=AccessConfig(internal_token_file=token),
        batches_index=IndexConfig(engine=Engine.EDGE, name="batches", path=tmp_path / "batches"),
    )
    (tmp_path / "images").mkdir()
    made = Place(tmp_path, f"http://127.0.0.1:{port}", collection, config)
    made.start()
    yield made
    made.stop()


@pytest.fixture(name="paint")
def painting() -> Callable[..., Path]:
    return paint
