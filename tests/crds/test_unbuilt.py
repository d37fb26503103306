"""Nothing is accepted that nobody acts on: a field is read by some code, or refused."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from lookalike_crds.base import Spec
from lookalike_crds.image_collection import ImageCollectionSpec
from lookalike_crds.retriever import RetrieverSpec
from lookalike_crds.rules import RULES
from lookalike_crds.sources import KINDS
from lookalike_crds.unbuilt import NEXT_VERSION, UNBUILT, Unbuilt

ROOT = Path(__file__).parents[2]
RULES_THEMSELVES = {"rules", "unbuilt"}


def fields(spec: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, field) of all that may be written below a spec and is not refused whole."""
    refused = {row.field for row in UNBUILT if row.on is spec}
    for name, field in spec.model_fields.items():
        if name in refused:
            continue
        yield f"{path}.{name}", name
        for inner in _specs(field.annotation):
            yield from fields(inner, f"{path}.{name}")


def _specs(annotation: Any) -> Iterator[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for argument in get_args(annotation):
        yield from _specs(argument)


def read_somewhere() -> set[str]:
    """The names of all attributes that our packages read, but for the rules themselves."""
    names: set[str] = set()
    for folder in ("crds", "operator", "serving", "cli"):
        for file in (ROOT / folder).rglob("*.py"):
            if file.parent.name == "lookalike_crds" and file.stem in RULES_THEMSELVES:
                continue
            tree = ast.parse(file.read_text())
            names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names


def test_every_field_is_read_by_some_code_or_refused() -> None:
    read = read_somewhere() | set(KINDS)  # the kinds of source are read as a list
    ways = [*fields(ImageCollectionSpec, "spec"), *fields(RetrieverSpec, "spec")]
    assert len(ways) > 100
    assert [path for path, name in ways if name not in read] == []


def test_the_version_named_is_the_next_minor_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    major, minor, _ = map(int, project["version"].split("."))
    assert f"{major}.{minor + 1}.0" == NEXT_VERSION


def test_what_is_not_built_is_refused_with_the_version_in_which_it_comes() -> None:
    row = Unbuilt(ImageCollectionSpec, "deletion_policy", "deletionPolicy", "remove it")
    assert row.message == f"deletionPolicy comes with version {NEXT_VERSION}: remove it"
    assert row.cel == "!has(self.deletionPolicy)"
    assert not row.holds(ImageCollectionSpec())


def test_each_row_is_a_rule_of_its_own_name() -> None:
    assert len({row.name for row in UNBUILT}) == len(UNBUILT)
    assert {row.name for row in UNBUILT} <= {rule.name for rule in RULES}
