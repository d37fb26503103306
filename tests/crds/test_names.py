"""What may be a name: `lookalike validate` and the operator take the same ones.

That the API server agrees is tested on a real one: tests/operator/api/test_names.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from tests.crds.name_examples import (
    EDGES,
    is_data_key,
    is_label,
    is_object,
    is_service,
    names,
)

from lookalike_crds.load import load_resources
from lookalike_crds.names import ALL
from lookalike_operator.observe.resources import parsed_collection, parsed_retriever

VOLUME = {"path": "images"}
SOURCE = {"name": "a", "volume": VOLUME}
S3 = {"bucket": "abc", "endpoint": "https://s3.example"}


def document(kind: str, name: str, spec: dict[str, Any] | None = None, **meta: Any) -> Any:
    needed = {"collections": [{"name": "a"}]} if kind == "Retriever" else {}
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, **meta},
        "spec": {**needed, **(spec or {})},
    }


def errors(document: Any) -> list[str]:
    return [f"{e.path} {e.message}" for e in load_resources(json.dumps(document)).errors]


@settings(deadline=None)
@given(names)
def test_resources_are_named_as_validate_and_the_operator_agree(name: str) -> None:
    for kind, fits, parsed in (
        ("ImageCollection", is_label, parsed_collection),
        ("Retriever", is_service, parsed_retriever),
    ):
        wanted = document(kind, name, namespace="shop")
        said = errors(wanted)
        assert (said == []) == fits(name)
        assert all(each.startswith("metadata.name ") for each in said)
        spec, problems = parsed({**wanted, "metadata": {**wanted["metadata"], "uid": "u"}})
        assert (spec is not None) == fits(name)
        assert len(problems) == len(said)


def test_the_edges_are_checked_each() -> None:
    for name in EDGES:
        for kind, fits in (("ImageCollection", is_label), ("Retriever", is_service)):
            assert (errors(document(kind, name)) == []) == fits(name), (kind, name)


@pytest.mark.parametrize(
    ("kind", "name", "remedy"),
    [
        ("Retriever", "0shop", "beginning with a letter"),
        ("Retriever", "a.b", "lower-case letters, digits and -"),
        ("ImageCollection", "Shop", "lower-case letters, digits and -"),
        ("ImageCollection", "a" * 64, "at most 63"),
        ("ImageCollection", "shop-", "a letter or digit at both ends"),
    ],
)
def test_the_remedy_says_what_to_write(kind: str, name: str, remedy: str) -> None:
    (said,) = errors(document(kind, name))
    assert remedy in said


def _within(path: str, value: str) -> tuple[str, dict[str, Any]]:
    """(kind, spec) with a value at one place."""
    credentials = {**S3, "credentialsSecretRef": value}
    qdrant = {"serviceRef": "q", "apiKeySecretRef": {"name": "s", "key": "k"}}
    match path:
        case "source":
            return "ImageCollection", {"sources": [{"name": value, "volume": VOLUME}]}
        case "claim":
            return "ImageCollection", {
                "sources": [{"name": "a", "volume": {**VOLUME, "claimName": value}}]
            }
        case "credentials":
            return "ImageCollection", {"sources": [{"name": "a", "s3": credentials}]}
        case "service":
            return "ImageCollection", {"index": {"qdrant": {"serviceRef": value}}}
        case "secret":
            secret = {"name": value, "key": "k"}
            return "ImageCollection", {"index": {"qdrant": {**qdrant, "apiKeySecretRef": secret}}}
        case "key":
            secret = {"name": "s", "key": value}
            return "ImageCollection", {"index": {"qdrant": {**qdrant, "apiKeySecretRef": secret}}}
        case "collection":
            return "Retriever", {"collections": [{"name": value}]}
        case "tls":
            return "Retriever", {"access": {"ingress": {"host": "a.b", "tlsSecretName": value}}}
        case "gateway":
            return "Retriever", {"access": {"httpRoute": {"gateway": value}}}
        case "gateway namespace":
            route = {"gateway": "g", "gatewayNamespace": value}
            return "Retriever", {"access": {"httpRoute": route}}
    raise AssertionError(path)


WITHIN = {
    "source": is_label,
    "claim": is_object,
    "credentials": is_object,
    "service": is_service,
    "secret": is_object,
    "key": is_data_key,
    "collection": is_label,
    "tls": is_object,
    "gateway": is_object,
    "gateway namespace": is_label,
}


@settings(deadline=None)
@given(names)
def test_names_within_a_spec_are_those_of_what_they_name(name: str) -> None:
    for path, fits in WITHIN.items():
        kind, spec = _within(path, name)
        told = errors(document(kind, "a", spec))
        assert (told == []) == fits(name), (path, told)


@settings(deadline=None)
@given(names)
def test_namespaces_are_labels(name: str) -> None:
    assert (errors(document("ImageCollection", "a", namespace=name)) == []) == is_label(name)


@pytest.mark.parametrize(
    ("labels", "fine"),
    [
        ({"app": ""}, True),
        ({"example.com/App_1": "Shop.eu-1_a"}, True),
        ({"a" * 253 + "/" + "b" * 63: "c" * 63}, True),
        ({"a" * 254 + "/" + "b" * 63: "c"}, False),
        ({"a": "b" * 64}, False),
        ({"a": "b c"}, False),
        ({"a b": "c"}, False),
        ({"b" * 64: "c"}, False),
        ({"/b": "c"}, False),
        ({"-b": "c"}, False),
    ],
)
def test_labels_are_what_the_api_server_takes(labels: dict[str, str], fine: bool) -> None:
    assert (errors(document("Retriever", "a", labels=labels)) == []) == fine


def test_every_rule_has_words_of_its_own() -> None:
    """An error finds its words by the pattern that was broken."""
    assert len({rule.pattern for rule in ALL}) == len(ALL)
