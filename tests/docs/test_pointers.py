"""What the texts point at is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import cache

import pytest
from tests.docs import pointers
from tests.docs.pointers import Line


@cache
def texts() -> list[Line]:
    return list(pointers.texts())


def astray(find: Callable[[Line], list[str]], is_right: Callable[[str, Line], bool]) -> list[str]:
    return [
        f"{line}: {name}" for line in texts() for name in find(line) if not is_right(name, line)
    ]


def test_every_relative_link_leads_to_a_file_and_its_anchor_to_a_heading() -> None:
    assert astray(pointers.links, lambda link, at: pointers.leads_somewhere(link, at.file)) == []


def test_every_file_that_a_text_names_is_there() -> None:
    assert astray(pointers.files, lambda name, at: pointers.is_there(name, at.file)) == []


def test_every_module_that_a_text_names_has_what_is_said_of_it() -> None:
    assert astray(pointers.modules, lambda name, _: pointers.is_module(name)) == []


def test_every_chore_that_a_text_names_is_in_the_makefile() -> None:
    assert astray(pointers.chores, lambda name, _: name in pointers.targets()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see `gateway/json.py`", ["gateway/json.py"]),
        ("docs/architecture.md says more.", ["docs/architecture.md", "docs/architecture.md"]),
        ("everything below tests/web/ drives Chromium", ["tests/web/"]),
        ("index/filters/<name>.py and e2e/*.py", []),
        ("https://docs.example.com/operator/guide.md", []),
    ],
)
def test_a_text_names_a_file_by_its_suffix_or_from_a_top_folder(
    text: str, found: list[str]
) -> None:
    assert pointers.files(Line("README.md", 1, text)) == found


def test_a_link_to_a_heading_that_is_not_there_is_found() -> None:
    assert pointers.leads_somewhere("architecture.md#the-code", "docs/README.md")
    assert not pointers.leads_somewhere("architecture.md#the-cods", "docs/README.md")
    assert not pointers.leads_somewhere("architectures.md", "docs/README.md")


def test_each_decision_says_when_it_was_accepted() -> None:
    pages = sorted((pointers.ROOT / "docs" / "adr").glob("0*.md"))
    status = pointers.ADR_STATUS
    assert [
        page.name for page in pages if not status.fullmatch(page.read_text().splitlines()[2])
    ] == []
    listed = (pointers.ROOT / "docs" / "adr" / "README.md").read_text()
    assert [page.name for page in pages if f"]({page.name})" not in listed] == []


def test_contributing_has_every_marker_and_every_top_folder() -> None:
    page = (pointers.ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([^`]+)`", page))
    markers = {
        line.partition(":")[0]
        for line in tomllib.loads((pointers.ROOT / "pyproject.toml").read_text())["tool"]["pytest"][
            "ini_options"
        ]["markers"]
    }
    folders = {f"{name.split('/')[0]}/" for name in pointers.tracked() if "/" in name}
    assert markers | folders <= named | {"sdk/"}
