"""The cluster under test: this machine's node, or one that a kubeconfig names.

| variable | |
|---|---|
| `LOOKALIKE_E2E_KUBECONFIG` | the cluster, by its current context; default: this machine's node |
| `LOOKALIKE_E2E_SERVING_IMAGE` | built from docker/serving.Dockerfile, where the cluster finds it |
| `LOOKALIKE_E2E_OPERATOR_IMAGE` | built from docker/operator.Dockerfile, likewise |
| `LOOKALIKE_E2E_PROMETHEUS_IMAGE` | default: Prometheus' own, from Docker Hub |
| `LOOKALIKE_E2E_QDRANT_IMAGE` | a Qdrant server; default: a stand-in that speaks its protocol |

On this machine's node only the serving image counts, and may be left out: the base image with the
serving environment mounted takes its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import images, serving_env
from e2e.cluster.api import Api
from e2e.cluster.node import Node
from e2e.cluster.serving_env import ServingEnvironment
from e2e.tests import route
from e2e.tests.route import Route

SYSTEM = "lookalike-e2e"
"""The namespace of the operator and of what the tests have beside it."""
KUBECONFIG = "LOOKALIKE_E2E_KUBECONFIG"
SERVING = "LOOKALIKE_E2E_SERVING_IMAGE"
OPERATOR = "LOOKALIKE_E2E_OPERATOR_IMAGE"
PROMETHEUS = "LOOKALIKE_E2E_PROMETHEUS_IMAGE"
QDRANT = "LOOKALIKE_E2E_QDRANT_IMAGE"
_PROMETHEUS_IMAGE = "docker.io/prom/prometheus:v3.13.5"


class Unfit(Exception):
    """The tests cannot or must not run on that cluster; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """One cluster, and what runs in it."""

    kubeconfig: Path
    api: Api
    route: Route
    environment: ServingEnvironment
    prometheus_image: str
    operator_image: str | None = None
    """None: still to be built."""
    qdrant_image: str | None = None


def of_node(node: Node) -> Target:
    """This machine's node."""
    node.import_image(images.prometheus())
    image = os.environ.get(SERVING)
    environment = serving_env.of_image(image) if image else serving_env.ensure()
    api = Api(node.kubeconfig)
    return Target(node.kubeconfig, api, Route(), environment, images.PROMETHEUS)


@contextmanager
def named(kubeconfig: Path, folder: Path) -> Iterator[Target]:
    """The cluster of a kubeconfig. Raises Unfit."""
    if missing := [name for name in (SERVING, OPERATOR) if not os.environ.get(name)]:
        raise Unfit(f"{KUBECONFIG} is set, so set {' and '.join(missing)} as well: an image each")
    environment = serving_env.of_image(os.environ[SERVING])
    with route.api_proxy(kubeconfig, folder) as proxied:
        api = Api(proxied)
        _refuse_if_in_use(api)
        meta = {"name": SYSTEM}
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        with route.relayed(api, proxied, SYSTEM, environment.image) as way:
            yield Target(
                proxied,
                api,
                way,
                environment,
                os.environ.get(PROMETHEUS) or _PROMETHEUS_IMAGE,
                os.environ[OPERATOR],
                os.environ.get(QDRANT),
            )


def _refuse_if_in_use(api: Api) -> None:
    """Two operators would each mend what the other one did."""
    operators = "app.kubernetes.io/name=lookalike,app.kubernetes.io/component=operator"
    for each in api.get("/apis/apps/v1/deployments", labelSelector=operators)["items"]:
        meta = each["metadata"]
        if meta["namespace"] != SYSTEM:
            raise Unfit(
                f"the operator runs in this cluster already: Deployment {meta['name']} of "
                f"namespace {meta['namespace']}. Take another cluster, or uninstall it first"
            )
