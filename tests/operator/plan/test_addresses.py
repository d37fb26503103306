"""Whom the operator talks to for whoever may write a collection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.operator.plan.known import SETTINGS, collection, condition, meta, told

from lookalike_operator.plan.addresses import (
    address_entry_problem,
    address_problem,
    asked_urls,
)
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import CollectionSnapshot

KEYED = {"apiKeySecretRef": {"name": "key", "key": "k"}}


def _at(url: str, *allowed: str, **more: Any) -> CollectionSnapshot:
    index = {"engine": "Qdrant", "qdrant": {"url": url, **more}}
    settings = replace(SETTINGS, qdrant_addresses=allowed)
    return collection({"index": index}, settings=settings)


def _says(snapshot: CollectionSnapshot) -> str | None:
    assert snapshot.spec is not None
    found = address_problem(snapshot.meta, snapshot.spec, snapshot.settings)
    return None if found is None else found.message


OWN = [
    "http://qdrant:6333",
    "http://qdrant.shop:6333",
    "http://qdrant.shop.svc:6333",
    "https://qdrant.shop.svc.cluster.local:6333/",
    "http://QDRANT.shop.svc.cluster.local.:6333",
]
OTHERS = [
    "http://169.254.169.254/latest",
    "http://127.0.0.1:8001",
    "http://[::1]:6333",
    "http://2130706433:6333",
    "http://0x7f000001:6333",
    "http://127.1:6333",
    "http://kubernetes.default.svc",
    "http://qdrant.search:6333",
    "http://shop.svc:6333",
    "http://a.b.shop.svc:6333",
    "https://qdrant.example.com",
    "http://qdrant.shop@169.254.169.254/",
    "http://169.254.169.254#.shop.svc",
    "http://169.254.169.254\\.shop.svc/",
    "http://qdrant.shop.svc.cluster.local.example.com",
    "file:///etc/passwd",
    "gopher://qdrant.shop.svc",
    "http://[0]:6333",
    "http://[v1.a]",
    "",
]


@pytest.mark.parametrize("url", OWN)
def test_a_service_of_ones_own_namespace_is_talked_to(url: str) -> None:
    for more in ({}, KEYED):
        assert _says(_at(url, **more)) is None
    snapshot = _at(url)
    assert snapshot.spec is not None
    (asked,) = asked_urls(snapshot.meta, snapshot.spec, snapshot.settings)
    assert "//qdrant.shop.svc.cluster.local" in asked, "and not one of the operator's namespace"


@pytest.mark.parametrize("url", OTHERS)
def test_nothing_else_is_unless_the_settings_say_so(url: str) -> None:
    assert _says(_at(url)) is not None


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_each_of_several_addresses_is_judged(bad: int) -> None:
    urls = ["https://a.example.com", "https://qdrant.shop.svc:6333", "https://b.example.com"]

    def says(**more: Any) -> str | None:
        index = {"engine": "Qdrant", "qdrant": {"urls": urls, **more}}
        settings = replace(SETTINGS, qdrant_addresses=("*.example.com",))
        return _says(collection({"index": index}, settings=settings))

    assert says(**KEYED) is None
    good, urls[bad] = urls[bad], "https://169.254.169.254"
    assert f"spec.index.qdrant.urls[{bad}]: https://169.254.169.254 is neither" in str(says())
    urls[bad] = "http://c.example.com"
    assert says() is None
    assert f"urls[{bad}]: http://c.example.com would receive the API key" in str(says(**KEYED))
    urls[bad] = good


def test_it_is_told_and_nothing_is_done() -> None:
    plan = plan_collection(_at("http://169.254.169.254/"))
    assert plan.hands_off
    assert told(plan, "Stalled") == ("True", "AddressNotAllowed")
    assert "qdrant.allowedAddresses" in condition(plan, "Stalled")["message"]


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("*", "http://anywhere.example:6333", True),
        ("qdrant.search.svc", "http://qdrant.search:6333", True),
        ("qdrant.search", "http://qdrant.search.svc.cluster.local:6333", True),
        ("qdrant.search.svc", "http://qdrant.other:6333", False),
        ("*.example.com", "https://a.example.com", True),
        ("*.example.com", "https://example.com", False),
        ("*.example.com", "https://evilexample.com", False),
        ("*.svc", "http://qdrant.any.svc:6333", True),
        ("10.0.0.0/8", "http://10.1.2.3:6333", True),
        ("10.0.0.0/8", "http://11.1.2.3:6333", False),
        ("10.0.0.0/8", "http://10.0.0.1.example.com", False),
        ("fd00::/8", "http://[fd00::1]:6333", True),
        ("192.0.2.7", "https://192.0.2.7", True),
    ],
)
def test_an_entry_of_the_setting(entry: str, url: str, allowed: bool) -> None:
    assert address_entry_problem(entry) is None
    assert (_says(_at(url, entry)) is None) == allowed


@pytest.mark.parametrize("entry", ["http://a", "a b", "-a", "*a", "", "a/b"])
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    assert address_entry_problem(entry) is not None


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://qdrant.example.com", True),
        ("http://qdrant.example.com", False),
        ("http://qdrant.other.svc:6333", True),
        ("http://10.0.0.1:6333", True),
        ("http://8.8.8.8:6333", False),
    ],
)
def test_a_key_goes_to_nobody_in_clear_outside_of_the_cluster(url: str, fine: bool) -> None:
    assert _says(_at(url, "*")) is None
    says = _says(_at(url, "*", **KEYED))
    assert says is None if fine else says is not None and "unencrypted" in says


@settings(deadline=None)
@given(st.from_regex(r"\A[a-z0-9.:@/\\#\[\]-]{1,40}\Z"))
def test_whatever_is_asked_without_a_setting_is_in_ones_own_namespace(rest: str) -> None:
    snapshot = _at("http://" + rest)
    assert snapshot.spec is not None
    if address_problem(snapshot.meta, snapshot.spec, snapshot.settings) is None:
        (asked,) = asked_urls(snapshot.meta, snapshot.spec, snapshot.settings)
        # A dot at the end of a name only says that it is whole.
        host = asked.removeprefix("http://").split("/")[0].split(":")[0].rstrip(".")
        assert host.endswith(f".{meta('x').namespace}.svc.cluster.local")
