"""The Secrets and ConfigMaps that resources name, read one by one, by name.

Whoever may list Secrets may read all of them, so the operator has only the right to get them; of
ConfigMaps, it watches only its own. What was read is cached for a while. A missing Secret is
checked again soon, since somebody is probably about to create it.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lookalike_operator.cluster import Cluster
from lookalike_operator.kinds import CONFIG_MAP, SECRET
from lookalike_operator.plan import waiting


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A Secret that a resource names, or a ConfigMap. `key` None: the whole of it."""

    namespace: str
    name: str
    key: str | None = None
    in_config_map: bool = False

    def __str__(self) -> str:
        kind = waiting.CONFIG_MAP if self.in_config_map else ""
        return kind + (self.name if self.key is None else f"{self.name}/{self.key}")


@dataclass(frozen=True, slots=True)
class _Read:
    at: float
    data: dict[str, str] | None


class Secrets:
    def __init__(
        self,
        cluster: Cluster,
        *,
        keep: float = 300.0,
        keep_missing: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._keep = keep
        self._keep_missing = keep_missing
        self._clock = clock
        self._read: dict[tuple[str, str, bool], _Read] = {}

    async def value(self, secret: SecretKey) -> str | None:
        """The text under the key, without white space around it; None if there is none."""
        data = await self._data(secret)
        encoded = None if data is None or secret.key is None else data.get(secret.key)
        if encoded is None:
            return None
        if secret.in_config_map:
            return encoded.strip()
        try:
            return base64.b64decode(encoded, validate=True).decode().strip()
        except (binascii.Error, UnicodeDecodeError):
            return None

    async def missing(self, named: Iterable[SecretKey]) -> tuple[str, ...]:
        """Those that are not there, as `name/key` or `name` (`ConfigMap name/key`), in order."""
        absent = []
        for secret in dict.fromkeys(named):
            data = await self._data(secret)
            if data is None or (secret.key is not None and secret.key not in data):
                absent.append(str(secret))
        return tuple(absent)

    async def _data(self, secret: SecretKey) -> dict[str, str] | None:
        place = (secret.namespace, secret.name, secret.in_config_map)
        read = self._read.get(place)
        now = self._clock()
        if read is not None:
            incomplete = read.data is None or (secret.key and secret.key not in read.data)
            soon = incomplete or secret.in_config_map
            if now - read.at < (self._keep_missing if soon else self._keep):
                return read.data
        kind = CONFIG_MAP if secret.in_config_map else SECRET
        found = await self._cluster.get(kind, secret.namespace, secret.name)
        data = None if found is None else dict(found.get("data") or {})
        self._read[place] = _Read(now, data)
        return data
