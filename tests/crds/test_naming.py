"""One way of making names: no two lists of parts have the same one."""

from __future__ import annotations

import re

from hypothesis import assume, example, given
from hypothesis import strategies as st

from lookalike_crds.image_collection import ModelSpec
from lookalike_crds.naming import index_name, joined, may_be_index_of

_parts = st.lists(
    st.text("ab-0", min_size=1, max_size=40).filter(lambda s: s.strip("-") == s)
    | st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True),
    min_size=1,
    max_size=3,
)
_dashed = st.from_regex(r"[a-z]{1,40}-[a-z]{1,20}", fullmatch=True)
_LONGEST = st.sampled_from([41, 52, 63])


@given(_parts, _parts, _LONGEST)
@example(["shop", "eu-feed"], ["shop-eu", "feed"], 52)
@example(["shop", "eu-feed"], ["shop", "eu", "feed"], 52)
@example(["a" * 60, "b"], ["a" * 60, "c"], 63)
def test_names_are_equal_only_where_all_parts_are(
    one: list[str], other: list[str], longest: int
) -> None:
    assume(len(one) == len(other) or min(len(one), len(other)) > 1)
    first, second = joined(*one, longest=longest), joined(*other, longest=longest)
    assert (first == second) == (one == other)
    for name in (first, second):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
        assert len(name) <= longest


@given(st.tuples(_dashed, _dashed), _LONGEST)
def test_two_parts_that_spell_out_the_name_of_two_others_have_another_name(
    parts: tuple[str, str], longest: int
) -> None:
    """The digest of one pair may be the second part of another."""
    name = joined(*parts, longest=longest)
    first, _, second = name.rpartition("-")
    assert joined(first, second, longest=longest) != name


@given(st.from_regex(r"[a-z][a-z0-9-]{62,100}[a-z0-9]", fullmatch=True))
def test_a_part_that_spells_out_how_a_longer_one_was_cut_has_another_name(part: str) -> None:
    for suffix in ("", "-config"):
        name = joined(part, suffix=suffix)
        assert len(name) <= 63
        assert joined(name.removesuffix(suffix), suffix=suffix) != name


@given(st.from_regex(r"[a-z0-9][-a-z0-9.]{0,250}[a-z0-9]", fullmatch=True))
def test_a_name_that_no_label_can_have_is_made_one(name: str) -> None:
    """Secrets may have dots in their names, volumes may not."""
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", joined("qdrant-" + name))


def test_plain_parts_stay_readable() -> None:
    assert joined("catalogue", "feed") == "catalogue-feed"
    assert joined("search", suffix="-config") == "search-config"
    assert joined("eu-search") == "eu-search"


@given(_parts, _parts)
@example(["shop", "eu-catalogue"], ["shop-eu", "catalogue"])
def test_indexes_differ_by_place_and_collection(one: list[str], other: list[str]) -> None:
    assume(len(one) == len(other))
    first, second = (index_name(parts[-1], ModelSpec(), *parts[:-1]) for parts in (one, other))
    assert (first == second) == (one == other)
    assert len(first) <= 63


@given(_parts, st.sampled_from([ModelSpec(), ModelSpec(provider="Timm", name="vit")]))
def test_an_index_is_known_as_its_collections_whatever_the_model(
    parts: list[str], model: ModelSpec
) -> None:
    name = index_name(parts[-1], model, *parts[:-1])
    assert may_be_index_of(name, parts[-1], *parts[:-1])
    assert not may_be_index_of(name + "0", parts[-1], *parts[:-1])
    if len("-".join(parts)) <= 50:  # a longer name is cut, and may be that of several
        assert not may_be_index_of(name, "other", *parts[:-1])
