"""A real API server takes what the chart and the examples hold, without a word about any field."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from chart import NAMESPACE, ROOT, VALUES, Helm
from server import Server

pytestmark = pytest.mark.apiserver
_EXAMPLES = sorted((ROOT / "examples" / "cluster").glob("*.yaml"))
# Their definitions are the Prometheus operator's.
_OPTIONAL = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize("values", [None, "everything.yaml", "namespaced.yaml"])
def test_the_chart_is_accepted_field_by_field(
    server: Server, helm: Helm, values: str | None
) -> None:
    files = [VALUES / values] if values else []
    objects = [o for o in helm.objects(*files) if o["kind"] not in _OPTIONAL]
    server.apply([*objects, *helm.hooks(*files)], "--dry-run=server")


def test_the_kustomize_base_is_accepted(server: Server) -> None:
    done = server.run(
        "apply", "--server-side", "--dry-run=server", "-k", str(ROOT / "config/default")
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_accepted_field_by_field(server: Server, path: Path) -> None:
    server.apply(list(yaml.safe_load_all(path.read_text())), "--dry-run=server")


def test_a_second_apply_of_an_example_changes_nothing(server: Server) -> None:
    path = ROOT / "examples" / "cluster" / "standalone-qdrant.yaml"
    before_and_after = []
    for _ in range(2):
        done = server.run("apply", "--server-side", "-f", str(path))
        assert done.returncode == 0, done.stderr
        done = server.run("get", "ic,ret", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
        before_and_after.append(done.stdout)
    assert before_and_after[0] == before_and_after[1]


def test_an_unprivileged_account_may_do_what_the_role_says_and_no_more(
    server: Server, helm: Helm
) -> None:
    rbac = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount")
    server.apply([o for o in helm.objects() if o["kind"] in rbac])
    account = f"--as=system:serviceaccount:{NAMESPACE}:lookalike"
    allowed = {
        ("patch", "retrievers/status"): "yes",
        ("create", "deployments"): "yes",
        ("get", "secrets"): "yes",
        ("list", "secrets"): "no",
        ("delete", "secrets"): "no",
        ("delete", "imagecollections"): "no",
        ("create", "clusterroles"): "no",
        ("delete", "pods"): "no",
    }
    for (verb, resource), answer in allowed.items():
        name, _, subresource = resource.partition("/")
        options = [f"--subresource={subresource}"] if subresource else []
        done = server.run("auth", "can-i", verb, name, *options, account, "-n", "search")
        assert done.stdout.strip() == answer, (verb, resource, done.stderr)
    lease = ("leases.coordination.k8s.io/lookalike-operator", account)
    assert server.run("auth", "can-i", "update", *lease, "-n", NAMESPACE).stdout.strip() == "yes"
    assert server.run("auth", "can-i", "update", *lease, "-n", "search").stdout.strip() == "no"
