"""The generated schemas are what an API server accepts as structural."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lookalike_crds.generate import crds, files

DEFINITIONS = {c["spec"]["names"]["kind"]: c for c in crds()}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name], f"{path}[{name}]")


def spec_and_status(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    version = DEFINITIONS[kind]["spec"]["versions"][0]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        yield from nodes(properties[part], part)


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_nothing_is_left_of_references_unions_and_nulls(kind: str) -> None:
    forbidden = {"$ref", "anyOf", "oneOf", "allOf", "const", "title", "propertyNames"}
    for path, node in spec_and_status(kind):
        assert not forbidden & node.keys(), path
        assert node.get("additionalProperties") is not True, path


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_every_node_has_a_type_or_is_openly_open(kind: str) -> None:
    for path, node in spec_and_status(kind):
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields"), path


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_every_string_list_and_map_is_bounded(kind: str) -> None:
    for path, node in spec_and_status(kind):
        match node.get("type"):
            case "string":
                assert "maxLength" in node or "enum" in node, path
            case "array":
                assert "maxItems" in node, path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_kubectl_explain_explains_every_field(kind: str) -> None:
    bare = [
        f"{path}.{name}"
        for path, node in spec_and_status(kind)
        for name, field in node.get("properties", {}).items()
        if len(field.get("description", "")) < 4
    ]
    assert bare == []


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_rules_are_short_and_say_what_to_do(kind: str) -> None:
    for path, node in spec_and_status(kind):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], path
            assert "\n" not in rule["message"], path


def test_the_scale_subresource_points_at_fields_that_exist() -> None:
    version = DEFINITIONS["Retriever"]["spec"]["versions"][0]
    known = {f".{path}" for path, _ in spec_and_status("Retriever")}
    assert set(version["subresources"]["scale"].values()) <= known


def test_generated_files_are_current() -> None:
    assert [str(p) for p, text in files().items() if p.read_text() != text] == []
