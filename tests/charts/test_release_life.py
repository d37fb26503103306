"""Helm installs, upgrades and uninstalls on a real API server, and what it lets the operator do.

There is no node, so no pod runs: the operator runs here, as the ServiceAccount that the chart made.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from chart import CHART, NAMESPACE, ROOT, VALUES, Helm, Object, Refused, environment, one
from server import Running, Server, operator, until

from lookalike_operator.engine.namespaces import MARK_NAME

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

FINALIZER = "lookalike.dev/index"
MARK = f"lease/{MARK_NAME}"
EXAMPLES = ROOT / "examples" / "cluster"
_INSTALLED = "--selector=app.kubernetes.io/name=lookalike"
_CRDS = ("imagecollections.lookalike.dev", "retrievers.lookalike.dev")


@pytest.fixture
def on_server(helm: Helm, bare_server: Server) -> Helm:
    return Helm(helm.program, helm.home, bare_server.kubeconfig)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def state(server: Server, *kinds: str) -> dict[str, Object]:
    """What the chart installed by uid, without the notes on who wrote it when."""
    found = {}
    for each in server.get(",".join(kinds), "--all-namespaces", _INSTALLED)["items"]:
        for note in ("managedFields", "resourceVersion"):
            each["metadata"].pop(note, None)
        # The Deployment's controller counts revisions in its own time.
        each["metadata"].get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
        each.pop("status", None)
        found[each["metadata"]["uid"]] = each
    return found


def left(server: Server) -> set[str]:
    """What is in the release's namespace."""
    return set(server.must("get", "deploy,sa,role,svc", "-n", NAMESPACE, "-o", "name").split())


def test_a_release_is_installed_upgraded_and_uninstalled(
    on_server: Helm, bare_server: Server
) -> None:
    release = ("lookalike", str(CHART), "--namespace", NAMESPACE)
    kinds = ("crd", "clusterrole", "clusterrolebinding", "serviceaccount", "service", "deploy")
    on_server.run("install", *release, "--create-namespace", "--timeout", "2m")
    bare_server.established(*_CRDS)
    before = state(bare_server, *kinds)

    on_server.run("upgrade", *release, "--reuse-values", "--timeout", "2m")
    assert state(bare_server, *kinds) == before, "an upgrade to the same changes nothing"

    on_server.run("upgrade", *release, "--set", "replicas=2", "--timeout", "2m")
    deployment = bare_server.get("deployment", "lookalike", "-n", NAMESPACE)
    assert deployment["spec"]["replicas"] == 2
    assert bare_server.get("pdb", "lookalike", "-n", NAMESPACE)["spec"]["maxUnavailable"] == 1

    bare_server.must("apply", "-f", str(EXAMPLES / "standalone-edge.yaml"))
    # No node runs the Job that ends an uninstallation.
    on_server.run("uninstall", "lookalike", "--namespace", NAMESPACE, "--no-hooks")
    names = bare_server.must("get", "ic,ret", "-o", "name").split()
    assert len(names) == 2, "resources outlive the operator"
    # Some go in the background, and the namespace's own account comes in its own time.
    until("the release's objects to go", lambda: left(bare_server) <= {"serviceaccount/default"})
    roles = bare_server.must("get", "clusterrole,clusterrolebinding", "-o", "name")
    assert "lookalike" not in roles

    on_server.run("install", *release, "--timeout", "2m")
    second = ("second", *release[1:], "--set", "crds.install=false")
    with pytest.raises(Refused, match="release lookalike is in namespace lookalike-system already"):
        on_server.run("install", *second, "--timeout", "2m")
    on_server.run("uninstall", "lookalike", "--namespace", NAMESPACE, "--no-hooks")


def test_crds_of_others_are_taken_over_only_on_request(
    on_server: Helm, bare_server: Server
) -> None:
    bare_server.must("apply", "--server-side", "-k", str(ROOT / "config" / "crd"))
    release = ("other", str(CHART), "--namespace", "other", "--create-namespace")
    with pytest.raises(Refused, match=r"imagecollections\.lookalike\.dev"):
        on_server.run("install", *release)
    on_server.run("install", *release, "--take-ownership", "--timeout", "2m")
    on_server.run("uninstall", "other", "--namespace", "other", "--no-hooks")


def refused_calls(running: Running) -> list[str]:
    """Requests that the API server forbade."""
    calls = re.findall(r"^lookalike_operator_api_calls_total\{(.*)\}", running.metrics(), re.M)
    assert calls
    return [call for call in calls if 'code="403"' in call]


@pytest.mark.parametrize("values", [None, "namespaced.yaml"])
def test_the_operator_does_its_work_with_the_permissions_it_has(
    server: Server, helm: Helm, tmp_path: Path, values: str | None
) -> None:
    files = [VALUES / values] if values else []
    objects = helm.objects(
        *files, settings=["crds.install=false", "metrics.serviceMonitor.enabled=false"]
    )
    rbac = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}
    permissions = [o for o in objects if o["kind"] in rbac]
    server.apply(permissions)
    config = server.as_account(NAMESPACE, "lookalike", tmp_path)
    given = {**environment(one(objects, "Deployment")), "POD_NAMESPACE": NAMESPACE}
    try:
        with operator(config, given, free_port(), tmp_path / "log") as running:
            until("the operator to be ready", running.ready)
            for example in ("standalone-edge", "kuberay"):
                server.must("apply", "-n", "search", "-f", str(EXAMPLES / f"{example}.yaml"))
            service = "svc/similarity-retriever"
            for each in (
                *(service, "deploy/similarity-retriever", "pvc/catalogue-index"),
                "secret/similarity-retriever-api-keys",
            ):
                until(each, partial(is_there, server, each))
            until(
                "a finalizer on the collection of a Qdrant server",
                lambda: FINALIZER in finalizers(server, "photos"),
            )
            until(
                "the reason that the Retriever on KubeRay waits for",
                lambda: reason(server, "photo-search") == "KubeRayMissing",
            )
            server.must("annotate", "ic", "photos", "-n", "search", "lookalike.dev/run-now=1")
            server.must("delete", service, "-n", "search")
            until("the Service to be made again", partial(is_there, server, service))
            assert is_there(server, MARK)
            assert refused_calls(running) == [], (tmp_path / "log").read_text()[-3000:]
        check_release(server, helm, tmp_path, values)
    finally:
        server.run("delete", "ret,ic", "--all", "-n", "search", "--wait=false")
        server.run("delete", "-f", "-", text=yaml.safe_dump_all(permissions))


def check_release(server: Server, helm: Helm, tmp_path: Path, values: str | None) -> None:
    """The Job of the uninstallation, as its own ServiceAccount, lets everything go."""
    hooks = helm.hooks(*([VALUES / values] if values else []))
    job = one(hooks, "Job")
    server.apply([o for o in hooks if o["kind"] != "Job"])
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    config = server.as_account(NAMESPACE, pod["serviceAccountName"], tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, *container["command"][1:], *container.get("args", ())),
            *("--kubeconfig", str(config)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=dict(os.environ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "removed the finalizer of 1 collections" in done.stdout
    assert FINALIZER not in finalizers(server, "photos")
    assert not is_there(server, MARK), "another release may act there at once"
    server.must("delete", "ic", "photos", "-n", "search", "--timeout=60s")
    server.run("delete", "-f", "-", text=yaml.safe_dump_all(o for o in hooks if o["kind"] != "Job"))


def is_there(server: Server, name: str) -> bool:
    return server.run("get", name, "-n", "search").returncode == 0


def finalizers(server: Server, collection: str) -> list[str]:
    found = server.get("ic", collection, "-n", "search")["metadata"].get("finalizers") or []
    return [str(each) for each in found]


def reason(server: Server, retriever: str) -> str | None:
    status = server.get("ret", retriever, "-n", "search").get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    return str(conditions["Ready"]["reason"]) if "Ready" in conditions else None
