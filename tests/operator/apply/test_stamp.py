"""The digest of a rendered manifest."""

from __future__ import annotations

from lookalike_operator.apply.stamp import digest, stamp_of, stamped

MANIFEST = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "x", "namespace": "n", "annotations": {"a": "b"}},
    "data": {"k": "v", "l": "w"},
}


def test_the_order_of_keys_does_not_matter() -> None:
    turned = {**MANIFEST, "data": {"l": "w", "k": "v"}}
    assert digest(turned) == digest(MANIFEST)


def test_a_field_that_is_no_longer_rendered_changes_it() -> None:
    assert digest({**MANIFEST, "data": {"k": "v"}}) != digest(MANIFEST)


def test_the_class_that_a_claim_has_taken_over_does_not_change_it() -> None:
    claim = {**MANIFEST, "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["x"]}}
    given = {**claim, "spec": {"accessModes": ["x"], "storageClassName": "standard"}}
    assert digest(given) == digest(claim)
    assert digest({**claim, "spec": {"accessModes": ["y"]}}) != digest(claim)


def test_it_is_written_beside_other_annotations_and_the_manifest_stays_as_it_is() -> None:
    result = stamped(MANIFEST)
    assert result["metadata"]["annotations"]["a"] == "b"
    assert stamp_of(result) == digest(MANIFEST)
    assert stamp_of(MANIFEST) is None
