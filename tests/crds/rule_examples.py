"""Specs that a rule accepts and refuses: one table for every layer that checks them.

Each entry: the rule's name, a spec of `kind`, and whether the rule holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Example(NamedTuple):
    rule: str
    kind: str
    spec: dict[str, Any]
    holds: bool


def _source(**places: Any) -> dict[str, Any]:
    return {"sources": [{"name": "a", **places}]}


def _retriever(**rest: Any) -> dict[str, Any]:
    return {"collections": [{"name": "a"}], **rest}


def _qdrant(**rest: Any) -> dict[str, Any]:
    return {"index": {"engine": "Qdrant", "qdrant": rest}}


_KEY = {"name": "ca", "key": "ca.crt"}
_CA = {"configMapRef": _KEY}
_VOLUME = {"path": "/images"}
_URLS = {"manifest": "list.csv"}
_QUERY = {"query": "sum(rate(x[1m]))", "target": 3}

EXAMPLES: tuple[Example, ...] = (
    Example("one-kind-of-source", "ImageCollection", _source(volume=_VOLUME), True),
    Example("one-kind-of-source", "ImageCollection", _source(urls=_URLS), True),
    Example("one-kind-of-source", "ImageCollection", _source(), False),
    Example("one-kind-of-source", "ImageCollection", _source(volume=_VOLUME, urls=_URLS), False),
    Example(
        "paths-of-files",
        "ImageCollection",
        _source(volume=_VOLUME, metadata={"pathPattern": "{kind}/{id}.*", "fileInfo": True}),
        True,
    ),
    Example("paths-of-files", "ImageCollection", _source(urls=_URLS, metadata={}), True),
    Example(
        "paths-of-files",
        "ImageCollection",
        _source(urls=_URLS, metadata={"pathPattern": "{kind}/{id}.*"}),
        False,
    ),
    Example(
        "paths-of-files",
        "ImageCollection",
        _source(urls=_URLS, metadata={"fileInfo": True}),
        False,
    ),
    *(
        Example(
            rule,
            "ImageCollection",
            _source(**{kind: place}, metadata={field: asked}),
            not asked or kind in kinds,
        )
        for rule, field, kinds in (
            ("user-metadata-of-objects", "userMetadata", ("s3", "gcs", "azureBlob")),
            ("tags-of-objects", "tags", ("s3", "azureBlob")),
        )
        for kind, place in (
            ("volume", _VOLUME),
            ("urls", _URLS),
            ("s3", {"bucket": "photos"}),
            ("gcs", {"bucket": "photos"}),
            ("azureBlob", {"account": "shop", "container": "photos"}),
        )
        for asked in (True, False)
    ),
    Example(
        "unique-sources",
        "ImageCollection",
        {"sources": [{"name": n, "volume": _VOLUME} for n in "ab"]},
        True,
    ),
    Example(
        "unique-sources",
        "ImageCollection",
        {"sources": [{"name": n, "volume": _VOLUME} for n in "aa"]},
        False,
    ),
    Example(
        "unique-fields",
        "ImageCollection",
        {"fields": [{"name": n, "type": "Float"} for n in "ab"]},
        True,
    ),
    Example(
        "unique-fields",
        "ImageCollection",
        {"fields": [{"name": n, "type": "Float"} for n in "aa"]},
        False,
    ),
    Example("model-has-name", "ImageCollection", {"model": {"provider": "Demo"}}, True),
    Example(
        "model-has-name",
        "ImageCollection",
        {"model": {"provider": "OpenClip", "weights": "openai"}},
        False,
    ),
    *(
        Example(
            "duplicates-are-deleted-by-a-schedule",
            "ImageCollection",
            {"duplicates": {"action": "Delete", **more}},
            holds,
        )
        for more, holds in (({"schedule": "@daily"}, True), ({}, False))
    ),
    *(
        Example(
            "copies-are-decided-where-the-index-is",
            "ImageCollection",
            {"duplicates": {"onIngest": on_ingest}, **more},
            holds,
        )
        for on_ingest, more, holds in (
            ("Reject", {"index": {"engine": "Edge"}}, True),
            ("Allow", {}, True),
            ("Link", {}, False),
            ("Reject", {"index": {"engine": "Qdrant"}}, False),
        )
    ),
    *(
        Example(
            "copies-are-deleted-strictly",
            "ImageCollection",
            {"duplicates": {"action": "Delete", "schedule": "@daily", **more}},
            holds,
        )
        for more, holds in (
            ({}, True),
            ({"verdicts": ["Exact", "Copy"], "sensitivity": "Strict"}, True),
            ({"verdicts": ["Copy"]}, False),
        )
    ),
    *(
        Example("copy-model-alone", "ImageCollection", {"duplicates": {"model": model}}, holds)
        for model, holds in (
            ({}, True),
            ({"provider": "Timm", "name": "resnet50.a1_in1k", "precision": "FP32"}, True),
            ({"keepPrevious": "1d"}, False),
            ({"gate": {}}, False),
            ({"cache": {"claim": "weights"}}, False),
        )
    ),
    *(
        Example(
            "copy-model-with-runtime-job",
            "ImageCollection",
            {"duplicates": {"model": {}}, "ingestion": {"runtime": runtime}},
            holds,
        )
        for runtime, holds in (("Job", True), ("Ray", False))
    ),
    *(
        Example(rule, "ImageCollection", {"duplicates": {"keep": keep}}, holds)
        for rule, keep, holds in (
            ("kept-by-field", {"rule": "Field", "field": "stars"}, True),
            ("kept-by-field", {"rule": "Field"}, False),
            ("kept-by-field", {"rule": "Oldest", "field": "stars"}, False),
            ("kept-by-folders", {"rule": "Folders", "folders": ["originals/"]}, True),
            ("kept-by-folders", {"rule": "Folders"}, False),
            ("kept-by-folders", {"folders": ["originals/"]}, False),
        )
    ),
    *(
        Example(
            "onnx-weights-are-a-place",
            "ImageCollection",
            {"model": {"provider": "Onnx", "name": "vit", **model}},
            ok,
        )
        for model, ok in (
            ({"weights": "./vit.onnx"}, True),
            ({}, False),
            ({"weights": "hf-hub:org/vit"}, False),
            ({"weights": "oci://registry.example/vit:1"}, True),
            ({"weights": "https://example.com/vit.onnx"}, False),
        )
    ),
    *(
        Example(
            "torch-script-weights-are-a-place",
            "ImageCollection",
            {"model": {"provider": "TorchScript", "name": "sscd", **model}},
            ok,
        )
        for model, ok in (
            ({"weights": "./sscd.pt"}, True),
            ({"weights": "s3://models/sscd.pt"}, True),
            ({}, False),
            ({"weights": "https://example.com/sscd.pt"}, False),
        )
    ),
    *(
        Example(
            "precision-of-the-graph-or-plugin",
            "ImageCollection",
            {"model": {"provider": provider, "name": "vit", "weights": "./vit.onnx", **model}},
            ok,
        )
        for provider in ("Onnx", "TorchScript", "Plugin")
        for model, ok in (({}, True), ({"precision": "FP16"}, False))
    ),
    *(
        Example("precision-of-the-graph-or-plugin", "ImageCollection", {"model": model}, ok)
        for model, ok in (
            ({"provider": "Demo", "precision": "Auto"}, True),
            ({"provider": "Demo", "precision": "FP32"}, False),
        )
    ),
    *(
        Example(
            "timm-model-has-weights", "ImageCollection", {"model": {"provider": "Timm", **m}}, ok
        )
        for m, ok in (
            ({"name": "resnet50.a1_in1k"}, True),
            ({"name": "resnet50", "weights": "a1_in1k"}, True),
            ({"name": "hf-hub:timm/resnet50"}, True),
            ({"name": "resnet50"}, False),
        )
    ),
    Example(
        "model-has-weights",
        "ImageCollection",
        {"model": {"provider": "OpenClip", "name": "ViT-B-32", "weights": "openai"}},
        True,
    ),
    Example(
        "model-has-weights",
        "ImageCollection",
        {"model": {"provider": "OpenClip", "name": "hf-hub:org/model"}},
        True,
    ),
    Example(
        "model-has-weights",
        "ImageCollection",
        {"model": {"provider": "OpenClip", "name": "ViT-B-32"}},
        False,
    ),
    Example("demo-model-is-fixed", "ImageCollection", {}, True),
    Example(
        "demo-model-is-fixed",
        "ImageCollection",
        {"model": {"provider": "Demo", "weights": "mine.pt"}},
        False,
    ),
    Example(
        "qdrant-block-with-qdrant",
        "ImageCollection",
        {"index": {"engine": "Qdrant", "qdrant": {"shards": 2}}},
        True,
    ),
    Example(
        "qdrant-block-with-qdrant",
        "ImageCollection",
        {"index": {"engine": "Edge", "qdrant": {"shards": 2}}},
        False,
    ),
    Example(
        "storage-block-with-edge",
        "ImageCollection",
        {"index": {"engine": "Edge", "storage": {"size": "5Gi"}}},
        True,
    ),
    Example(
        "storage-block-with-edge",
        "ImageCollection",
        {"index": {"engine": "Qdrant", "storage": {"size": "5Gi"}}},
        False,
    ),
    Example(
        "one-qdrant-address",
        "ImageCollection",
        {"index": {"engine": "Qdrant", "qdrant": {"url": "http://q:6333"}}},
        True,
    ),
    Example(
        "one-qdrant-address",
        "ImageCollection",
        {"index": {"engine": "Qdrant", "qdrant": {"url": "http://q:6333", "serviceRef": "q"}}},
        False,
    ),
    Example("one-qdrant-address", "ImageCollection", _qdrant(urls=["http://a", "http://b"]), True),
    Example(
        "one-qdrant-address",
        "ImageCollection",
        _qdrant(url="http://a", urls=["http://a", "http://b"]),
        False,
    ),
    Example(
        "each-qdrant-address-once", "ImageCollection", _qdrant(urls=["http://a", "http://b"]), True
    ),
    Example(
        "each-qdrant-address-once", "ImageCollection", _qdrant(urls=["http://a", "http://a"]), False
    ),
    Example("ca-with-tls", "ImageCollection", _qdrant(url="https://a", ca=_CA), True),
    Example("ca-with-tls", "ImageCollection", _qdrant(serviceRef="a", ca=_CA), True),
    Example("ca-with-tls", "ImageCollection", _qdrant(url="http://a", ca=_CA), False),
    Example(
        "ca-with-tls", "ImageCollection", _qdrant(urls=["https://a", "http://b"], ca=_CA), False
    ),
    Example(
        "one-place-of-a-ca", "ImageCollection", _qdrant(ca={"secretRef": _KEY, "path": "a"}), True
    ),
    Example("one-place-of-a-ca", "ImageCollection", _qdrant(ca={}), False),
    Example(
        "one-place-of-a-ca",
        "ImageCollection",
        _qdrant(ca={"secretRef": _KEY, "configMapRef": _KEY}),
        False,
    ),
    Example(
        "grpc-port-with-grpc",
        "ImageCollection",
        {"index": {"qdrant": {"url": "http://q:80", "grpcPort": 81}}},
        True,
    ),
    Example(
        "grpc-port-with-grpc",
        "ImageCollection",
        {"index": {"qdrant": {"url": "http://q:80", "grpcPort": 81, "protocol": "Rest"}}},
        False,
    ),
    Example("unique-collections", "Retriever", _retriever(), True),
    Example(
        "unique-collections", "Retriever", {"collections": [{"name": "a"}, {"name": "a"}]}, False
    ),
    Example(
        "min-below-max-replicas",
        "Retriever",
        _retriever(autoscaling={"minReplicas": 2, "maxReplicas": 2, "metrics": [_QUERY]}),
        True,
    ),
    Example(
        "min-below-max-replicas",
        "Retriever",
        _retriever(autoscaling={"minReplicas": 3, "maxReplicas": 2, "metrics": [_QUERY]}),
        False,
    ),
    Example("preset-or-query", "Retriever", _retriever(autoscaling={"metrics": [_QUERY]}), True),
    Example(
        "preset-or-query",
        "Retriever",
        _retriever(autoscaling={"metrics": [{"preset": "Latency", "target": 50}]}),
        True,
    ),
    Example(
        "preset-or-query",
        "Retriever",
        _retriever(autoscaling={"metrics": [{**_QUERY, "preset": "Latency"}]}),
        False,
    ),
    Example(
        "preset-or-query", "Retriever", _retriever(autoscaling={"metrics": [{"target": 5}]}), False
    ),
    Example("ingress-or-route", "Retriever", _retriever(access={"ingress": {"host": "a.b"}}), True),
    Example(
        "ingress-or-route",
        "Retriever",
        _retriever(access={"ingress": {"host": "a.b"}, "httpRoute": {"gateway": "g"}}),
        False,
    ),
    Example(
        "ray-cluster-with-kuberay",
        "Retriever",
        _retriever(serving={"runtime": "KubeRay", "rayCluster": {"rayVersion": "2.60.0"}}),
        True,
    ),
    Example(
        "ray-cluster-with-kuberay",
        "Retriever",
        _retriever(serving={"rayCluster": {"rayVersion": "2.60.0"}}),
        False,
    ),
    Example(
        "ray-with-runtime-ray",
        "ImageCollection",
        {"ingestion": {"runtime": "Ray", "ray": {"embedders": {"maxReplicas": 2}}}},
        True,
    ),
    Example("ray-with-runtime-ray", "ImageCollection", {"ingestion": {"ray": {}}}, False),
    Example(
        "embedders-bounds",
        "ImageCollection",
        {"ingestion": {"runtime": "Ray", "ray": {"embedders": {"minReplicas": 2}}}},
        True,
    ),
    Example(
        "embedders-bounds",
        "ImageCollection",
        {
            "ingestion": {
                "runtime": "Ray",
                "ray": {"embedders": {"minReplicas": 3, "maxReplicas": 2}},
            }
        },
        False,
    ),
    Example(
        "one-pod-on-a-volume-of-one-node",
        "Retriever",
        _retriever(serving={"replicas": 3, "storage": {"size": "20Gi"}}),
        True,
    ),
    Example(
        "one-pod-on-a-volume-of-one-node",
        "Retriever",
        _retriever(serving={"storage": {"accessMode": "ReadWriteOnce"}}),
        True,
    ),
    Example(
        "one-pod-on-a-volume-of-one-node",
        "Retriever",
        _retriever(serving={"replicas": 2, "storage": {"accessMode": "ReadWriteOnce"}}),
        False,
    ),
    Example(
        "one-pod-on-a-volume-of-one-node",
        "Retriever",
        _retriever(
            serving={"storage": {"accessMode": "ReadWriteOnce"}}, autoscaling={"metrics": [_QUERY]}
        ),
        False,
    ),
    Example(
        "one-pod-on-a-volume-of-one-node",
        "Retriever",
        _retriever(
            serving={"storage": {"accessMode": "ReadWriteOnce"}},
            autoscaling={"maxReplicas": 1, "metrics": [_QUERY]},
        ),
        True,
    ),
)
