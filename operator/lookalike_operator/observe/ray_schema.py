"""What the installed KubeRay can do, as its definition of RayService says.

The API server drops fields that a definition does not have without a word, so what an old KubeRay
would not do must be known before. Any caller of the API server may read its schemas.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from lookalike_operator.cluster import ApiError, Cluster
from lookalike_operator.kinds import RAY_SERVICE
from lookalike_operator.plan.ray_cluster import TOKEN_AUTHENTICATION

_WITH_TOKENS = ("spec", "rayClusterConfig", "authOptions")


class RaySchema:
    """`keep`: seconds for which an answer holds: KubeRay is upgraded while we run."""

    def __init__(
        self, cluster: Cluster, *, keep: float = 120.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._keep = keep
        self._clock = clock
        self._known: tuple[float, frozenset[str]] | None = None

    async def features(self) -> frozenset[str]:
        """Names to be added to a snapshot's `apis`. Raises ApiError."""
        if self._known is not None and self._clock() - self._known[0] < self._keep:
            return self._known[1]
        try:
            document = await self._cluster.schema(RAY_SERVICE)
        except ApiError as error:
            if error.status != 404:
                raise
            document = {}
        found = frozenset({TOKEN_AUTHENTICATION} if _has(document, _WITH_TOKENS) else ())
        self._known = (self._clock(), found)
        return found


def _has(document: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Whether an OpenAPI document has that property of a RayService."""
    schemas = (document.get("components") or {}).get("schemas") or {}
    for schema in schemas.values():
        kinds = schema.get("x-kubernetes-group-version-kind") or ()
        if any(each.get("kind") == RAY_SERVICE.kind for each in kinds):
            here: Any = schema
            for name in path:
                here = (here.get("properties") or {}).get(name) or {}
            return bool(here)
    return False
