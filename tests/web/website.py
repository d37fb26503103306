"""A running service with a small catalogue, for a browser to look at."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from lookalike_crds.config import (
    AccessConfig,
    CollectionConfig,
    IndexConfig,
    RetrieverConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    Engine,
    FieldSpec,
    FieldType,
    ModelSpec,
    Provider,
    VectorSpec,
)
from lookalike_crds.retriever import CollectionRef
from lookalike_serving.demo.catalogue import METADATA_FILE
from lookalike_serving.gateway.api import create_api
from lookalike_serving.service import Service

FIELDS = (
    FieldSpec(name="kind", type=FieldType.KEYWORD),
    FieldSpec(name="colour", type=FieldType.KEYWORD),
    FieldSpec(name="pattern", type=FieldType.KEYWORD),
    FieldSpec(name="maker", type=FieldType.KEYWORD),
    FieldSpec(name="price", type=FieldType.FLOAT),
    FieldSpec(name="in_stock", type=FieldType.BOOL),
    FieldSpec(name="added", type=FieldType.DATETIME),
)


def config(folder: Path, api_keys_file: Path | None = None) -> ServingConfig:
    """A catalogue, an empty collection, and a retriever over each."""
    return ServingConfig(
        collections=tuple(
            CollectionConfig(
                name=name,
                model=ModelSpec(provider=Provider.DEMO),
                vector=VectorSpec(),
                index=IndexConfig(engine=Engine.EDGE, name=name, path=folder / "indexes" / name),
                fields=FIELDS,
            )
            for name in ("catalogue", "empty")
        ),
        retrievers=(
            RetrieverConfig(name="products", collections=(CollectionRef(name="catalogue"),)),
            RetrieverConfig(name="void", collections=(CollectionRef(name="empty"),)),
        ),
        data_dir=folder,
        access=AccessConfig(api_keys_file=api_keys_file),
        batches_index=IndexConfig(engine=Engine.EDGE, name="batches", path=folder / "batches"),
    )


@contextmanager
def serving(config: ServingConfig) -> Iterator[str]:
    """The address of the real app, served by uvicorn in a thread on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = create_api(lambda: Service.start(config))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        deadline = time.monotonic() + 180
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the service did not start: see its log above")
            time.sleep(0.02)
        try:
            yield address
        finally:
            server.should_exit = True
            thread.join(20)


def fill(address: str, catalogue: Path) -> list[dict[str, Any]]:
    """Store a rendered catalogue as one batch; its entries."""
    lines = (catalogue / METADATA_FILE).read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    rows = []
    for entry in entries:
        metadata = {k: v for k, v in entry.items() if k not in ("file", "document_id", "status")}
        metadata["in_stock"] = entry["status"] == "active"
        rows.append(
            {"file": entry["file"], "document_id": entry["document_id"], "metadata": metadata}
        )
    with httpx.Client(base_url=address, timeout=120) as client:
        files = [("image", (e["file"], (catalogue / e["file"]).read_bytes())) for e in entries]
        sent = client.post(
            "/v1/collections/catalogue/batches", data={"items": json.dumps(rows)}, files=files
        )
        sent.raise_for_status()
        batch = sent.json()
        while batch["state"] in ("QUEUED", "RUNNING"):
            time.sleep(0.05)
            batch = client.get(sent.headers["location"]).json()
        if batch["state"] != "COMPLETED":
            raise RuntimeError(f"the catalogue was not stored: {batch}")
    return entries
