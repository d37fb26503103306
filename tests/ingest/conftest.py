"""A real server on loopback with an Edge index and the demo model; runs that write into it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from starlette.responses import Response
from tests.support.configs import collection, serving_config
from tests.support.object_store import S3Server, s3_server
from tests.support.pictures import paint
from tests.support.ports import free_port
from tests.support.servers import api_of, listening

from lookalike_crds.config import (
    AccessConfig,
    CarryOver,
    CollectionConfig,
    HttpConfig,
    IngestionConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    FieldSpec,
    FieldType,
    IngestionSpec,
)
from lookalike_crds.progress import Progress
from lookalike_crds.sources import SourceSpec, buckets_of
from lookalike_serving.books import BULK_NAME
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run

FIELDS = (
    FieldSpec(name="status", type=FieldType.KEYWORD),
    FieldSpec(name="price", type=FieldType.FLOAT),
    FieldSpec(name="stock", type=FieldType.INTEGER),
)
TOKEN = "ingestion-token-of-the-tests"


class Door:
    """In front of the server: lets every write of documents in, or so many and no more until it is
    opened.

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
        if self._left is None or not _writes_documents(scope):
            await self._app(scope, receive, send)
        elif self._left > 0:
            self._left -= 1
            await self._app(scope, receive, send)
        else:
            while self._left is not None:  # noqa: ASYNC110 - opened by another thread
                await asyncio.sleep(0.02)
            await Response(status_code=503)(scope, receive, send)


def _writes_documents(scope: Any) -> bool:
    """Whether a request writes into the collection's own index, not into that of its records."""
    into = parse_qs(scope.get("query_string", b"").decode()).get("index")
    return str(scope.get("path", "")).endswith("/points/upsert") and into != [BULK_NAME]


@dataclass
class Place:
    """One collection behind a server, and a folder of images beside it."""

    folder: Path
    url: str
    collection: CollectionConfig
    serving: ServingConfig
    door: Door = field(init=False)
    _running: ExitStack = field(init=False, default_factory=ExitStack)

    def start(self) -> None:
        self.door = Door(api_of(self.serving))
        self._running.enter_context(listening(self.door, self.serving.http.port))

    def restart(self, **changes: Any) -> None:
        """With other settings of the server."""
        self.stop()
        self.serving = self.serving.model_copy(update=changes)
        self.start()

    def stop(self) -> None:
        """May be called again."""
        self._running.close()

    @property
    def images(self) -> Path:
        return self.folder / "images"

    def config(
        self, *sources: dict[str, Any], carry: CarryOver | None = None, **ingestion: Any
    ) -> IngestionConfig:
        given = sources or ({"name": "disk", "volume": {"path": str(self.images)}},)
        specs = tuple(SourceSpec.model_validate(source) for source in given)
        secrets = self.folder / "secrets"
        return IngestionConfig(
            collection=self.collection,
            sources=specs,
            buckets=buckets_of(specs, secrets),
            ingestion=IngestionSpec.model_validate(ingestion),
            data_dir=self.folder / "data",
            gateway_url=self.url,
            internal_token_file=self.folder / "token",
            secrets_dir=secrets,
            progress_file=self.folder / "progress.json",
            carry=carry,
        )

    def ingest(
        self, *sources: dict[str, Any], carry: CarryOver | None = None, **ingestion: Any
    ) -> Progress:
        """Run to the end in this process; what the progress file says then."""
        config = self.config(*sources, carry=carry, **ingestion)
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
    port = free_port()
    shop = collection(tmp_path, "shop", fields=FIELDS)
    config = serving_config(
        tmp_path,
        shop,
        data_dir=tmp_path / "served",
        http=HttpConfig(port=port),
        access=AccessConfig(internal_token_file=token),
    )
    (tmp_path / "images").mkdir()
    made = Place(tmp_path, f"http://127.0.0.1:{port}", shop, config)
    made.start()
    yield made
    made.stop()


@pytest.fixture(name="paint")
def painting() -> Callable[..., Path]:
    return paint


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A server of S3 without buckets."""
    with s3_server() as server:
        yield server
