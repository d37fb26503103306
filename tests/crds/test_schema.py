"""The generated schemas are what an API server accepts as structural."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import celpy
import pytest
from pydantic import Field

from lookalike_crds.base import Spec
from lookalike_crds.generate import crds, files
from lookalike_crds.schema import structural_schema

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


class Near(Spec):
    """Takes what is near."""

    type: Literal["Near"] = "Near"
    radius: float = Field(default=1, ge=0, description="The radius.")
    unit: Literal["m"] = Field(default="m", description="The unit.")


class Far(Spec):
    """Takes what is far."""

    type: Literal["Far"] = "Far"
    distance: float = Field(ge=0, description="The least distance.")
    unit: Literal["m"] = Field(default="m", description="The unit.")


class Wide(Spec):
    """Takes everything."""

    type: Literal["Wide"] = "Wide"
    radius: int = Field(le=9, description="The radius.")


class Holder(Spec):
    which: Annotated[Near | Far, Field(discriminator="type")]


class Contradiction(Spec):
    which: Annotated[Near | Wide, Field(discriminator="type")]


def test_a_union_says_of_each_field_whose_it_is() -> None:
    which = structural_schema(Holder)["properties"]["which"]
    told = {name: field["description"] for name, field in which["properties"].items()}
    assert told == {
        "type": "Near: takes what is near. Far: takes what is far.",
        "radius": "Near: the radius.",
        "unit": "Near: the unit. Far: the unit.",
        "distance": "Far: the least distance.",
    }


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({"type": "Near", "radius": 2.0, "unit": "m"}, []),
        ({"type": "Far", "distance": 2.0}, []),
        ({"type": "Far"}, ["type Far needs distance"]),
        ({"type": "Near", "distance": 2.0}, ["distance is for type Far: remove it"]),
    ],
)
def test_a_union_refuses_what_is_not_of_the_type(given: Any, messages: list[str]) -> None:
    which = structural_schema(Holder)["properties"]["which"]
    environment = celpy.Environment()
    value = {"self": celpy.json_to_cel(given)}
    said = [
        rule["message"]
        for rule in which["x-kubernetes-validations"]
        if not environment.program(environment.compile(rule["rule"])).evaluate(value)
    ]
    assert said == messages


def test_a_field_of_two_meanings_is_refused_where_the_types_are_made() -> None:
    with pytest.raises(TypeError, match="Near and Wide have a field 'radius'"):
        structural_schema(Contradiction)


def test_the_scale_subresource_points_at_fields_that_exist() -> None:
    version = DEFINITIONS["Retriever"]["spec"]["versions"][0]
    known = {f".{path}" for path, _ in spec_and_status("Retriever")}
    assert set(version["subresources"]["scale"].values()) <= known


def test_generated_files_are_current() -> None:
    assert [str(p) for p, text in files().items() if p.read_text() != text] == []
