"""Images: built from a Dockerfile, or the base image with the project mounted into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster import builds, serving_env
from e2e.cluster.errors import DidNotBuild
from e2e.cluster.tests import pods
from e2e.cluster.waiting import until
from e2e.conftest import SessionNode

pytestmark = [pytest.mark.node, pytest.mark.slow]
_DOCKERFILE = """
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends hello
CMD ["hello", "--greeting=built here"]
"""


def test_a_pod_runs_an_image_built_from_a_dockerfile(
    session_node: SessionNode, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(_DOCKERFILE)
    tag = f"lookalike-e2e/test:{namespace}"
    archive = builds.build_image(
        tmp_path / "Dockerfile", tag, context=tmp_path, arguments={"BASE": builds.BASE}
    )
    session_node.node.import_image(archive)
    archive.unlink()
    assert _log_of_a_pod(session_node, pods.pod(namespace, [], image=tag)) == "built here\n"


def test_what_a_dockerfile_does_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY nothing-of-that-name /\n")
    with pytest.raises(DidNotBuild, match="nothing-of-that-name"):
        builds.build_image(tmp_path / "Dockerfile", "lookalike-e2e/wrong:1", context=tmp_path)


def test_a_pod_imports_the_project_from_the_mounted_environment(
    session_node: SessionNode, namespace: str
) -> None:
    environment = serving_env.ensure()
    script = (
        "import lookalike_crds, lookalike_operator, lookalike_serving, ray, torch;"
        "print(lookalike_serving.__file__, torch.ones(2).sum().item())"
    )
    manifest = pods.pod(
        namespace,
        ["python", "-c", script],
        image=environment.image,
        environment=environment.environment(),
        volumes=environment.volumes(),
        mounts=environment.volume_mounts(),
    )
    expected = f"{serving_env.APP}/lookalike_serving/__init__.py 2.0\n"
    assert _log_of_a_pod(session_node, manifest) == expected


def _log_of_a_pod(session_node: SessionNode, manifest: dict[str, object]) -> str:
    api = session_node.api
    api.apply(manifest)
    path = api.path(manifest)
    until(lambda: pods.ended(api, path), "end of the pod", pods.SECONDS)
    log = api.text(f"{path}/log")
    assert pods.phase(api, path) == "Succeeded", log
    return log
