"""The operator may do what it does, and nothing else.

The table is the one of docs/install.md: whoever changes one changes both.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import pytest
from chart import ROOT, VALUES, Helm, Object, one

from lookalike_operator import kinds
from lookalike_operator.engine.namespaces import MARK_NAME

READ = {"get", "list", "watch"}
OWN = READ | {"create", "patch", "delete"}

LEASES = ("coordination.k8s.io", "leases")
# (API group, resource): verbs
PERMISSIONS: dict[tuple[str, str], set[str]] = {
    ("lookalike.dev", "imagecollections"): READ | {"patch"},
    ("lookalike.dev", "retrievers"): READ | {"patch"},
    ("lookalike.dev", "imagecollections/status"): {"patch"},
    ("lookalike.dev", "retrievers/status"): {"patch"},
    ("", "pods"): {"list", "watch"},
    ("", "secrets"): {"get", "create"},
    ("", "services"): OWN,
    ("", "configmaps"): OWN,
    ("", "persistentvolumeclaims"): OWN,
    ("apps", "deployments"): OWN,
    ("batch", "jobs"): OWN,
    ("batch", "cronjobs"): OWN,
    ("policy", "poddisruptionbudgets"): OWN,
    ("networking.k8s.io", "ingresses"): OWN,
    ("networking.k8s.io", "networkpolicies"): OWN,
    ("gateway.networking.k8s.io", "httproutes"): OWN,
    ("monitoring.coreos.com", "servicemonitors"): OWN,
    ("ray.io", "rayservices"): OWN,
    ("ray.io", "rayjobs"): OWN,
    ("events.k8s.io", "events"): {"list", "create"},
    LEASES: {"get", "list", "create", "update", "delete"},
}


def granted(role: Object) -> dict[tuple[str, str], set[str]]:
    verbs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for rule in role["rules"]:
        assert not rule.get("nonResourceURLs")
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs[group, resource] |= set(rule["verbs"])
    return dict(verbs)


def roles_of(objects: Iterable[Object], account: str) -> list[tuple[str, str]]:
    """(kind, name) of every role that is bound to the operator's ServiceAccount."""
    return [
        (o["roleRef"]["kind"], o["roleRef"]["name"])
        for o in objects
        if o["kind"] in ("RoleBinding", "ClusterRoleBinding")
        and any(s["name"] == account for s in o["subjects"])
    ]


def test_the_operator_has_exactly_these_permissions(default_objects: list[Object]) -> None:
    assert granted(one(default_objects, "ClusterRole", "lookalike")) == PERMISSIONS


def test_in_each_watched_namespace_it_has_exactly_the_same(helm: Helm) -> None:
    objects = helm.objects(VALUES / "namespaced.yaml")
    roles = [o for o in objects if o["kind"] == "Role"]
    assert [r["metadata"]["namespace"] for r in roles] == ["search", "staging"]
    assert all(granted(role) == PERMISSIONS for role in roles)


def test_its_lease_is_the_only_other_thing_it_may_touch(default_objects: list[Object]) -> None:
    account = one(default_objects, "ServiceAccount")["metadata"]["name"]
    assert sorted(roles_of(default_objects, account)) == [
        ("ClusterRole", "lookalike"),
        ("Role", "lookalike-leader"),
    ]
    leader = one(default_objects, "Role", "lookalike-leader")
    assert granted(leader) == {("coordination.k8s.io", "leases"): {"create", "get", "update"}}
    assert named(leader) == ["lookalike-operator"]


def named(role: Object) -> list[str]:
    """The leases that a role may do more with than create them."""
    (rule,) = [
        rule
        for rule in role["rules"]
        if rule["resources"] == ["leases"] and rule["verbs"] != ["create"]
    ]
    names: list[str] = rule["resourceNames"]
    return names


def test_of_other_leases_it_may_touch_its_marks_on_namespaces_alone(
    default_objects: list[Object],
) -> None:
    assert named(one(default_objects, "ClusterRole", "lookalike")) == [MARK_NAME]


def test_uninstalling_may_only_let_go_of_collections_and_namespaces(helm: Helm) -> None:
    hooks = helm.hooks()
    assert {o["metadata"]["annotations"]["helm.sh/hook"] for o in hooks} == {"post-delete"}
    allowed = {
        ("lookalike.dev", "imagecollections"): {"get", "list", "patch"},
        LEASES: {"get", "list", "delete"},
    }
    assert granted(one(hooks, "ClusterRole")) == allowed
    assert named(one(hooks, "ClusterRole")) == [MARK_NAME]
    roles = [o for o in helm.hooks(VALUES / "namespaced.yaml") if o["kind"] == "Role"]
    assert [granted(role) for role in roles] == [allowed, allowed]


def test_secrets_are_never_listed_changed_or_deleted() -> None:
    assert PERMISSIONS["", "secrets"] == {"get", "create"}


def test_no_role_has_a_wildcard(default_objects: list[Object]) -> None:
    for each in default_objects:
        for rule in each.get("rules") or ():
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]


def test_every_kind_that_the_operator_watches_and_writes_is_among_them() -> None:
    for kind in (*kinds.OURS, *kinds.CHILDREN):
        group = kind.api_version.rpartition("/")[0]
        verbs = PERMISSIONS[group, kind.plural]
        assert {"list", "watch"} <= verbs or not kind.watched, kind
        assert "delete" in verbs or not kind.pruned or kind in kinds.OURS, kind


@pytest.mark.parametrize("role", ["view", "edit"])
def test_people_get_our_kinds_with_their_usual_roles(
    default_objects: list[Object], role: str
) -> None:
    found = one(default_objects, "ClusterRole", f"lookalike-{role}")
    assert found["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{role}"] == "true"
    verbs = set().union(*granted(found).values())
    assert verbs <= READ if role == "view" else "delete" in verbs


def test_the_page_on_installing_tells_the_same_permissions() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    told: list[tuple[tuple[str, str], set[str]]] = []
    for group, resources, verbs in re.findall(
        r"^\| `([^`]*)` \| ([^|]+) \| ([^|]+) \|", page, re.M
    ):
        for resource in re.findall(r"`([^`]+)`", resources):
            key = ("" if group == "core" else group, resource)
            told.append((key, set(re.findall(r"[a-z]+", verbs))))
    *everywhere, at_home = told
    assert dict(everywhere) == PERMISSIONS
    assert at_home == (LEASES, {"create", "get", "update"})
