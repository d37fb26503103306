from __future__ import annotations

import pytest

from lookalike_crds.ownership import IndexOwner, is_anothers, owner_in

OURS = IndexOwner(cluster="c1", namespace="shop", name="catalogue", uid="u1")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (OURS, True),
        # Made anew in its cluster: the one before is gone.
        (OURS.model_copy(update={"uid": "u2"}), True),
        # The cluster's authority was renewed, or could not be read: it is the same resource still.
        (OURS.model_copy(update={"cluster": "c2"}), True),
        (OURS.model_copy(update={"cluster": ""}), True),
        (OURS.model_copy(update={"cluster": "c2", "uid": "u2"}), False),
        (OURS.model_copy(update={"cluster": "", "uid": "u2"}), False),
        (OURS.model_copy(update={"namespace": "shop-eu"}), False),
        (OURS.model_copy(update={"name": "eu-catalogue"}), False),
    ],
)
def test_who_is_the_same_owner(other: IndexOwner, same: bool) -> None:
    assert OURS.is_same(other) == same
    assert other.is_same(OURS) == same


def test_two_laptops_are_two_owners() -> None:
    one = IndexOwner(cluster="aa", name="catalogue")
    assert not one.is_same(IndexOwner(cluster="bb", name="catalogue"))
    assert one.is_same(IndexOwner(cluster="aa", name="catalogue"))


def test_an_index_without_an_owner_is_nobodys_and_one_with_an_unreadable_one_is_anothers() -> None:
    assert owner_in({"dimension": 4}) is None
    assert not is_anothers(owner_in({}), OURS)
    assert is_anothers(owner_in({"owner": "somebody"}), OURS)
    assert not is_anothers(owner_in({"owner": OURS.model_dump()}), OURS)
