"""Merge patches: the smallest change that makes one status of another."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lookalike_operator.apply.status import merge_patch

Json = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
Object = st.dictionaries(st.text(max_size=3), Json, max_size=5)


def patched(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result


@given(Object, Object)
def test_the_patch_makes_the_new_of_the_old(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert patched(old, merge_patch(old, new)) == new


@given(Object)
def test_equal_statuses_need_no_patch(status: dict[str, Any]) -> None:
    assert merge_patch(status, status) == {}


def test_a_field_that_is_no_longer_said_is_removed() -> None:
    assert merge_patch({"failed": 3, "documents": 1}, {"documents": 1}) == {"failed": None}


def test_what_is_unset_and_was_never_there_is_not_sent() -> None:
    assert merge_patch({}, {"url": None}) == {}
