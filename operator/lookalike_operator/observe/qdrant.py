"""What a Qdrant server says of an index, and the few things the operator changes there.

Each call has a time limit, and whatever goes wrong becomes one line that says what and what to do:
an index that cannot be asked is a fact for the plan, not a crash. Of a server with several
addresses the first that answers is asked. qdrant-client is imported when
the first server is named, since it brings 50 MB that clusters with Edge indexes alone can spare.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from lookalike_crds.failures import INDEX_CERTIFICATE_REFUSED
from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.ownership import IndexOwner, is_anothers, owner_in
from lookalike_crds.payload_indexes import (
    field_schema,
    json_path,
    key_of,
)
from lookalike_crds.qdrant_versions import parsed
from lookalike_crds.tls import trusting
from lookalike_operator.observe.qdrant_counts import only_here, retyped_fields
from lookalike_operator.observe.qdrant_errors import (
    explained,
    is_not_found,
    reason_of,
    status_of,
)
from lookalike_operator.plan.model import IndexAction, IndexFacts, IndexOp

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

log = logging.getLogger(__name__)

_METADATA = "lookalike"
_KEEP = 10.0
_MOST_KEPT = 20_000
_LONGEST_PAUSE = 300.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    urls: tuple[str, ...]
    """Of its nodes, the one to be preferred first."""
    api_key: str | None = None
    ca: str | None = None
    """PEM of the authorities that its certificate must be signed by; None: well-known ones."""

    def __repr__(self) -> str:
        return f"Server({' or '.join(self.urls)})"


class IndexUnavailable(Exception):
    """The server could not do what was asked: one line that says why."""


class _Failed(Exception):
    """No address of a server did what was asked."""

    def __init__(self, server: Server, failures: Sequence[tuple[str, Exception]]) -> None:
        super().__init__(
            "; ".join(
                explained(error, url, has_key=server.api_key is not None) for url, error in failures
            )
        )
        self.reason = reason_of(failures[0][1])
        self.answered = any(status_of(error) is not None for _, error in failures)


@dataclass(slots=True)
class _Node:
    """One address of a server, as it was last found."""

    version: str | None = None
    left_out_until: float = 0.0
    pause: float = 0.0
    looked_at: float = float("-inf")
    client: AsyncQdrantClient | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be known of which index."""

    index: str
    alias: str
    fields: tuple[FieldSpec, ...]
    besides: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class _Aliases:
    at: float
    targets: dict[str, str]


class Qdrant:
    """All servers that collections name."""

    def __init__(
        self,
        *,
        timeout: int = 5,
        keep: float = _KEEP,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[Server, str, int], AsyncQdrantClient] | None = None,
    ) -> None:
        self._timeout = timeout
        self._keep = keep
        self._clock = clock
        self._connect = connect or _connect
        self._imported = False
        self._nodes: dict[Server, dict[str, _Node]] = {}
        self._aliases: dict[Server, _Aliases] = {}
        self._facts: dict[tuple[Server, _Asked], tuple[float, IndexFacts]] = {}
        self._down: dict[Server, tuple[float, str]] = {}

    async def close(self) -> None:
        for nodes in self._nodes.values():
            for node in nodes.values():
                if node.client is not None:
                    await node.client.close()
        self._nodes = {}

    async def facts(
        self,
        server: Server,
        index: str,
        alias: str,
        *,
        fields: tuple[FieldSpec, ...] = (),
        besides: tuple[str, ...] | None = None,
    ) -> IndexFacts:
        """Never raises: `error` tells what went wrong. `fields`: those of the collection;
        `besides`: count the documents that none of these sources brought, which reads all."""
        asked = _Asked(index, alias, fields, besides)
        place = (server, asked)
        kept = self._facts.get(place)
        if kept is not None and self._clock() - kept[0] < self._keep:
            return kept[1]
        facts = await self._bounded(server, asked)
        if len(self._facts) > _MOST_KEPT:
            self._facts.clear()
        self._facts[place] = (self._clock(), facts)
        return facts

    async def _bounded(self, server: Server, asked: _Asked) -> IndexFacts:
        """A server that does not answer is waited for once, not by each of its collections:
        workers have other things to do."""
        down = self._down.get(server)
        if down is not None and self._clock() - down[0] < self._keep:
            return IndexFacts(asked.index, error=down[1])
        try:
            await self._import()
            facts = await self._of_one(server, lambda url: self._ask(server, url, asked))
        except _Failed as failed:
            if not failed.answered:
                self._down[server] = (self._clock(), str(failed))
            return IndexFacts(asked.index, error=str(failed), reason=failed.reason)
        except IndexUnavailable as error:  # a ca that holds no certificate
            untrusted = INDEX_CERTIFICATE_REFUSED.condition_reason
            return IndexFacts(asked.index, error=str(error), reason=untrusted)
        self._down.pop(server, None)
        return await self._with_all_addresses(server, facts)

    async def _of_one(self, server: Server, make: Callable[[str], Awaitable[T]]) -> T:
        """What the first address that can do it does. Raises _Failed, and IndexUnavailable."""
        nodes = self._of(server)
        # A sort that is stable: those that answer come as they are written.
        failures: list[tuple[str, Exception]] = []
        for url in sorted(server.urls, key=lambda url: nodes[url].left_out_until > self._clock()):
            try:
                async with asyncio.timeout(2 * self._timeout):
                    answer = await make(url)
            except IndexUnavailable:
                raise
            except Exception as error:
                status = status_of(error)
                if status is not None and status < 500:
                    raise _Failed(server, [(url, error)]) from error
                self._leave_out(nodes[url])
                failures.append((url, error))
            else:
                nodes[url].left_out_until = nodes[url].pause = 0.0
                return answer
        raise _Failed(server, failures) from failures[0][1]

    def _leave_out(self, node: _Node) -> None:
        node.pause = min(max(self._keep, 2 * node.pause), _LONGEST_PAUSE)
        node.left_out_until = self._clock() + node.pause

    async def _with_all_addresses(self, server: Server, facts: IndexFacts) -> IndexFacts:
        """The same with what the other addresses say of themselves."""
        if len(server.urls) == 1:
            return facts
        nodes = self._of(server)

        async def look(url: str, node: _Node) -> None:
            node.looked_at = self._clock()
            try:
                async with asyncio.timeout(self._timeout):
                    node.version = (await self._client(server, url).info()).version
                node.left_out_until = node.pause = 0.0
            except Exception as error:
                log.info("%s", explained(error, url, has_key=server.api_key is not None))
                self._leave_out(node)

        now = self._clock()
        await asyncio.gather(
            *(
                look(url, node)
                for url, node in nodes.items()
                if now - node.looked_at >= self._keep and now >= node.left_out_until
            )
        )
        versions = [node.version for node in nodes.values() if parsed(node.version) is not None]
        return replace(
            facts,
            version=min(versions, key=lambda v: parsed(v) or (0, 0), default=facts.version),
            away=tuple(url for url, node in nodes.items() if node.pause),
        )

    async def perform(self, server: Server, op: IndexOp, owner: IndexOwner | None = None) -> None:
        """Raises IndexUnavailable. Every operation may be repeated.

        An index that says that it is another's than `owner`'s is not touched: deleting it is done
        with nothing, and everything else fails.
        """
        self._facts = {place: kept for place, kept in self._facts.items() if place[0] != server}
        self._aliases.pop(server, None)
        try:
            await self._import()

            async def perform(url: str) -> None:
                client = self._client(server, url)
                if await self._may(client, url, op, owner):
                    await self._perform(client, op)

            await self._of_one(server, perform)
        except _Failed as failed:
            raise IndexUnavailable(str(failed)) from failed

    async def _import(self) -> None:
        """Off the event loop: it takes seconds where CPU is scarce, and the lease runs on."""
        if not self._imported:
            await asyncio.to_thread(importlib.import_module, "qdrant_client")
            self._imported = True

    async def _ask(self, server: Server, url: str, asked: _Asked) -> IndexFacts:
        from qdrant_client.http.exceptions import UnexpectedResponse

        client, index = self._client(server, url), asked.index
        version = (await client.info()).version
        target = (await self._targets(server, client)).get(asked.alias)
        try:
            info = await client.get_collection(index)
        except (UnexpectedResponse, ValueError) as error:
            # The local mode says "not found" by a ValueError.
            if is_not_found(error):
                return IndexFacts(index, alias_target=target, version=version)
            raise
        made_for = _made_for(info)
        indexed = {
            key_of(path): str(getattr(schema.data_type, "value", schema.data_type))
            for path, schema in sorted((info.payload_schema or {}).items())
        }
        alias_owner = None
        if target not in (None, index):
            alias_owner = owner_in(await self._metadata(client, str(target)))
        return IndexFacts(
            index,
            exists=True,
            version=version,
            points=info.points_count,
            only_here=(
                None if asked.besides is None else await only_here(client, index, asked.besides)
            ),
            payload_indexes=indexed,
            retyped=await retyped_fields(client, asked.index, asked.fields, indexed, made_for),
            made_for=made_for,
            owner=owner_in(made_for),
            alias_target=target,
            alias_owner=alias_owner,
        )

    async def _may(
        self, client: AsyncQdrantClient, url: str, op: IndexOp, owner: IndexOwner | None
    ) -> bool:
        stored = owner_in(await self._metadata(client, op.index))
        if not is_anothers(stored, owner):
            return True
        if op.action is IndexAction.DELETE:
            log.warning("index %s at %s belongs to %s and is not deleted", op.index, url, stored)
            return False
        raise IndexUnavailable(f"index {op.index} at {url} belongs to {stored}")

    async def _metadata(self, client: AsyncQdrantClient, index: str) -> dict[str, Any]:
        """What Lookalike has written into an index; empty if there is no such index."""
        from qdrant_client.http.exceptions import UnexpectedResponse

        try:
            return _made_for(await client.get_collection(index))
        except (UnexpectedResponse, ValueError) as error:
            if is_not_found(error):
                return {}
            raise

    async def _targets(self, server: Server, client: AsyncQdrantClient) -> dict[str, str]:
        kept = self._aliases.get(server)
        if kept is None or self._clock() - kept.at >= self._keep:
            answer = await client.get_aliases()
            targets = {a.alias_name: a.collection_name for a in answer.aliases}
            kept = self._aliases[server] = _Aliases(self._clock(), targets)
        return kept.targets

    async def _perform(self, client: AsyncQdrantClient, op: IndexOp) -> None:
        from qdrant_client import models

        if op.action is IndexAction.DELETE:
            await client.delete_collection(op.index, timeout=self._timeout)
        elif op.action is IndexAction.ENSURE_PAYLOAD_INDEX:
            field, schema = op.argument
            path = json_path(field)
            existing = (await client.get_collection(op.index)).payload_schema.get(path)
            wanted = models.PayloadSchemaType(schema)
            if existing is not None:
                if existing.data_type == wanted:
                    return
                await client.delete_payload_index(op.index, path)
            ours = next(each for each in FieldType if each.value.lower() == schema)
            made = TypeAdapter[Any](models.PayloadSchemaType | models.PayloadSchemaParams)
            parameters = made.validate_python(field_schema(ours))
            await client.create_payload_index(op.index, path, field_schema=parameters, wait=False)
        else:
            (alias,) = op.argument
            create: Any = models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=op.index, alias_name=alias)
            )
            # Creating an alias that exists moves it, at once for all readers.
            await client.update_collection_aliases([create])

    def _of(self, server: Server) -> dict[str, _Node]:
        nodes = self._nodes.get(server)
        if nodes is None:
            nodes = self._nodes[server] = {url: _Node() for url in server.urls}
        return nodes

    def _client(self, server: Server, url: str) -> AsyncQdrantClient:
        node = self._of(server)[url]
        if node.client is None:
            node.client = self._connect(server, url, self._timeout)
        return node.client


def _made_for(info: Any) -> dict[str, Any]:
    made_for = (getattr(info.config, "metadata", None) or {}).get(_METADATA)
    return made_for if isinstance(made_for, dict) else {}


def _connect(server: Server, url: str, timeout: int) -> AsyncQdrantClient:
    from qdrant_client import AsyncQdrantClient

    trust: dict[str, Any] = {}
    if server.ca is not None and url.startswith("https://"):
        try:
            trust["verify"] = trusting(server.ca)
        except ValueError as error:
            raise IndexUnavailable(f"spec.index.qdrant.ca {error}") from error
    with warnings.catch_warnings():
        # Inside a cluster, a key over plain HTTP is usual.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        return AsyncQdrantClient(
            url=url, api_key=server.api_key, timeout=timeout, check_compatibility=False, **trust
        )
