"""The API server takes every kind of source as the docs write it, and refuses what is no source."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from e2e.cluster.api import Api, Refused
from e2e.cluster.paths import ROOT

from lookalike_crds.load import load_resources

pytestmark = pytest.mark.apiserver

_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRONG = {
    "endpoint": {"bucket": "photos", "endpoint": "minio:9000"},
    "endpoint with a key in it": {"bucket": "photos", "endpoint": "https://key@minio"},
    "time without a zone": {"bucket": "photos", "modifiedAfter": "2024-05-01T12:00:00"},
    "no bucket": {"prefix": "2024/"},
}


def test_each_kind_as_the_docs_write_it(api: Api, namespace: str) -> None:
    for page in sorted((ROOT / "docs" / "sources").glob("*.md")):
        for block in _YAML.findall(page.read_text()):
            document = yaml.safe_load(block)
            document["metadata"]["namespace"] = namespace
            api.apply(document)


@pytest.mark.parametrize("s3", WRONG.values(), ids=WRONG)
def test_what_is_no_source_is_refused_here_and_there(
    api: Api, namespace: str, s3: dict[str, Any]
) -> None:
    document = {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": "ImageCollection",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"sources": [{"name": "cloud", "s3": s3}]},
    }
    assert load_resources(yaml.safe_dump(document)).errors
    with pytest.raises(Refused):
        api.apply(document)
