"""What a Qdrant server says of an index, and the few things the operator changes there.

Each call has a time limit, and whatever goes wrong becomes one line that says what and what to do:
an index that cannot be asked is a fact for the plan, not a crash. qdrant-client is imported when
the first server is named, since it brings 50 MB that clusters with Edge indexes alone can spare.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import TypeAdapter

from lookalike_crds.image_collection import FieldSpec, FieldType
from lookalike_crds.ownership import IndexOwner, is_anothers, owner_in
from lookalike_crds.payload_indexes import (
    FORMER_TYPES,
    RESERVED,
    TYPES,
    field_schema,
    former_types,
    remembered,
    retyped,
)
from lookalike_operator.plan.model import IndexAction, IndexFacts, IndexOp

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient

log = logging.getLogger(__name__)

_METADATA = "lookalike"
_KEEP = 10.0
_MOST_KEPT = 20_000
_FIRST_DAY = datetime(1, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    api_key: str | None = None

    def __repr__(self) -> str:
        return f"Server({self.url!r})"


class IndexUnavailable(Exception):
    """The server could not do what was asked: one line that says why."""


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
        connect: Callable[[Server, int], AsyncQdrantClient] | None = None,
    ) -> None:
        self._timeout = timeout
        self._keep = keep
        self._clock = clock
        self._connect = connect or _connect
        self._imported = False
        self._clients: dict[Server, AsyncQdrantClient] = {}
        self._aliases: dict[Server, _Aliases] = {}
        self._facts: dict[tuple[Server, _Asked], tuple[float, IndexFacts]] = {}
        self._down: dict[Server, tuple[float, str]] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients = {}

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
            async with asyncio.timeout(2 * self._timeout):
                facts = await self._ask(server, asked)
        except Exception as error:
            said = explained(error, server)
            if getattr(error, "status_code", None) is None:
                self._down[server] = (self._clock(), said)
            return IndexFacts(asked.index, error=said, reason=_reason(error))
        self._down.pop(server, None)
        return facts

    async def perform(self, server: Server, op: IndexOp, owner: IndexOwner | None = None) -> None:
        """Raises IndexUnavailable. Every operation may be repeated.

        An index that says that it is another's than `owner`'s is not touched: deleting it is done
        with nothing, and everything else fails.
        """
        self._facts = {place: kept for place, kept in self._facts.items() if place[0] != server}
        self._aliases.pop(server, None)
        try:
            await self._import()
            async with asyncio.timeout(2 * self._timeout):
                if await self._may(server, op, owner):
                    await self._perform(server, op)
        except IndexUnavailable:
            raise
        except Exception as error:
            raise IndexUnavailable(explained(error, server)) from error

    async def _import(self) -> None:
        """Off the event loop: it takes seconds where CPU is scarce, and the lease runs on."""
        if not self._imported:
            await asyncio.to_thread(importlib.import_module, "qdrant_client")
            self._imported = True

    async def _ask(self, server: Server, asked: _Asked) -> IndexFacts:
        from qdrant_client.http.exceptions import UnexpectedResponse

        client, index = self._client(server), asked.index
        version = (await client.info()).version
        target = (await self._targets(server)).get(asked.alias)
        try:
            info = await client.get_collection(index)
        except (UnexpectedResponse, ValueError) as error:
            # The local mode says "not found" by a ValueError.
            if _is_not_found(error):
                return IndexFacts(index, alias_target=target, version=version)
            raise
        made_for = _made_for(info)
        indexed = {
            name: str(getattr(schema.data_type, "value", schema.data_type))
            for name, schema in sorted((info.payload_schema or {}).items())
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
                None if asked.besides is None else await _only_here(client, index, asked.besides)
            ),
            payload_indexes=indexed,
            retyped=await _retyped(client, asked, indexed, made_for),
            made_for=made_for,
            owner=owner_in(made_for),
            alias_target=target,
            alias_owner=alias_owner,
        )

    async def _may(self, server: Server, op: IndexOp, owner: IndexOwner | None) -> bool:
        stored = owner_in(await self._metadata(self._client(server), op.index))
        if not is_anothers(stored, owner):
            return True
        if op.action is IndexAction.DELETE:
            log.warning("index %s at %s belongs to %s: it stays", op.index, server.url, stored)
            return False
        raise IndexUnavailable(f"index {op.index} at {server.url} belongs to {stored}")

    async def _metadata(self, client: AsyncQdrantClient, index: str) -> dict[str, Any]:
        """What Lookalike has written into an index; empty where there is no such index."""
        from qdrant_client.http.exceptions import UnexpectedResponse

        try:
            return _made_for(await client.get_collection(index))
        except (UnexpectedResponse, ValueError) as error:
            if _is_not_found(error):
                return {}
            raise

    async def _targets(self, server: Server) -> dict[str, str]:
        kept = self._aliases.get(server)
        if kept is None or self._clock() - kept.at >= self._keep:
            answer = await self._client(server).get_aliases()
            targets = {a.alias_name: a.collection_name for a in answer.aliases}
            kept = self._aliases[server] = _Aliases(self._clock(), targets)
        return kept.targets

    async def _perform(self, server: Server, op: IndexOp) -> None:
        from qdrant_client import models

        client = self._client(server)
        if op.action is IndexAction.DELETE:
            await client.delete_collection(op.index, timeout=self._timeout)
        elif op.action is IndexAction.ENSURE_PAYLOAD_INDEX:
            field, schema = op.argument
            existing = (await client.get_collection(op.index)).payload_schema.get(field)
            wanted = models.PayloadSchemaType(schema)
            if existing is not None:
                if existing.data_type == wanted:
                    return
                await client.delete_payload_index(op.index, field)
            ours = next(each for each in FieldType if each.value.lower() == schema)
            made = TypeAdapter[Any](models.PayloadSchemaType | models.PayloadSchemaParams)
            parameters = made.validate_python(field_schema(ours))
            await client.create_payload_index(op.index, field, field_schema=parameters, wait=False)
        else:
            (alias,) = op.argument
            create: Any = models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=op.index, alias_name=alias)
            )
            # Creating an alias that exists moves it, at once for all readers.
            await client.update_collection_aliases([create])

    def _client(self, server: Server) -> AsyncQdrantClient:
        client = self._clients.get(server)
        if client is None:
            client = self._clients[server] = self._connect(server, self._timeout)
        return client


def _made_for(info: Any) -> dict[str, Any]:
    made_for = (getattr(info.config, "metadata", None) or {}).get(_METADATA)
    return made_for if isinstance(made_for, dict) else {}


def _connect(server: Server, timeout: int) -> AsyncQdrantClient:
    from qdrant_client import AsyncQdrantClient

    with warnings.catch_warnings():
        # Inside a cluster, a key over plain HTTP is usual.
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        return AsyncQdrantClient(
            url=server.url, api_key=server.api_key, timeout=timeout, check_compatibility=False
        )


def _reason(error: Exception) -> str:
    """As conditions have it."""
    refused = getattr(error, "status_code", None) in (401, 403)
    return "ApiKeyRefused" if refused else "QdrantUnavailable"


def explained(error: Exception, server: Server) -> str:
    """One line: what went wrong and what to do.

    Nothing of what was answered is in it: whoever writes a collection names the address, and would
    read in its status what the operator's network position let it read. The log has it.
    """
    url = server.url
    source = getattr(error, "source", error)
    status = getattr(error, "status_code", None)
    if status in (401, 403) and server.api_key is None:
        return (
            f"{url} asks for an API key (HTTP {status}): put it into a Secret and name that in "
            "spec.index.qdrant.apiKeySecretRef"
        )
    if status in (401, 403):
        return (
            f"{url} refused the API key (HTTP {status}): put the right one into the Secret that "
            "spec.index.qdrant.apiKeySecretRef names"
        )
    if status is not None:
        body = getattr(error, "content", b"")
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        log.info("%s answered HTTP %s: %s", url, status, _line(text))
        return (
            f"{url} answered HTTP {status}: check that it is a Qdrant server's address; the "
            "operator's log has the answer"
        )
    if isinstance(source, httpx.ConnectTimeout | httpx.ConnectError):
        return (
            f"{url} is unreachable ({_line(str(source)) or type(source).__name__}): check that "
            "Qdrant runs there and that no NetworkPolicy is in the way"
        )
    if isinstance(source, httpx.TimeoutException | TimeoutError):
        return f"{url} timed out: Qdrant is overloaded or starting"
    if isinstance(source, httpx.TransportError):
        return (
            f"{url} broke the connection off ({type(source).__name__}): "
            "Qdrant is being restarted, or something else listens there: check the port"
        )
    log.info("%s: %s", url, _line(str(source)))
    return (
        f"{url} gave an answer that is not Qdrant's ({type(source).__name__}): check the address; "
        "the operator's log has more"
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _is_not_found(error: Exception) -> bool:
    status = getattr(error, "status_code", None)
    if status is not None:
        return bool(status == 404)
    return isinstance(error, ValueError) and "not found" in str(error)


async def _retyped(
    client: AsyncQdrantClient,
    asked: _Asked,
    indexed: Mapping[str, str],
    made_for: Mapping[str, Any],
) -> tuple[str, ...]:
    """Fields whose type was changed over documents that hold values of before."""
    known = {type.value.lower(): type.value for type in FieldType}
    types = {name: known[type] for name, type in indexed.items() if type in known}
    memory = remembered(
        asked.fields, {**types, **made_for.get(TYPES, {})}, made_for.get(FORMER_TYPES, {})
    )
    changed = former_types(asked.fields, memory[FORMER_TYPES])
    return tuple(
        [
            retyped(field, former, count)
            for field, former in changed.items()
            if (count := await _unfit(client, asked.index, field))
        ]
    )


async def _unfit(client: AsyncQdrantClient, index: str, field: FieldSpec) -> int:
    """Documents with a value that the field's payload index leaves out."""
    from qdrant_client import models

    key = field.name
    number = models.FieldCondition(key=key, range=models.Range(gte=-1.7e308))
    flags = [
        models.FieldCondition(key=key, match=models.MatchValue(value=value))
        for value in (True, False)
    ]
    latitudes = models.Range(gte=-90, lte=90)
    fits: dict[FieldType, list[Any]] = {
        FieldType.INTEGER: [number],
        FieldType.FLOAT: [number],
        FieldType.BOOL: flags,
        FieldType.DATETIME: [
            models.FieldCondition(key=key, range=models.DatetimeRange(gte=_FIRST_DAY))
        ],
        FieldType.GEO: [
            models.FieldCondition(key=f"{key}{each}.lat", range=latitudes) for each in ("", "[]")
        ],
    }
    if field.type in fits:
        absent = [
            models.IsEmptyCondition(is_empty=models.PayloadField(key=key)),
            models.IsNullCondition(is_null=models.PayloadField(key=key)),
        ]
        unfit = models.Filter(must_not=[*absent, *fits[field.type]])
    else:
        # No condition holds of every text in all versions of Qdrant that are supported.
        unfit = models.Filter(should=[number, *flags])
    return (await client.count(index, count_filter=unfit, exact=True)).count


async def _only_here(client: AsyncQdrantClient, index: str, sources: tuple[str, ...]) -> int:
    """Points that none of the sources brought (`Origin.source` of a document in serving)."""
    from qdrant_client import models

    brought = models.FieldCondition(
        key=f"{RESERVED}.source", match=models.MatchAny(any=list(sources))
    )
    others = models.Filter(must_not=[brought]) if sources else None
    told = await client.count(index, count_filter=others, exact=True)
    return told.count
