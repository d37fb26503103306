"""The manifests themselves, byte for byte: a change of one is seen in review.

`LOOKALIKE_WRITE_GOLDEN=1 pytest tests/operator/plan/test_golden.py` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.operator.plan.known import (
    ALL_APIS,
    EDGE,
    OTHER,
    PHOTOS,
    QDRANT,
    VIT,
    collection,
    facts,
    pod,
    retriever,
    searching,
)

from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import CollectionSnapshot, Plan, RetrieverSnapshot
from lookalike_operator.plan.retriever import plan_retriever

GOLDEN = Path(__file__).parent / "golden"

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {
        "name": "catalogue-index",
        "namespace": "shop",
        "uid": "uid-of-claim",
        "ownerReferences": [{"uid": "uid-of-catalogue"}],
    },
    "spec": {"resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "standard"},
    "status": {"phase": "Bound"},
}
GPU = {"limits": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}}

CASES: dict[str, CollectionSnapshot | RetrieverSnapshot] = {
    "collection-edge": collection(EDGE, PHOTOS, children=(CLAIM,), retrievers=(searching(),)),
    "collection-edge-retained": collection(EDGE, {"deletionPolicy": "Retain"}),
    "collection-qdrant": collection(
        {
            "index": {
                "engine": "Qdrant",
                "qdrant": {
                    "url": "https://qdrant.example:6333",
                    "apiKeySecretRef": {"name": "qdrant-key", "key": "api-key"},
                    "shards": 2,
                },
            },
            "fields": [{"name": "kind", "type": "Keyword"}, {"name": "price", "type": "Float"}],
            "sources": [
                {
                    "name": "shelf",
                    "volume": {"path": "/", "claimName": "photos"},
                    "schedule": "0 3 * * *",
                    "deleteMissing": True,
                },
                {"name": "feed", "urls": {"manifest": "https://feeds.example/products.csv"}},
            ],
            "ingestion": {
                "parallelism": 4,
                "resources": {"requests": {"cpu": "2", "memory": "4Gi"}},
                "podTemplate": {
                    "metadata": {"labels": {"team": "search"}},
                    "spec": {
                        "nodeSelector": {"pool": "batch"},
                        "containers": [
                            {"name": "ingestion", "env": [{"name": "HF_HOME", "value": "/tmp/hf"}]}
                        ],
                    },
                },
            },
        },
        VIT,
    ),
    "collection-ray": collection(
        QDRANT,
        PHOTOS,
        VIT,
        {
            "ingestion": {
                "runtime": "Ray",
                "parallelism": 4,
                "resources": {"requests": {"cpu": "8", "memory": "16Gi"}},
                "ray": {"embedders": {"maxReplicas": 2, "resources": GPU}},
            },
        },
        apis=ALL_APIS,
    ),
    "retriever-edge": retriever(collections=(facts(EDGE, PHOTOS),)),
    "retriever-qdrant": retriever(
        {
            "search": {"topK": 20, "minScore": 0.2},
            "serving": {
                "replicas": 3,
                "image": "registry.example/own:2",
                "resources": GPU,
                "storage": {"size": "50Gi", "storageClassName": "shared"},
                "podTemplate": {
                    "spec": {
                        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                        "containers": [
                            {
                                "name": "log-shipper",
                                "image": "registry.example/log:1",
                                "securityContext": {
                                    "allowPrivilegeEscalation": False,
                                    "capabilities": {"drop": ["ALL"]},
                                },
                            }
                        ],
                    }
                },
            },
            "access": {
                "apiKeysSecretRef": {"name": "keys", "key": "api"},
                "ingress": {"host": "search.example", "className": "nginx",
                            "tlsSecretName": "search-tls"},
                "networkPolicy": True,
                "rateLimit": {"requestsPerSecond": 50},
            },
        },
        collections=(facts(QDRANT, VIT), facts(QDRANT, OTHER, name="archive")),
    ),
    "retriever-kuberay": retriever(
        {
            "serving": {
                "runtime": "KubeRay",
                "replicas": 2,
                "resources": GPU,
                "podTemplate": {"spec": {"nodeSelector": {"accelerator": "nvidia"}}},
                "rayCluster": {
                    "workerGroupSpecs": [{"groupName": "serving", "maxReplicas": 8}],
                },
            },
            "access": {
                "httpRoute": {"gateway": "public", "hostnames": ["search.example"]},
                "networkPolicy": True,
            },
        },
        collections=(facts(QDRANT, VIT),),
    ),
}  # fmt: skip


def _plan(snapshot: CollectionSnapshot | RetrieverSnapshot) -> Plan:
    if isinstance(snapshot, CollectionSnapshot):
        return plan_collection(snapshot)
    return plan_retriever(snapshot)


def _text(plan: Plan) -> str:
    documents = json.loads(json.dumps([*plan.objects, *plan.once]))
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100)


class _Dumper(yaml.SafeDumper):
    """Config files as blocks, to be read and compared line by line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)


@pytest.mark.parametrize("name", CASES)
def test_manifests_are_as_reviewed(name: str) -> None:
    text = _text(_plan(CASES[name]))
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("LOOKALIKE_WRITE_GOLDEN"):
        path.write_text(text)
    assert path.exists(), f"{path} is missing: set LOOKALIKE_WRITE_GOLDEN=1 and look at it"
    assert text == path.read_text(), "set LOOKALIKE_WRITE_GOLDEN=1 and look at the difference"


@pytest.mark.parametrize("name", CASES)
def test_a_plan_with_pods_around_renders_the_same_manifests(name: str) -> None:
    from dataclasses import replace

    snapshot = CASES[name]
    crowded = replace(snapshot, pods=(pod("another", status={"phase": "Pending"}),))
    assert _text(_plan(crowded)) == _text(_plan(snapshot))


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)
