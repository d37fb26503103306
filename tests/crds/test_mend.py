"""What is told of a document with a mistake: also the rules that its other parts break."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_crds.base import API_VERSION
from lookalike_crds.load import load_resources
from lookalike_crds.mend import mended
from lookalike_crds.resources import ImageCollection

COLLECTION: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "ImageCollection",
    "metadata": {"name": "catalogue"},
    "spec": {
        "model": {"provider": "OpenClip", "name": "ViT-B-32"},  # no weights
        "index": {"engine": "Edge"},
        "fields": [{"name": "price", "type": "Float"}, {"name": "price", "type": "Float"}],
        "sources": [
            {"name": "first", "volume": {"path": "a"}},
            {"name": "second", "volume": {"path": "b"}, "urls": {"manifest": "c.csv"}},
        ],
    },
}


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_WithoutAliases)


def told(document: dict[str, Any]) -> list[tuple[str, str]]:
    """(path, first words of the message) of every problem."""
    found = load_resources(text(document), "f.yaml").problems
    return sorted((p.path, " ".join(p.message.split()[:4])) for p in found)


RULES = [
    ("spec", "fields: two have the"),
    ("spec.model", "model.weights is required with"),
    ("spec.sources[1]", "write exactly one of"),
]


def changed(**spec: Any) -> dict[str, Any]:
    return {**COLLECTION, "spec": {**COLLECTION["spec"], **spec}}


def test_without_a_mistake_the_rules_are_told() -> None:
    assert told(COLLECTION) == RULES


def test_a_mistake_elsewhere_hides_no_rule() -> None:
    assert told(changed(index={"engine": "Egde"})) == sorted(
        [*RULES, ("spec.index.engine", "write one of Qdrant,")]
    )


def test_a_wrong_name_hides_no_rule() -> None:
    wrong = {**COLLECTION, "metadata": {"name": "Not_A_Name"}}
    assert [each for each in told(wrong) if each in RULES] == RULES


def test_an_entry_that_cannot_be_read_leaves_the_others_their_places() -> None:
    nameless = {"volume": {"path": "a"}}
    both = COLLECTION["spec"]["sources"][1]
    said = told(changed(sources=[nameless, both, nameless, {**both, "name": "third"}]))
    assert ("spec.sources[0].name", "is required: add it") in said
    assert ("spec.sources[1]", "write exactly one of") in said
    assert ("spec.sources[3]", "write exactly one of") in said


def test_a_rule_is_silent_about_what_was_wrong_itself() -> None:
    said = told(changed(model={"provider": "OpenClip", "name": "ViT-B-32", "weights": {"tag": 1}}))
    assert [path for path, _ in said if path.startswith("spec.model")] == ["spec.model.weights"]


def test_pydantics_words_are_told_in_ours() -> None:
    said = load_resources(
        f"apiVersion: {API_VERSION}\nkind: Retriever\nmetadata: {{name: r}}\n"
        "spec: {collections: [], search: {topK: 5000, minScore: high}}\n"
    ).problems
    assert [p.message for p in said] == [
        "has 0 entries: write at least 1",
        "write a number up to 1000",
        "write a number, or auto for the threshold that `lookalike calibrate --save` finds",
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    for step, each in inner:
        at = (*path, step)
        found += places(each, at) if isinstance(each, dict | list) else [at]
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([p for p in places(COLLECTION) if p[0] not in ("apiVersion", "kind")]),
            st.sampled_from([None, 7, "?", [], {}, [3], {"x": 1}, True]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_wrong_the_document_stays_and_something_is_told(
    mistakes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    document = copy.deepcopy(COLLECTION)
    for path, value in mistakes:
        holder: Any = document
        try:
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mistake took the place away
    before = copy.deepcopy(document)
    list(mended(ImageCollection, document).broken_rules())
    assert document == before
    loaded = load_resources(text(document))
    assert bool(loaded.errors) != bool(loaded.resources)
