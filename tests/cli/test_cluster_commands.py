"""The commands about a cluster, on a real API server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from command import Command, Ran
from e2e.cluster import definitions
from e2e.cluster.api import Api
from e2e.cluster.control_plane import ControlPlane, control_plane
from e2e.cluster.errors import Unavailable

pytestmark = [pytest.mark.apiserver, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "cluster" / "standalone-edge.yaml"
IMAGE = ("--serving-image", "registry.example/serving:1")


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    context = control_plane()
    try:
        running = context.__enter__()
    except Unavailable as reason:
        pytest.skip(f"no API server here: {reason}")
    try:
        definitions.install(Api(running.kubeconfig))
        yield running
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    api = Api(plane.kubeconfig)
    yield api
    for plural in ("imagecollections", "retrievers"):
        path = f"/apis/lookalike.dev/v1alpha1/namespaces/default/{plural}"
        for each in api.get(path)["items"]:
            api.delete(f"{path}/{each['metadata']['name']}")


@pytest.fixture
def ask(plane: ControlPlane, lookalike: Command) -> Callable[..., Ran]:
    """Runs a command against the cluster."""
    return lambda *arguments: lookalike(*arguments, "--kubeconfig", plane.kubeconfig)


def apply(api: Api) -> None:
    for document in yaml.safe_load_all(EXAMPLE.read_text()):
        api.apply(document)


def test_a_plan_of_something_new_names_every_object_and_makes_none(
    ask: Callable[..., Ran], api: Api
) -> None:
    told = ask("plan", "-f", EXAMPLE, *IMAGE)
    assert told.code == 0, told.err
    assert "+ Retriever default/similarity-retriever" in told.out
    assert "creates Deployment/similarity-retriever" in told.out
    assert "a million documents of 128 dimensions take about" in told.out
    assert api.get("/apis/lookalike.dev/v1alpha1/retrievers")["items"] == []


def test_a_plan_says_what_the_api_server_would_refuse(
    ask: Callable[..., Ran], api: Api, tmp_path: Path
) -> None:
    apply(api)
    changed = tmp_path / "changed.yaml"
    changed.write_text(EXAMPLE.read_text().replace("spec:", "spec:\n  vector: {distance: Dot}", 1))
    told = ask("plan", "-f", changed, *IMAGE, "--output", "json")
    assert told.code == 1
    refused = next(e for e in told.json if e["key"]["kind"] == "ImageCollection")
    assert "vector.distance is immutable: create a second collection" in refused["refused"]
    assert refused["new"] is False


def test_a_plan_says_which_object_the_api_server_would_not_take(
    ask: Callable[..., Ran], api: Api, tmp_path: Path
) -> None:
    documents = list(yaml.safe_load_all(EXAMPLE.read_text()))
    retriever = next(each for each in documents if each["kind"] == "Retriever")
    tolerations = [{"key": "a", "operator": "Sometimes"}]
    template = {"spec": {"tolerations": tolerations}}
    retriever["spec"].setdefault("serving", {})["podTemplate"] = template
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump_all(documents))
    told = ask("plan", "-f", changed, *IMAGE, "--output", "json")
    assert told.code == 1
    found = next(e for e in told.json if e["key"]["kind"] == "Retriever")
    assert found["stalled"].startswith("Refused: the API server refuses Deployment/")
    assert "tolerations[0].operator" in found["stalled"]
    # Nothing was made.
    assert api.get("/apis/apps/v1/deployments")["items"] == []


def test_a_name_that_is_not_there_is_answered_with_those_that_are(
    ask: Callable[..., Ran], api: Api
) -> None:
    apply(api)
    told = ask("describe", "collection", "catalog")
    assert told.code == 4
    assert "no ImageCollection 'catalog' in namespace default; there are: catalogue" in told.err


def test_a_resource_nobody_looks_after_says_so(ask: Callable[..., Ran], api: Api) -> None:
    apply(api)
    told = ask("describe", "ret", "similarity-retriever")
    assert told.code == 0
    assert "The operator has not observed the latest change yet" in told.out


def test_a_listing_shows_each_resource_of_the_namespace(ask: Callable[..., Ran], api: Api) -> None:
    apply(api)
    told = ask("get", "collections", "-n", "default")
    assert "catalogue" in told.out
    assert "Unknown" in told.out


def test_logs_of_a_resource_without_pods_say_where_to_look(
    ask: Callable[..., Ran], api: Api
) -> None:
    apply(api)
    told = ask("logs", "retriever", "similarity-retriever")
    assert told.code == 1
    assert "lookalike describe retriever similarity-retriever" in told.err


def test_an_unknown_kind_is_wrong_usage(ask: Callable[..., Ran]) -> None:
    told = ask("describe", "deployment", "x")
    assert told.code == 2
    assert "write collection (ic) or retriever (ret)" in told.err
