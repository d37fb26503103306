from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.operator.plan.known import meta

from lookalike_operator.plan.model import ObjectRef
from lookalike_operator.plan.names import ADOPT, Owner, fitted, strangers

_long = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,80}[a-z0-9])?", fullmatch=True)


@given(_long, _long)
def test_names_fit_and_differ_where_what_they_name_differs(one: str, other: str) -> None:
    first, second = fitted(one, "-config"), fitted(other, "-config")
    assert len(first) <= 63
    assert first.endswith("-config")
    assert (first == second) == (one == other)


def test_short_names_stay_readable() -> None:
    assert fitted("search", "-config") == "search-config"


def _live(kind: str = "ConfigMap", **metadata: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "x", "namespace": "shop", **metadata},
    }


ANOTHER = {"uid": "another", "controller": True}
OWNER = Owner("ImageCollection", meta("catalogue"))
LABELS = {
    "app.kubernetes.io/managed-by": "lookalike-operator",
    "lookalike.dev/kind": "ImageCollection",
    "lookalike.dev/name": "catalogue",
}


@pytest.mark.parametrize(
    ("live", "ours"),
    [
        (_live(), False),
        (_live(labels=LABELS), False),
        (_live(ownerReferences=[{"uid": "uid-of-catalogue"}]), True),
        (_live(ownerReferences=[ANOTHER]), False),
        (_live(annotations={ADOPT: "true"}), True),
        (_live(annotations={ADOPT: "true"}, ownerReferences=[ANOTHER]), False),
        (_live("PersistentVolumeClaim", labels=LABELS), True),
        (_live("PersistentVolumeClaim", labels={**LABELS, "lookalike.dev/name": "b"}), False),
    ],
)  # fmt: skip
def test_what_is_ours(live: dict[str, object], ours: bool) -> None:
    assert OWNER.owns(live) == ours
    ref = ObjectRef("v1", str(live["kind"]), "shop", "x")
    assert (ref in strangers(OWNER, (live,), ())) != ours
