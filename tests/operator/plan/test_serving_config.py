"""The ServingConfig of a Retriever's pods."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.operator.plan.known import (
    EDGE,
    NAMESPACE,
    QDRANT,
    SETTINGS,
    VIT,
    facts,
    named,
    retriever,
)

from lookalike_crds.config import ServingConfig
from lookalike_crds.retriever import AccessSpec
from lookalike_operator.plan.model import CollectionFacts
from lookalike_operator.plan.retriever import plan_retriever
from lookalike_operator.plan.serving_config import public_url, service_url, short_url


def _config(*collections: CollectionFacts, **access: Any) -> ServingConfig:
    plan = plan_retriever(retriever({"access": access}, collections=collections))
    return ServingConfig.model_validate_json(named(plan, "ConfigMap")["data"]["serving.json"])


def test_collections_are_in_the_order_of_their_names() -> None:
    config = _config(facts(QDRANT, VIT, name="shoes"), facts(QDRANT, VIT, name="bags"))
    assert [each.name for each in config.collections] == ["bags", "shoes"]


def test_an_endpoint_on_a_network_always_asks_for_a_key() -> None:
    config = _config(facts(QDRANT, VIT))
    assert config.http.host == "0.0.0.0"
    assert config.access.api_keys_file is not None


def test_the_key_is_read_under_the_name_that_it_has_in_the_secret() -> None:
    config = _config(facts(QDRANT, VIT), apiKeysSecretRef={"name": "keys", "key": "mine.txt"})
    assert config.access.api_keys_file is not None
    assert config.access.api_keys_file.name == "mine.txt"


def test_batches_of_an_edge_collection_are_on_the_data_volume_and_others_on_the_server() -> None:
    edge, server = _config(facts(EDGE)), _config(facts(QDRANT, VIT))
    assert edge.batches_index.path is not None
    assert edge.batches_index.path.is_relative_to(edge.data_dir)
    assert server.batches_index.url == server.collections[0].index.url


def test_retrievers_of_a_namespace_share_the_batches_on_a_server_and_no_others_do() -> None:
    of_one = _config(facts(QDRANT, VIT)).batches_index
    of_other = _config(facts(QDRANT, VIT, name="archive")).batches_index
    assert of_one == of_other
    assert NAMESPACE in of_one.name


@pytest.mark.parametrize(
    ("access", "url"),
    [
        ({}, None),
        ({"ingress": {"host": "a.example"}}, "http://a.example"),
        ({"ingress": {"host": "a.example", "tlsSecretName": "tls"}}, "https://a.example"),
        ({"httpRoute": {"gateway": "g"}}, None),
        ({"httpRoute": {"gateway": "g", "hostnames": ["b.example"]}}, "https://b.example"),
    ],
)
def test_the_address_for_the_outside_is_the_one_that_is_exposed(
    access: dict[str, Any], url: str | None
) -> None:
    assert public_url(AccessSpec.model_validate(access)) == url


def test_pods_get_an_address_that_no_search_path_has_to_complete() -> None:
    assert service_url("search", "shop", SETTINGS).startswith(
        short_url("search", "shop").removesuffix(":8000") + "."
    )


def test_the_file_says_what_the_service_is_not_to_guess() -> None:
    """Uploads: where nothing keeps them, the service says so in its answers."""
    plan = plan_retriever(retriever(collections=(facts(QDRANT, VIT),)))
    text = json.loads(named(plan, "ConfigMap")["data"]["serving.json"])
    assert text["keeps_uploads"] is False
    assert _config(facts(EDGE)).keeps_uploads
