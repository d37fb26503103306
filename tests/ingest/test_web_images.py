"""Images of the web: what is unchanged is not sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.support.servers import answering

from lookalike_crds.config import FetchPolicy
from lookalike_crds.progress import Progress
from lookalike_serving.ingest.progress import ProgressWriter
from lookalike_serving.ingest.run import run

from .conftest import Place


class Host(BaseHTTPRequestHandler):
    """Answers conditional requests, and notes how it was asked."""

    images: ClassVar[dict[str, bytes]] = {}
    tags: ClassVar[dict[str, str]] = {}
    seen: ClassVar[list[tuple[str, int]]] = []
    agents: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        tag = self.tags.get(self.path)
        same = tag is not None and self.headers.get("If-None-Match") == tag
        self.agents.add(str(self.headers.get("User-Agent")))
        self.seen.append((self.path, 304 if same else 200))
        self.send_response(304 if same else 200)
        if tag is not None:
            self.send_header("ETag", tag)
        data = b"" if same else self.images[self.path]
        if not same:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def host() -> Iterator[str]:
    Host.images, Host.tags, Host.seen = {}, {}, []
    with answering(Host) as url:
        yield url


def test_an_image_that_its_server_calls_unchanged_is_not_sent_again(
    place: Place, paint: Callable[..., Path], host: str, tmp_path: Path
) -> None:
    for number, name in enumerate(("/tagged.jpg", "/bare.jpg")):
        Host.images[name] = paint(tmp_path / f"{number}.jpg", number).read_bytes()
    manifest = place.folder / "list.csv"

    def ingest(price: int) -> Progress:
        rows = [f"{host}{name},{name[1:]},{price}" for name in Host.images]
        manifest.write_text("\n".join(["url,id,price", *rows]))
        source: dict[str, Any] = {
            "name": "web",
            "urls": {"manifest": str(manifest)},
            "metadata": {"documentId": "id"},
        }
        fetch = FetchPolicy(allow_private_addresses=True)
        config = place.config(source).model_copy(update={"fetch": fetch})
        Host.seen = []
        with ProgressWriter(config.progress_file, "shop") as writer:
            asyncio.run(run(config, writer))
        return place.progress()

    assert ingest(1).total.new == 2
    Host.tags = {"/tagged.jpg": '"one"'}
    assert ingest(1).total.unchanged == 2  # the tag is new, the bytes are not: it is noted
    before = place.documents()
    assert ingest(1).total.unchanged == 2
    assert sorted(Host.seen) == [("/bare.jpg", 200), ("/tagged.jpg", 304)]
    assert place.documents() == before
    ingest(2)  # other metadata, without a look at the image
    assert sorted(Host.seen) == [("/bare.jpg", 200), ("/tagged.jpg", 304)]
    assert {each["metadata"]["price"] for each in place.documents().values()} == {2.0}
    Host.images["/tagged.jpg"] = paint(tmp_path / "2.jpg", 7).read_bytes()
    Host.tags = {"/tagged.jpg": '"two"'}
    assert ingest(2).total.updated == 1
    assert all(agent.startswith("lookalike/") for agent in Host.agents)
