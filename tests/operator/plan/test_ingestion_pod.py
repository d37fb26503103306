"""The pods of an ingestion run, and the configuration that they read."""

from __future__ import annotations

from typing import Any

from tests.operator.plan.known import CLAIM, EDGE, PHOTOS, VIT, collection, named, searching
from tests.operator.plan.moments import on_server

from lookalike_crds.config import IngestionConfig
from lookalike_crds.progress import PROGRESS_PORT_VARIABLE
from lookalike_operator.plan.collection import plan_collection
from lookalike_operator.plan.model import Manifest, Plan


def _pod(plan: Plan) -> Manifest:
    template: Manifest = named(plan, "Job")["spec"]["template"]
    return template


def _container(plan: Plan) -> Manifest:
    (container,) = _pod(plan)["spec"]["containers"]
    found: Manifest = container
    return found


def _config(plan: Plan) -> IngestionConfig:
    text = named(plan, "ConfigMap")["data"]["ingestion.json"]
    return IngestionConfig.model_validate_json(text)


def _edge() -> Plan:
    front = searching("front")
    return plan_collection(collection(EDGE, PHOTOS, children=(CLAIM,), retrievers=(front,)))


def test_an_edge_run_writes_through_the_retriever_with_its_token() -> None:
    plan = _edge()
    volumes = _pod(plan)["spec"]["volumes"]
    assert {"name": "internal", "secret": {"secretName": "front-internal"}} in volumes
    assert _config(plan).gateway_url == "http://front.shop.svc.cluster.local:8000"


def test_a_run_into_a_qdrant_server_gets_no_token_of_a_retriever() -> None:
    plan = plan_collection(on_server(PHOTOS))
    config = _config(plan)
    assert (config.gateway_url, config.internal_token_file) == (None, None)
    assert "internal" not in [volume["name"] for volume in _pod(plan)["spec"]["volumes"]]


def test_how_it_ended_is_left_where_kubernetes_keeps_it() -> None:
    container = _container(plan_collection(on_server(PHOTOS)))
    arguments = container["args"]
    result = arguments[arguments.index("--result") + 1]
    assert container["terminationMessagePath"] == result


def test_its_progress_is_asked_at_the_port_that_it_is_given() -> None:
    container = _container(plan_collection(on_server(PHOTOS)))
    (variable,) = [e for e in container["env"] if e["name"] == PROGRESS_PORT_VARIABLE]
    assert [str(port["containerPort"]) for port in container["ports"]] == [variable["value"]]


def test_every_folder_of_its_configuration_is_mounted() -> None:
    plan = _edge()
    config = _config(plan)
    mounts = {mount["mountPath"] for mount in _container(plan)["volumeMounts"]}
    needed = [config.data_dir, *(s.volume.path for s in config.sources if s.volume is not None)]
    assert config.internal_token_file is not None
    needed.append(config.internal_token_file.parent)
    for folder in needed:
        assert any(str(folder).startswith(mount) for mount in mounts), folder


def test_how_pods_are_made_is_not_in_what_they_read() -> None:
    """So that other resources make other pods and not another configuration."""
    resources: dict[str, Any] = {"resources": {"limits": {"cpu": "3"}}, "parallelism": 3}
    plain = plan_collection(on_server(PHOTOS, VIT))
    changed = plan_collection(on_server(PHOTOS, VIT, {"ingestion": resources}))
    assert _config(plain) == _config(changed)
    assert _pod(plain) != _pod(changed)


def test_it_may_not_talk_to_the_api_server() -> None:
    assert _pod(_edge())["spec"]["automountServiceAccountToken"] is False
