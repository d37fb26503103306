"""Configurations that operator and pods of different versions write and read.

`config_shape.json` pins the fields and defaults of version 1, as images read them that are in use.
Add a field that you add to it, once a release has it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from lookalike_crds.config import (
    IndexConfig,
    IngestionConfig,
    LightConfig,
    RetrieverConfig,
    ServingConfig,
    heavy_of,
    light_of,
    with_light,
)
from lookalike_crds.config_file import text_of, what_is_wrong
from lookalike_crds.image_collection import Engine
from lookalike_crds.retriever import SearchSpec
from lookalike_crds.stages import BoostStage

PINNED = Path(__file__).with_name("config_shape.json")
REQUIRED = "(required)"
OLDER = """
{
  "version": 1,
  "collections": [
    {
      "name": "shoes",
      "model": {"provider": "Demo"},
      "vector": {"distance": "Cosine"},
      "index": {"engine": "Edge", "name": "shoes-00000001", "path": "/indexes/shoes-00000001"},
      "fields": [{"name": "price", "type": "Float"}]
    }
  ],
  "retrievers": [{"name": "shop", "collections": [{"name": "shoes", "weight": 1.0}]}],
  "data_dir": "/data",
  "batches_index": {"engine": "Edge", "name": "batches", "path": "/indexes/batches"}
}
"""
"""As an operator writes it that knows nothing of indexes that are filled, or of `answering`."""


def shape() -> dict[str, dict[str, Any]]:
    """Of each type in a configuration: its fields with their defaults."""
    types: dict[str, Any] = {}
    roots: tuple[type[BaseModel], ...] = (ServingConfig, IngestionConfig, LightConfig)
    for root in roots:
        schema = root.model_json_schema(by_alias=True)
        types |= {root.__name__: schema, **schema.get("$defs", {})}
    return {
        name: {
            field: REQUIRED if field in each.get("required", ()) else said.get("default")
            for field, said in sorted(each["properties"].items())
        }
        for name, each in sorted(types.items())
        if "properties" in each
    }


def test_an_image_in_use_reads_what_is_written_and_the_other_way_round() -> None:
    pinned, now = json.loads(PINNED.read_text()), shape()
    for name, fields in pinned.items():
        for field, default in fields.items():
            told = f"{name}.{field}: images in use have it, with this default"
            assert field in now.get(name, {}), told
            assert now[name][field] == default, told
        for field in now[name].keys() - fields.keys():
            told = f"{name}.{field}: give it a default, which operators in use do not write"
            assert now[name][field] != REQUIRED, told


def test_what_is_at_its_default_is_not_written() -> None:
    config = ServingConfig.model_validate_json(OLDER)
    text = text_of(config)
    assert ServingConfig.model_validate_json(text) == config
    assert json.loads(text)["version"] == 1
    stage = BoostStage(field="price", value=1, weight=0.5)
    search = SearchSpec(stages=(stage,))
    boosted = RetrieverConfig(name="shop", collections=(), search=search)
    config = config.model_copy(update={"retrievers": (boosted,)})
    assert ServingConfig.model_validate_json(text_of(config)) == config
    assert "filling" not in text
    assert "copy_model" not in text
    assert LightConfig().as_json() == {}


def test_a_field_that_an_image_does_not_know_is_named_with_the_remedy() -> None:
    document = json.loads(OLDER)
    document["collections"][0]["colourful"] = True
    with pytest.raises(ValidationError) as failure:
        ServingConfig.model_validate(document)
    told = what_is_wrong(failure.value)
    assert told.startswith("collections.0.colourful: Lookalike ")
    assert "use an image of the version that wrote it" in told


def test_an_older_operator_tells_the_index_in_the_heavy_part_alone() -> None:
    config = ServingConfig.model_validate_json(OLDER)
    light = LightConfig.model_validate({"retrievers": light_of(config).as_json()["retrievers"]})
    taken = with_light(config, light)
    assert taken == config
    assert taken.collections[0].index.is_told
    batches = IndexConfig(engine=Engine.EDGE, name="batches", path=Path("/indexes/batches"))
    assert heavy_of(taken).batches_index == batches
