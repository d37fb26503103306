"""A running service with a small catalogue, for a browser to look at."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
from tests.support.configs import collection, retriever, serving_config

from lookalike_crds.config import (
    AccessConfig,
    ServingConfig,
)
from lookalike_crds.image_collection import (
    FieldSpec,
    FieldType,
)
from lookalike_serving.demo.catalogue import METADATA_FILE

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
    return serving_config(
        folder,
        collection(folder, "catalogue", fields=FIELDS),
        collection(folder, "empty", fields=FIELDS),
        retrievers=(retriever("products", "catalogue"), retriever("void", "empty")),
        access=AccessConfig(api_keys_file=api_keys_file),
    )


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
