"""CustomResourceDefinitions put into a cluster, and waited for until their kinds are served."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.api import Api
from e2e.cluster.paths import ROOT
from e2e.cluster.waiting import until

_SECONDS = 120.0


def install(api: Api, files: Iterable[Path] | None = None) -> None:
    """Apply definitions: the files, or the project's own. Raises Refused or DidNotStart."""
    chosen = sorted((ROOT / "crds").glob("*.yaml")) if files is None else list(files)
    definitions = [yaml.safe_load(file.read_text()) for file in chosen]
    for definition in definitions:
        api.apply(definition)
    for definition in definitions:
        until(
            lambda definition=definition: _served(api, definition),  # type: ignore[misc]
            f"kind {definition['spec']['names']['kind']} served by the API server",
            _SECONDS,
        )


def _served(api: Api, definition: dict[str, Any]) -> bool:
    group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
    versions = [each["name"] for each in definition["spec"]["versions"] if each["served"]]
    for version in versions:
        listed = api.find(f"/apis/{group}/{version}")
        if listed is None or plural not in {each["name"] for each in listed["resources"]}:
            return False
    return True
