"""What the installed KubeRay can do is read from the schema of its RayService."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from lookalike_operator.cluster import Cluster
from lookalike_operator.errors import ApiError
from lookalike_operator.kinds import Kind
from lookalike_operator.observe.ray_schema import RaySchema
from lookalike_operator.plan.ray_cluster import TOKEN_AUTHENTICATION


class Server:
    """Answers for its schemas alone."""

    def __init__(self, document: dict[str, Any] | ApiError) -> None:
        self.document = document
        self.asked = 0

    async def schema(self, kind: Kind) -> dict[str, Any]:
        self.asked += 1
        if isinstance(self.document, ApiError):
            raise self.document
        return self.document


def _document(*fields: str) -> dict[str, Any]:
    cluster = {"properties": {name: {"type": "object"} for name in ("rayVersion", *fields)}}
    spec = {"properties": {"rayClusterConfig": cluster}}

    def schema(kind: str, **properties: Any) -> dict[str, Any]:
        group = {"group": "ray.io", "version": "v1", "kind": kind}
        return {"properties": properties, "x-kubernetes-group-version-kind": [group]}

    # A RayCluster has the field one level higher: it is not what is asked for.
    other = schema("RayCluster", spec={"properties": {"authOptions": {}}})
    return {"components": {"schemas": {"a": other, "b": schema("RayService", spec=spec)}}}


def _features(server: Server) -> frozenset[str]:
    return asyncio.run(RaySchema(cast(Cluster, server)).features())


def test_a_kuberay_that_knows_tokens_says_so() -> None:
    assert _features(Server(_document("authOptions"))) == {TOKEN_AUTHENTICATION}


@pytest.mark.parametrize("document", [_document(), {}, ApiError(404, "NotFound", "no such group")])
def test_one_that_does_not_is_not_trusted_with_them(document: dict[str, Any] | ApiError) -> None:
    assert _features(Server(document)) == frozenset()


def test_a_server_that_does_not_answer_is_no_old_kuberay() -> None:
    with pytest.raises(ApiError):
        _features(Server(ApiError(0, "NoAnswer", "timed out")))


def test_the_answer_is_kept_for_a_while_and_then_asked_for_anew() -> None:
    server, now = Server(_document()), [0.0]

    async def twice() -> frozenset[str]:
        schema = RaySchema(cast(Cluster, server), keep=60, clock=lambda: now[0])
        await schema.features()
        await schema.features()
        assert server.asked == 1
        now[0], server.document = 61.0, _document("authOptions")
        return await schema.features()

    assert asyncio.run(twice()) == {TOKEN_AUTHENTICATION}
