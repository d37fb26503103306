"""The ConfigMaps: the files that pods read, byte for byte the same for the same configuration."""

from __future__ import annotations

import json

from tests.operator.plan.known import EDGE, PHOTOS, QDRANT, VIT, collection, facts, named, retriever
from tests.operator.plan.moments import on_server

from lookalike_crds.config import IngestionConfig, ServingConfig
from lookalike_crds.config_file import text_of
from lookalike_operator.plan import config_map
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.names import Owner
from lookalike_operator.plan.retriever import plan_retriever


def _serving() -> ServingConfig:
    plan = plan_retriever(retriever(collections=(facts(QDRANT, VIT),)))
    return ServingConfig.model_validate_json(named(plan, "ConfigMap")["data"]["serving.json"])


def test_what_is_rendered_is_read_back_as_the_same_configuration() -> None:
    config = _serving()
    text = text_of(config)
    assert ServingConfig.model_validate_json(text) == config
    assert text.endswith("}\n"), "a last line without an end is a difference in every editor"


def test_the_files_are_in_the_order_of_their_names() -> None:
    """Sources in another order must not change the ConfigMap."""
    plan = plan_collection(on_server(PHOTOS))
    text = named(plan, "ConfigMap")["data"]["ingestion.json"]
    config = IngestionConfig.model_validate_json(text)
    owner = Owner("ImageCollection", collection(EDGE, PHOTOS).meta)
    one = config_map.ingestion(owner, {"b.json": config, "a.json": config})
    assert json.dumps(one) == json.dumps(
        config_map.ingestion(owner, {"a.json": config, "b.json": config})
    )


def test_a_collection_and_a_retriever_of_one_name_have_a_config_map_each() -> None:
    of_serving = config_map.serving(Owner("Retriever", facts(name="shoes").meta), _serving())
    of_ingestion = config_map.ingestion(Owner("ImageCollection", facts(name="shoes").meta), {})
    assert of_serving["metadata"]["name"] != of_ingestion["metadata"]["name"]
