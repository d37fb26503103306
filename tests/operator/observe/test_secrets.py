"""Secrets and ConfigMaps that resources name, each read by its name."""

from __future__ import annotations

import base64
from typing import Any

from lookalike_operator.kinds import Kind
from lookalike_operator.observe.secrets import SecretKey, Secrets

KEY = base64.b64encode(b"secret\n").decode()


class Cluster:
    """Has one Secret and one ConfigMap of the same name."""

    def __init__(self) -> None:
        self.data = {"Secret": {"key": KEY}, "ConfigMap": {"key": "plain\n"}}

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        return {"data": self.data[kind.kind]} if (namespace, name) == ("shop", "both") else None


async def test_a_secret_and_a_config_map_of_one_name_are_two() -> None:
    secrets = Secrets(Cluster())  # type: ignore[arg-type]
    in_secret = SecretKey("shop", "both", "key")
    in_map = SecretKey("shop", "both", "key", in_config_map=True)
    for _ in range(2):
        assert await secrets.value(in_secret) == "secret"
        assert await secrets.value(in_map) == "plain"


async def test_what_is_missing_is_named_with_its_kind() -> None:
    secrets = Secrets(Cluster())  # type: ignore[arg-type]
    named = [SecretKey("shop", "both", "other"), SecretKey("shop", "ca", "ca.crt", True)]
    assert await secrets.missing(named) == ("both/other", "ConfigMap ca/ca.crt")


async def test_a_config_map_that_changes_is_read_again_within_seconds() -> None:
    now = [0.0]
    cluster = Cluster()
    secrets = Secrets(cluster, clock=lambda: now[0])  # type: ignore[arg-type]
    key = SecretKey("shop", "both", "key", in_config_map=True)
    await secrets.value(key)
    cluster.data["ConfigMap"] = {"key": "renewed"}
    assert await secrets.value(key) == "plain"
    now[0] = 20.0
    assert await secrets.value(key) == "renewed"
