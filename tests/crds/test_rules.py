"""Every rule, in Python and in CEL, against one table of examples."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celpy
import pytest

from lookalike_crds.generate import crds
from lookalike_crds.resources import KINDS
from lookalike_crds.rules import IMMUTABLE, RULES, broken_rules, broken_transitions

_spec = importlib.util.spec_from_file_location(
    "rule_examples", Path(__file__).with_name("rule_examples.py")
)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
EXAMPLES = _module.EXAMPLES

MESSAGES = {rule.name: rule.message for rule in RULES}


def resource(kind: str, spec: dict[str, Any]) -> Any:
    return KINDS[kind].model_validate({"metadata": {"name": "x"}, "spec": spec})


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """What the API server stores: defaults filled in from the outside in."""
    if isinstance(value, dict) and "properties" in schema:
        filled = dict(value)
        for key, inner in schema["properties"].items():
            if key not in filled and "default" in inner:
                filled[key] = inner["default"]
            if key in filled:
                filled[key] = with_defaults(inner, filled[key])
        return filled
    if isinstance(value, list):
        return [with_defaults(schema["items"], each) for each in value]
    return value


def refusals(schema: dict[str, Any], value: Any) -> Iterator[str]:
    """Messages of the CEL rules that a value breaks, and of lists whose keys are not unique."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"]:
            continue
        environment = celpy.Environment()
        program = environment.program(environment.compile(rule["rule"]))
        if not program.evaluate({"self": celpy.json_to_cel(value)}):
            yield rule["message"]
    if isinstance(value, dict):
        for key, inner in schema.get("properties", {}).items():
            if key in value:
                yield from refusals(inner, value[key])
    elif isinstance(value, list):
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            if len({each[key] for each in value}) < len(value):
                yield "duplicate key"
        for each in value:
            yield from refusals(schema["items"], each)


def schema_of(kind: str) -> dict[str, Any]:
    definition = next(c for c in crds() if c["spec"]["names"]["kind"] == kind)
    version = definition["spec"]["versions"][0]
    spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.rule}-{e.holds}")
def test_python_agrees_with_the_table(example: Any) -> None:
    messages = [b.message for b in broken_rules(resource(example.kind, example.spec))]
    assert messages == ([] if example.holds else [MESSAGES[example.rule]])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.rule}-{e.holds}")
def test_the_crd_agrees_with_the_table(example: Any) -> None:
    schema = schema_of(example.kind)
    said = list(refusals(schema, with_defaults(schema, example.spec)))
    in_cel = next(r for r in RULES if r.name == example.rule).cel is not None
    expected = MESSAGES[example.rule] if in_cel else "duplicate key"
    assert said == ([] if example.holds else [expected])


def test_every_rule_has_an_accepted_and_a_refused_example() -> None:
    seen = {(e.rule, e.holds) for e in EXAMPLES}
    assert seen == {(r.name, holds) for r in RULES for holds in (True, False)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({"vector": {"distance": "Dot"}}, {}, IMMUTABLE[0].message),
        ({"index": {"engine": "Edge"}}, {}, IMMUTABLE[1].message),
    ],
)
def test_an_immutable_field_is_refused_with_the_remedy(
    old: dict[str, Any], new: dict[str, Any], message: str
) -> None:
    before, after = resource("ImageCollection", old), resource("ImageCollection", new)
    assert [b.message for b in broken_transitions(before, after)] == [message]
    assert list(broken_transitions(before, before)) == []


def test_immutable_fields_carry_their_rule_in_the_crd() -> None:
    properties = schema_of("ImageCollection")["properties"]
    for block, field in (("vector", "distance"), ("index", "engine")):
        (rule,) = properties[block]["properties"][field]["x-kubernetes-validations"]
        assert rule["rule"] == "self == oldSelf"
