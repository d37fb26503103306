"""ConfigMaps with the files that serving and ingestion pods read, one JSON file each."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike_crds.config import IngestionConfig, ServingConfig
from lookalike_crds.config_file import text_of
from lookalike_operator.plan.model import Manifest
from lookalike_operator.plan.names import (
    Component,
    Owner,
    ingestion_config_map,
    serving_config_map,
)
from lookalike_operator.plan.places import SERVING_FILE


def serving(owner: Owner, config: ServingConfig) -> Manifest:
    """`<retriever>-config`: mounted as a folder, so that a change reaches running pods."""
    return _config_map(
        owner,
        serving_config_map(owner.name),
        Component.SERVING,
        {SERVING_FILE: text_of(config)},
    )


def ingestion(owner: Owner, configs: Mapping[str, IngestionConfig]) -> Manifest:
    """`<collection>-ingestion`. `configs`: name of the file -> its content."""
    return _config_map(
        owner,
        ingestion_config_map(owner.name),
        Component.INGESTION,
        {name: text_of(config) for name, config in sorted(configs.items())},
    )


def _config_map(owner: Owner, name: str, component: Component, data: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": owner.metadata(name, component),
        "data": dict(data),
    }
