"""What the API server stores -> typed values, or the problems in a person's words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lookalike_operator.observe.resources import (
    collection_status,
    meta_of,
    parsed_collection,
    parsed_retriever,
)


def live(kind: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "lookalike.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": "x",
            "namespace": "n",
            "uid": "u",
            "resourceVersion": "1",
            "generation": 3,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            **more.pop("metadata", {}),
        },
        "spec": spec,
        **more,
    }


def test_metadata_is_read_with_its_times() -> None:
    meta = meta_of(
        live(
            "Retriever",
            {},
            metadata={"deletionTimestamp": "2026-01-03T00:00:00Z", "finalizers": ["f"]},
        )
    )
    assert meta.deleting
    assert meta.created == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert meta.deletion_started == datetime(2026, 1, 3, tzinfo=UTC)
    assert meta.finalizers == ("f",)


def test_a_valid_spec_has_no_problems() -> None:
    spec, problems = parsed_retriever(live("Retriever", {"collections": [{"name": "c"}]}))
    assert spec is not None
    assert problems == ()


def test_a_spec_of_another_version_is_told_field_by_field_in_the_words_of_validate() -> None:
    spec, problems = parsed_retriever(
        live(
            "Retriever", {"collections": [{"name": "c", "wieght": 2}], "serving": {"replicas": -1}}
        )
    )
    assert spec is None
    assert any("wieght" in p and "did you mean weight?" in p for p in problems)
    assert any(p.startswith("spec.serving.replicas: ") for p in problems)


def test_a_broken_rule_is_a_problem_too() -> None:
    source = {"name": "s", "volume": {"path": "a"}, "urls": {"manifest": "b"}}
    spec, problems = parsed_collection(
        live("ImageCollection", {"sources": [source], "index": {"engine": "Edge"}})
    )
    assert spec is None
    assert len(problems) >= 1


def test_a_status_that_cannot_be_read_is_as_good_as_none() -> None:
    status = collection_status(live("ImageCollection", {}, status={"documents": "many"}))
    assert status.documents is None
